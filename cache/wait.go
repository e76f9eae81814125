package cache

import (
	"context"
	"errors"
	"time"

	"github.com/stellarfw/stellar/redisbus"
)

const (
	// minNap is how often a lock of the original is asked for: its end is not announced.
	minNap = 100 * time.Millisecond
	// outageNap is how often a waiter tries while Redis is away.
	outageNap = 500 * time.Millisecond
)

// await calls try whenever it may succeed, until its error is neither [ErrLocked] nor
// [ErrNotFound], ctx ends, or the cache is closed.
func (c *Cache) await(ctx context.Context, channel string, shared bool, try func() (time.Duration, error)) error {
	err := c.wakes.Await(ctx, channel, shared, func(err error) bool {
		return errors.Is(err, ErrLocked) || errors.Is(err, ErrNotFound)
	}, try)
	if errors.Is(err, redisbus.ErrClosed) {
		return ErrClosed
	}
	return err
}
