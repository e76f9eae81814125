package cache

import (
	"context"
	"errors"
	"time"

	"github.com/stellarfw/stellar/redisbus"
)

const (
	// minNap is how often to ask for a lock or item whose owner may be a node of another
	// program (see [Preset]): such nodes announce nothing. It is also the least time
	// between two looks of a waiting save at the lock.
	minNap = 100 * time.Millisecond
	// outageNap is how often a waiter tries while Redis is away.
	outageNap = 500 * time.Millisecond
)

// await calls try whenever it may succeed, until its error is neither [ErrLocked] nor
// [ErrNotFound], ctx ends, or the cache is closed.
func (c *Cache) await(ctx context.Context, channel string, shared bool, try func() (time.Duration, error)) error {
	err := c.announcements.Await(ctx, channel, shared, func(err error) bool {
		return errors.Is(err, ErrLocked) || errors.Is(err, ErrNotFound)
	}, try)
	if errors.Is(err, redisbus.ErrClosed) {
		return ErrClosed
	}
	return err
}
