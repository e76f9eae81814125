package cache

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

var (
	//go:embed lua/save.lua
	luaSave string
	//go:embed lua/load.lua
	luaLoad string
	//go:embed lua/destroy.lua
	luaDestroy string
	//go:embed lua/increment.lua
	luaIncrement string

	save      = script(luaSave)
	load      = script(luaLoad)
	destroy   = script(luaDestroy)
	increment = script(luaIncrement)
)

// MaxTTL is the longest lifetime.
const MaxTTL = 100 * 365 * 24 * time.Hour

// Save stores the JSON of value under key for ttl; 0 is for ever. A lifetime is
// exact to the millisecond. It replaces the entry whole, its lifetime included.
// It fails with [ErrLocked], [ErrLockLost], [ErrWrongType] or [ErrInvalid].
func (c *Cache) Save(ctx context.Context, key string, value any, ttl time.Duration) error {
	if err := check("save", key); err != nil {
		return err
	}
	ms, err := milliseconds(ttl)
	if err != nil {
		return refused("save", key, err)
	}
	encoded, err := Encode(value)
	if err != nil {
		return refused("save", key, err)
	}
	keys := []string{c.keys.Cache(key), c.keys.Lock(key)}
	code, err := c.run(ctx, save, keys, encoded, ms, 0, c.version(), Token(ctx, keys[1])).Text()
	if err != nil {
		return failed("save", key, err)
	}
	if code != "OK" {
		return refused("save", key, Refusal(code))
	}
	return nil
}

// Load returns the entry and records that it was read. It never changes how long
// the entry lives. It fails with [ErrNotFound], [ErrExpired] or [ErrWrongType].
func (c *Cache) Load(ctx context.Context, key string) (Entry, error) {
	if err := check("load", key); err != nil {
		return Entry{}, err
	}
	reply, err := c.run(ctx, load, []string{c.keys.Cache(key)}).Result()
	if errors.Is(err, redis.Nil) {
		return Entry{}, refused("load", key, ErrNotFound)
	}
	if err != nil {
		return Entry{}, failed("load", key, err)
	}
	raw, ok := reply.(string)
	if !ok {
		return Entry{}, refused("load", key, ErrExpired)
	}
	e, err := parseEntry(key, raw)
	if err != nil {
		return Entry{}, refused("load", key, err)
	}
	return e, nil
}

// Get loads the entry and decodes its value.
func Get[T any](ctx context.Context, c *Cache, key string) (T, error) {
	var v T
	e, err := c.Load(ctx, key)
	if err == nil {
		err = e.Decode(&v)
	}
	return v, err
}

// Destroy removes an entry or a list and reports whether there was one. It fails
// with [ErrLocked] or [ErrLockLost].
func (c *Cache) Destroy(ctx context.Context, key string) (bool, error) {
	if err := check("destroy", key); err != nil {
		return false, err
	}
	keys := []string{c.keys.Cache(key), c.keys.Lock(key)}
	reply, err := c.run(ctx, destroy, keys, Token(ctx, keys[1])).Result()
	if err != nil {
		return false, failed("destroy", key, err)
	}
	if code, ok := reply.(string); ok {
		return false, refused("destroy", key, Refusal(code))
	}
	return reply == int64(1), nil
}

// Increment adds delta to a counter and returns the sum. A counter is an entry
// whose value is a whole number of 64 bits; a missing one starts at 0 and lives
// for ever, a present one keeps its lifetime. It fails with [ErrNotNumber],
// [ErrOverflow], [ErrLocked], [ErrLockLost] or [ErrWrongType].
func (c *Cache) Increment(ctx context.Context, key string, delta int64) (int64, error) {
	if err := check("increment", key); err != nil {
		return 0, err
	}
	keys := []string{c.keys.Cache(key), c.keys.Lock(key)}
	text, err := c.run(ctx, increment, keys, delta, c.version(), Token(ctx, keys[1])).Text()
	if err != nil {
		return 0, failed("increment", key, err)
	}
	if err := Refusal(text); err != nil {
		return 0, refused("increment", key, err)
	}
	sum, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, refused("increment", key, err)
	}
	return sum, nil
}

// milliseconds rounds a lifetime up, so that a short one does not become none.
func milliseconds(d time.Duration) (int64, error) {
	if d < 0 || d > MaxTTL {
		return 0, fmt.Errorf("%w: a duration of %v: use 0 to %v", ErrInvalid, d, MaxTTL)
	}
	return int64((d + time.Millisecond - 1) / time.Millisecond), nil
}
