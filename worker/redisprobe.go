package worker

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker/timeline"
)

// A process sends a PING to Redis every probeInterval, and counts Redis as away when it has
// not answered for probeLimit: a single reply that takes up to two seconds is no outage, and
// a real outage is noticed long before the leases end.
const (
	probeInterval = time.Second
	probeLimit    = 3 * time.Second
)

// redisProbe records when Redis answered last.
type redisProbe struct{ last atomic.Pointer[time.Time] }

// never is the silence of a Redis that has not answered yet.
const never = time.Duration(math.MaxInt64)

func (p *redisProbe) answered() {
	now := time.Now()
	p.last.Store(&now)
}

// silence returns how long Redis has not answered.
func (p *redisProbe) silence() time.Duration {
	last := p.last.Load()
	if last == nil {
		return never
	}
	return time.Since(*last)
}

// Reachable reports whether Redis has answered this process within the last
// three seconds.
func (h *Host) Reachable() bool { return h.probe.silence() < probeLimit }

// recordOutage records that Redis was away until now.
func (h *Host) recordOutage(since time.Time, err error) {
	cause := ""
	if c := link.CauseOf(err); c != link.CauseNone {
		cause = ": " + string(c)
	}
	h.recorder.RecordAt(since, timeline.Event{
		Kind: timeline.Redis, Text: "was away" + cause, Took: time.Since(since).Milliseconds(),
	})
}

// probeRedis sends the PINGs, once for all nodes of the process, until ctx ends.
func (h *Host) probeRedis(ctx context.Context) error {
	var failure error // of the first PING since the last answer
	var failedAt time.Time
	for {
		asking, cancel := context.WithTimeout(ctx, probeLimit)
		began, silence, err := time.Now(), h.probe.silence(), h.heart.Ping(asking).Err()
		switch {
		case err == nil:
			if failure != nil && silence != never && silence >= probeLimit {
				h.recordOutage(failedAt, failure)
			}
			failure = nil
			h.probe.answered()
		case failure == nil:
			failure, failedAt = err, began
		}
		cancel()
		if link.Sleep(ctx, probeInterval) != nil {
			return context.Cause(ctx)
		}
	}
}
