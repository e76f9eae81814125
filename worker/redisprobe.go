package worker

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
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

// probeRedis sends the PINGs, once for all nodes of the process, until ctx ends.
func (h *Host) probeRedis(ctx context.Context) error {
	for {
		asking, cancel := context.WithTimeout(ctx, probeLimit)
		if h.heart.Ping(asking).Err() == nil {
			h.probe.answered()
		}
		cancel()
		if link.Sleep(ctx, probeInterval) != nil {
			return context.Cause(ctx)
		}
	}
}
