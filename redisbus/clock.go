package redisbus

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// clock estimates Redis's clock: a reading now and then, and the host's monotonic clock
// in between. Before the first reading it shows the host's time.
type clock struct {
	start time.Time
	// base is Redis's time at start, in microseconds.
	base atomic.Int64
	// host is the host's wall clock, and drift by how much it had left the monotonic clock
	// at the last reading, in nanoseconds since start.
	host  func() time.Time
	drift atomic.Int64
}

const (
	// slowestReading is the longest round trip after which a reading is used: a reading
	// may be off by half of its round trip.
	slowestReading = 500 * time.Millisecond
	// maxSkew is how far the time of a message may be from now, and the host's wall clock
	// from its monotonic one, before Redis's clock is read again: it may have been stepped,
	// another host's may have taken over, or this host may have been suspended.
	maxSkew = 2 * time.Second
	// suspicionPause is the least time between two readings for want of trust in messages,
	// so that a flood of old messages causes no flood of readings.
	suspicionPause = 10 * time.Second
)

func newClock() *clock {
	c := &clock{start: time.Now(), host: time.Now}
	c.base.Store(c.start.UnixMicro())
	return c
}

func (c *clock) now() time.Time { return c.at(time.Since(c.start)) }

// at returns the time on Redis's clock of a moment, given as the time since start.
func (c *clock) at(moment time.Duration) time.Time {
	return time.UnixMicro(c.base.Load()).Add(moment)
}

// steady is a time for durations alone: it goes on evenly, whatever clock is stepped.
func (c *clock) steady() time.Time { return c.start.Round(0).Add(time.Since(c.start)) }

// currentDrift returns by how much the host's wall clock has left its monotonic clock, which
// stands still while the host is suspended.
func (c *clock) currentDrift() time.Duration { return c.host().Round(0).Sub(c.steady()) }

// drifted reports whether the host was suspended, or its clock stepped, since the last
// reading.
func (c *clock) drifted() bool {
	return (c.currentDrift() - time.Duration(c.drift.Load())).Abs() > maxSkew
}

// doubts reports whether a message of that time is a reason to read the clock again.
func (c *clock) doubts(sent time.Time) bool { return c.now().Sub(sent).Abs() > maxSkew }

func (c *clock) read(ctx context.Context, client redis.Cmdable) error {
	before := time.Since(c.start)
	at, err := client.Time(ctx).Result()
	after := time.Since(c.start)
	if err != nil {
		return err
	}
	if after-before <= slowestReading {
		c.drift.Store(int64(c.currentDrift()))
		c.base.Store(at.Add(-(before + after) / 2).UnixMicro())
	}
	return nil
}
