package worker

import (
	"context"
	"sync"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
)

// How many nodes of a process start, and how many resign or are handed over, at a time. More would not
// be faster: they would only wait in other places, where the time that they may wait is
// bounded, and would keep Redis and the process too busy to renew leases.
const (
	startTurns = 32
	endTurns   = 16
)

// turns bounds how many nodes of a process do something at a time. The other nodes wait, in
// the order in which they asked.
type turns chan struct{}

// take waits for a turn until ctx ends. The function done gives the turn back; it may be
// called more than once.
func (t turns) take(ctx context.Context) (done func(), err error) {
	select {
	case t <- struct{}{}:
		return sync.OnceFunc(func() { <-t }), nil
	case <-ctx.Done():
		return func() {}, context.Cause(ctx)
	}
}

// settling returns the context of the hand-over of a node whose own context is ctx. It goes
// on after ctx has ended, but not for ever: only while Redis answers, or the hand-overs of
// the process get on, with pauses of at most the time patience. If Redis answers and no
// hand-over gets on all the same, it ends after the time of a lease: other processes have
// taken over by then.
func (h *Host) settling(ctx context.Context, patience time.Duration) (context.Context, context.CancelFunc) {
	settling, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		for began := time.Now(); ; {
			stuck := min(time.Since(began), h.settler.progress.silence())
			left := min(max(patience-stuck, patience-h.probe.silence()), h.lease()-stuck)
			if left <= 0 {
				cancel()
			}
			if link.Sleep(settling, left) != nil {
				return
			}
		}
	})
	return settling, func() { stop(); cancel() }
}
