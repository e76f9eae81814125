package cache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
)

// ListOptions are the options of a push. The zero value keeps every item for ever.
type ListOptions struct {
	// Max is how many items the list keeps at most: the oldest are removed. 0: no bound.
	Max int
	// TTL is how long the whole list lives from this push on. 0: unchanged.
	TTL time.Duration
}

// Push adds an item at the list's end and returns the list's length. A list exists
// from its first push until its last item is popped. Locks do not guard
// lists. It fails with [ErrWrongType] or [ErrInvalid].
func (c *Cache) Push(ctx context.Context, key string, value any) (int64, error) {
	return c.PushWith(ctx, key, ListOptions{}, value)
}

// PushWith adds items at the list's end, in their order and in one step.
func (c *Cache) PushWith(ctx context.Context, key string, o ListOptions, values ...any) (length int64, err error) {
	if c.observer != nil {
		defer c.done("push", key, time.Now(), &err)
	}
	if err := check("push", key); err != nil {
		return 0, err
	}
	ttl, err := milliseconds(o.TTL)
	if err == nil && o.Max < 0 {
		err = fmt.Errorf("%w: at most %d items", ErrInvalid, o.Max)
	}
	args := []any{o.Max, ttl}
	for _, value := range values {
		encoded, encodeErr := Encode(value)
		if err == nil {
			err = encodeErr
		}
		args = append(args, encoded)
	}
	if err != nil {
		return 0, refused("push", key, err)
	}
	if len(values) == 0 {
		return c.Len(ctx, key)
	}
	reply, err := c.scripts.push.Call(ctx, c.client, []string{c.names.entry(key)}, args...)
	if err == nil {
		err = reply.Scan(&length)
	}
	if err != nil {
		return 0, failed("push", key, err)
	}
	return length, nil
}

// Pop removes and returns the item at the list's head, and fails with [ErrNotFound] when
// the list is empty. Every item is popped at most once: when the answer is lost, with
// [link.ErrUnknownOutcome], the item may be gone. Use a task for work that must not be
// wordLost.
func (c *Cache) Pop(ctx context.Context, key string) (item json.RawMessage, err error) {
	if c.observer != nil {
		defer c.done("pop", key, time.Now(), &err)
	}
	if err := check("pop", key); err != nil {
		return nil, err
	}
	reply, err := c.command(ctx, "lpop", c.names.entry(key)).Text()
	if errors.Is(err, redis.Nil) {
		return nil, refused("pop", key, ErrNotFound)
	}
	if err != nil {
		return nil, failed("pop", key, err)
	}
	item, err = c.parseItem(reply)
	if err != nil {
		return nil, refused("pop", key, err)
	}
	return item, nil
}

// PopWait is [Cache.Pop], but waits while the list is empty: for the duration wait, or
// until ctx ends if wait is negative. It holds no connection of the pool while it waits.
// The callers of one process that wait for the same list get items in the order in which
// they came.
func (c *Cache) PopWait(ctx context.Context, key string, wait time.Duration) (json.RawMessage, error) {
	item, err := c.Pop(ctx, key)
	if !errors.Is(err, ErrNotFound) || wait == 0 {
		return item, err
	}
	waiting := ctx
	if wait > 0 {
		var cancel context.CancelFunc
		waiting, cancel = context.WithTimeoutCause(ctx, wait, ErrNotFound)
		defer cancel()
	}
	var outage error
	err = c.await(waiting, c.names.entry(key), false, func() (time.Duration, error) {
		// ctx and not waiting: when waiting ends during a pop, the item would be lost.
		item, err = c.Pop(ctx, key)
		if errors.Is(err, link.ErrUnavailable) { // nothing was popped: go on waiting
			outage = err
			return outageNap, ErrNotFound
		}
		outage = nil
		if c.preset != Native {
			return minNap, err
		}
		return 0, err
	})
	if err != nil && waiting.Err() != nil {
		if link.Cancelled(ctx) != nil {
			outage = nil // the caller gave up
		}
		return nil, refused("pop", key, errors.Join(context.Cause(waiting), outage))
	}
	return item, err
}

// PopAs is [Cache.PopWait] and decodes the item; a wait of 0 does not wait.
func PopAs[T any](ctx context.Context, c *Cache, key string, wait time.Duration) (T, error) {
	var v T
	item, err := c.PopWait(ctx, key, wait)
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(item, &v); err != nil {
		return v, fmt.Errorf("cache: decode an item of %q: %w", key, err)
	}
	return v, nil
}

// Len returns the number of items in a list, 0 when there is none.
func (c *Cache) Len(ctx context.Context, key string) (n int64, err error) {
	if c.observer != nil {
		defer c.done("length", key, time.Now(), &err)
	}
	if err := check("length", key); err != nil {
		return 0, err
	}
	n, err = c.command(ctx, "llen", c.names.entry(key)).Int64()
	if err != nil {
		return 0, failed("length", key, err)
	}
	return n, nil
}

// Range returns the items from start to stop, both included, without removing
// them. Negative numbers count from the end: 0, -1 is the whole list.
func (c *Cache) Range(ctx context.Context, key string, start, stop int64) (items []json.RawMessage, err error) {
	if c.observer != nil {
		defer c.done("range", key, time.Now(), &err)
	}
	if err := check("range", key); err != nil {
		return nil, err
	}
	replies, err := c.command(ctx, "lrange", c.names.entry(key), start, stop).StringSlice()
	if err != nil {
		return nil, failed("range", key, err)
	}
	items = make([]json.RawMessage, len(replies))
	for i, reply := range replies {
		if items[i], err = c.parseItem(reply); err != nil {
			return nil, refused("range", key, err)
		}
	}
	return items, nil
}

// command runs one command that is no script.
func (c *Cache) command(ctx context.Context, args ...any) *redis.Cmd {
	cmd := redis.NewCmd(ctx, args...)
	_ = c.client.Process(ctx, cmd)
	return cmd
}
