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
}

// slowestReading is the longest round trip after which a reading is used: a reading may
// be off by half of its round trip.
const slowestReading = 500 * time.Millisecond

func newClock() *clock {
	c := &clock{start: time.Now()}
	c.base.Store(c.start.UnixMicro())
	return c
}

func (c *clock) now() time.Time {
	return time.UnixMicro(c.base.Load()).Add(time.Since(c.start))
}

func (c *clock) read(ctx context.Context, client redis.Cmdable) error {
	before := time.Since(c.start)
	at, err := client.Time(ctx).Result()
	after := time.Since(c.start)
	if err != nil {
		return err
	}
	if after-before <= slowestReading {
		c.base.Store(at.Add(-(before + after) / 2).UnixMicro())
	}
	return nil
}
