package buscmd

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/worker"
)

// whyDropped says why messages were dropped, behind their number.
func whyDropped(reason redisbus.Drop) string {
	switch reason {
	case redisbus.DropProof:
		return "without a valid proof (their senders have another token, STELLAR_TOKEN, or another --token-mode, or are no nodes of this cluster)"
	case redisbus.DropStale:
		return "more than a minute away from Redis's clock"
	case redisbus.DropReplay:
		return "that came before, or were sent before this subscription"
	case redisbus.DropSize:
		return fmt.Sprintf("of more than %d bytes", redisbus.MaxMessage)
	case redisbus.DropOverflow:
		return "that came faster than they could be printed"
	case redisbus.DropSyntax, redisbus.DropDepth, redisbus.DropTwins, redisbus.DropMalformed:
		return "that are no valid messages (" + string(reason) + ")"
	default:
		return string(reason)
	}
}

// dropPause is the least time between two lines about dropped messages: anybody who can
// publish can have messages dropped.
const dropPause = 10 * time.Second

// maxNotes bounds the lines about gaps that wait.
const maxNotes = 100

// losses collects what a subscription has not got. It observes the client, on goroutines that
// must not block.
type losses struct {
	worker.Unobserved

	changed chan struct{} // has an element when there is something to write

	mu      sync.Mutex
	notes   []string
	dropped map[redisbus.Drop]uint64
	said    time.Time // when the last line about dropped messages was written
	away    bool      // Redis fails, and it was said
}

func newLosses() *losses {
	return &losses{changed: make(chan struct{}, 1), dropped: map[redisbus.Drop]uint64{}}
}

// wake has the command write what there is.
func (l *losses) wake() {
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// MessageDropped implements redisbus.Observer.
func (l *losses) MessageDropped(reason redisbus.Drop) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropped[reason]++
	if time.Since(l.said) >= dropPause {
		l.wake()
		return
	}
	if len(l.dropped) == 1 && l.dropped[reason] == 1 { // the first since the last line
		time.AfterFunc(dropPause-time.Since(l.said), l.wake)
	}
}

// RedisFailed implements link.Observer.
func (l *losses) RedisFailed(_ string, cause link.Cause, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.away {
		l.away = true
		l.notef("redis fails (%s): %s; waiting for it", cause, err)
	}
}

// gap is the OnGap of the subscription.
func (l *losses) gap(_ context.Context, g redisbus.Gap) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case g.Reason == redisbus.GapReconnect:
		l.away = false
		l.notef("subscribed again after an interruption: messages may be missing")
	case g.Directed:
	case g.Reason == redisbus.GapSequence:
		l.notef("messages of %s were lost: %d of any type", g.Sender.ID, g.Lost)
	case g.Reason == redisbus.GapMalformed:
		l.notef("a message of another implementation cannot be read: two of its fields have one name, or one is named like a field of ours")
	}
}

// notef adds a line. l.mu is held.
func (l *losses) notef(format string, args ...any) {
	if len(l.notes) < maxNotes {
		l.notes = append(l.notes, fmt.Sprintf(format, args...))
	}
	l.wake()
}

// write writes what there is to standard error; last: also about dropped messages of which a
// line was written a short time ago.
func (l *losses) write(e *cluster.Env, last bool) {
	l.mu.Lock()
	notes := l.notes
	l.notes = nil
	var parts []string
	if last || time.Since(l.said) >= dropPause {
		for _, reason := range redisbus.Drops() {
			if n := l.dropped[reason]; n > 0 {
				parts = append(parts, fmt.Sprintf("%d %s", n, whyDropped(reason)))
			}
		}
		clear(l.dropped)
	}
	if len(parts) > 0 {
		l.said = time.Now()
	}
	l.mu.Unlock()
	for _, text := range notes {
		e.Notef("%s", text)
	}
	if len(parts) > 0 {
		e.Notef("messages dropped: %s", strings.Join(parts, "; "))
	}
}
