package cache

import (
	"context"
	"errors"
	"time"
)

const (
	// minNap is how often to ask for a lock or item whose owner may be a node of another
	// program (see [Preset]): such nodes announce nothing. It is also the least time
	// between two looks of a waiting save at the lock.
	minNap = 100 * time.Millisecond
	// outageNap is how often a waiter tries while Redis is away.
	outageNap = 500 * time.Millisecond
)

// await calls try whenever try may succeed, until the error of try is neither [ErrLocked]
// nor [ErrNotFound], or ctx ends.
func (c *Cache) await(ctx context.Context, channel string, shared bool, try func() (time.Duration, error)) error {
	return c.announcements.Await(ctx, channel, shared, func(err error) bool {
		return errors.Is(err, ErrLocked) || errors.Is(err, ErrNotFound)
	}, try)
}
