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
	// announceAfter is for how long no other node of the process must have joined
	// or left before those that did are announced, together: a set that starts or
	// stops is one line in the log of each process, however long it takes.
	announceAfter = time.Second
	// lastAnnouncement bounds the announcement of a process that ends.
	lastAnnouncement = time.Second
	// copyTime is for how long a line from another process is remembered: its
	// copies reach the nodes of this process at nearly the same time.
	copyTime = 10 * time.Second
)

// hostPrefix is what the ids of hosts on the bus begin with.
const hostPrefix = "stellar-host-"

// announcer gathers the joins and leaves of a process's nodes. The zero value is
// not ready: use [newAnnouncer].
type announcer struct {
	changed chan struct{} // holds one token when there is something to announce

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

// leave notes that a node leaves. Of a node whose join was not announced yet,
// nothing is.
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

// announce tells the cluster of joins and leaves until ctx ends.
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

// announceNow calls api.log on every node of the cluster, as the original does
// for each node. A cluster that misses it misses a log line. The process itself
// logs its joins; what its nodes hear of it they do not log.
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

// onLog takes the lines of api.log that come from hosts, and logs each once for
// all nodes of the process. It reports whether it took the line.
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

// announcement is what the members did, in words.
func announcement(ids []string, what string) string {
	if len(ids) == 1 {
		return fmt.Sprintf("Stellar member %s has %s the cluster", ids[0], what)
	}
	return fmt.Sprintf("%d Stellar members have %s the cluster: %s", len(ids), what, spans(ids))
}

// spans shortens ordered ids: "w-1 to w-999, w-1001". It says how many it leaves out.
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
