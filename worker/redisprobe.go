package worker

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
)

// A process asks Redis every pulseInterval whether it is there, and counts it as
// away when nothing has come back for pulseLimit: a single reply that takes up to
// two seconds is no outage, and a real one is noticed long before the leases end.
const (
	pulseInterval = time.Second
	pulseLimit    = 3 * time.Second
)

// pulse remembers when Redis answered last.
type pulse struct{ last atomic.Pointer[time.Time] }

func (p *pulse) felt() {
	now := time.Now()
	p.last.Store(&now)
}

// silence is how long Redis has not answered.
func (p *pulse) silence() time.Duration {
	last := p.last.Load()
	if last == nil {
		return pulseLimit // it has never answered
	}
	return time.Since(*last)
}

// Reachable reports whether Redis has answered this process within the last
// three seconds.
func (h *Host) Reachable() bool { return h.pulse.silence() < pulseLimit }

// feel asks Redis, once for all nodes of the process, until ctx ends.
func (h *Host) feel(ctx context.Context) error {
	for {
		asking, cancel := context.WithTimeout(ctx, pulseLimit)
		if h.client.Ping(asking).Err() == nil {
			h.pulse.felt()
		}
		cancel()
		if link.Sleep(ctx, pulseInterval) != nil {
			return context.Cause(ctx)
		}
	}
}
