package redisbus

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// clockRead is Redis's clock as this process knows it: read now and then, carried
// on by the monotonic clock in between. Until it was read once it is the host's.
type clock struct {
	start time.Time
	// base is Redis's time at start, in microseconds.
	base atomic.Int64
}

// slowestReading is the longest round trip after which a reading still counts:
// half of it is how far the reading may be off.
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
