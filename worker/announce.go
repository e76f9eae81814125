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
	// before all of them are announced together. While nodes of the process are starting,
	// the wait goes on, at most for announceAtLast: a set that starts is one line in the
	// log of each process, however long it takes.
	announceAfter  = time.Second
	announceAtLast = time.Minute
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
	starting     int       // nodes that have begun their life, and neither run nor have ended
	held         bool      // the set stops: everything is announced at its end
	since        time.Time // of the first join or leave that was not announced
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

// start records that a node begins its life. The node calls the returned function, once
// or more, when it runs or ends.
func (a *announcer) start() (started func()) {
	a.count(1)
	return sync.OnceFunc(func() { a.count(-1) })
}

func (a *announcer) count(nodes int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.starting += nodes
}

// hold postpones all announcements to the end of the host.
func (a *announcer) hold() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.held = true
}

// due reports whether the joins and leaves are to be announced after a pause.
func (a *announcer) due() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.held && (a.starting == 0 || time.Since(a.since) >= announceAtLast)
}

// changes notes the time of the first change since the last announcement. The caller
// holds a.mu.
func (a *announcer) changes() {
	if len(a.joined)+len(a.left) == 0 {
		a.since = time.Now()
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
	a.changes()
	a.joined[id] = struct{}{}
	a.mu.Unlock()
	a.wake()
}

// leave records that a node leaves. If its join was not announced yet, neither is
// announced.
func (a *announcer) leave(id string) {
	a.mu.Lock()
	a.changes()
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
			if !h.announcer.due() {
				quiet.Reset(announceAfter)
				continue
			}
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

// HoldAnnouncements postpones the announcements of joins and leaves to the end of
// [Host.Serve]. The set calls it when it stops: its leaves are one announcement, which no
// longer goes to its own nodes.
func (h *Host) HoldAnnouncements() { h.announcer.hold() }

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
	return fmt.Sprintf("%d Stellar members have %s the cluster: %s", len(ids), what, membership.Spans(ids))
}
