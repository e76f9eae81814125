package worker

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/worker/membership"
)

const (
	// announceAfter is how long to wait for further joins and leaves in this process
	// before all of them are announced together: a set that starts or stops is one line
	// in the log of each process, however long it takes.
	announceAfter = time.Second
	// lastAnnouncement bounds the announcement of a process that ends.
	lastAnnouncement = time.Second
	// copyTime is for how long a line from another process is remembered: each node of
	// this process gets a copy of it, all at nearly the same time.
	copyTime = 10 * time.Second
)

// hostPrefix is the prefix of the ids of hosts on the bus.
const hostPrefix = "stellar-host-"

// announcer gathers the joins and leaves of a process's nodes. Make one with
// [newAnnouncer].
type announcer struct {
	changed chan struct{} // has capacity 1; an element means that there is something to announce

	mu           sync.Mutex
	joined, left map[string]struct{}
	announced    map[string]struct{}     // nodes whose join was announced, and their leave was not
	heard        map[heardLine]time.Time // lines of other hosts that were logged
}

type heardLine struct{ from, text string }

func newAnnouncer() *announcer {
	return &announcer{
		changed: make(chan struct{}, 1), joined: map[string]struct{}{}, left: map[string]struct{}{},
		announced: map[string]struct{}{}, heard: map[heardLine]time.Time{},
	}
}

func (a *announcer) wake() {
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

// join notes that a node runs, perhaps again: a crash is no leave.
func (a *announcer) join(id string) {
	a.mu.Lock()
	a.joined[id] = struct{}{}
	a.mu.Unlock()
	a.wake()
}

// leave records that a node leaves. If its join was not announced yet, neither is
// announced.
func (a *announcer) leave(id string) {
	a.mu.Lock()
	delete(a.joined, id)
	if _, known := a.announced[id]; known {
		a.left[id] = struct{}{}
	}
	a.mu.Unlock()
	a.wake()
}

// take returns what is to be announced, in the order of the ids.
func (a *announcer) take() (joined, left []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	left, joined = slices.SortedFunc(maps.Keys(a.left), membership.CompareIDs), slices.SortedFunc(maps.Keys(a.joined), membership.CompareIDs)
	for _, id := range left {
		delete(a.announced, id)
	}
	maps.Copy(a.announced, a.joined)
	clear(a.joined)
	clear(a.left)
	return joined, left
}

// isCopy reports whether a node of this process has got the same line already.
func (a *announcer) isCopy(from, text string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	for line, at := range a.heard {
		if now.Sub(at) > copyTime {
			delete(a.heard, line)
		}
	}
	line := heardLine{from, text}
	_, known := a.heard[line]
	if !known {
		a.heard[line] = now
	}
	return known
}

// announce announces the joins and leaves of this process to the cluster, until ctx ends.
func (h *Host) announce(ctx context.Context) error {
	quiet := time.NewTimer(announceAfter)
	defer quiet.Stop()
	quiet.Stop()
	for {
		select {
		case <-h.announcer.changed:
			quiet.Reset(announceAfter)
		case <-quiet.C:
			h.announceNow(ctx)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastAnnouncement)
			h.announceNow(last)
			cancel()
			return context.Cause(ctx)
		}
	}
}

// announceNow announces joins and leaves by calling api.log on every node of the cluster,
// as the original Stellar does. If a call is lost, a log line is missing and nothing else.
// This process logs its joins here; its nodes do not log the calls of their own host.
func (h *Host) announceNow(ctx context.Context) {
	joined, left := h.announcer.take()
	for _, news := range []struct {
		ids  []string
		what string
	}{{left, "left"}, {joined, "joined"}} {
		if len(news.ids) == 0 {
			continue
		}
		text := announcement(news.ids, news.what)
		if news.what == "joined" {
			h.logLine(h.rpc.Self().ID, text)
		}
		if err := h.rpc.Cast(ctx, "api.log", []string{text}, rpcregistry.All()); err != nil {
			h.log.Debug().Err(err).Msg("not announced: " + news.what)
		}
	}
}

// onLog logs each text that another host has sent to api.log, once for all nodes of the
// process. It returns false for a text that no host has sent: the node logs that itself.
func (h *Host) onLog(from redisbus.Identity, text string) bool {
	if !strings.HasPrefix(from.ID, hostPrefix) {
		return false
	}
	if from.ID != h.rpc.Self().ID && !h.announcer.isCopy(from.ID, text) {
		h.logLine(from.ID, text)
	}
	return true
}

func (h *Host) logLine(from, text string) {
	h.log.Info().Str("from", from).Str("text", text).Msg("api.log")
}

// announcement returns the text of an announcement; what is "joined" or "left".
func announcement(ids []string, what string) string {
	if len(ids) == 1 {
		return fmt.Sprintf("Stellar member %s has %s the cluster", ids[0], what)
	}
	return fmt.Sprintf("%d Stellar members have %s the cluster: %s", len(ids), what, spans(ids))
}

// spans lists sorted ids with ranges, such as "w-1 to w-999, w-1001", and at most 50 items:
// the rest is given as a number.
func spans(ids []string) string {
	const most = 50
	var out []string
	for len(ids) > 0 {
		if len(out) == most {
			return strings.Join(out, ", ") + fmt.Sprintf(" and %d more", len(ids))
		}
		n := 1
		for n < len(ids) && membership.Follows(ids[n-1], ids[n]) {
			n++
		}
		if n > 2 {
			out = append(out, ids[0]+" to "+ids[n-1])
		} else {
			n = 1
			out = append(out, ids[0])
		}
		ids = ids[n:]
	}
	return strings.Join(out, ", ")
}
