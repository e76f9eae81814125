package cache

import (
	"context"
	"fmt"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
)

// MaxTTL is the longest lifetime of an entry, list or lock.
const MaxTTL = 100 * 365 * 24 * time.Hour

// SaveOptions are the options of a save. The zero value replaces the entry, and the new
// entry lives for ever.
type SaveOptions struct {
	// TTL is how long the entry lives, to the millisecond. 0 is for ever.
	TTL time.Duration
	// Stale is how long the entry is kept after TTL, for loads that accept stale entries.
	Stale time.Duration
	// KeepTTL keeps the lifetime of an existing entry, and then ignores TTL and Stale.
	KeepTTL bool
	// IfVersion saves only if the entry has this version; otherwise [ErrConflict].
	IfVersion string
	// IfAbsent saves only if there is no entry; otherwise [ErrConflict].
	IfAbsent bool
	// Fence saves only while the lock that was granted with this fence is held;
	// otherwise [ErrLockLost]. It is for a program that got the fence from the lock's
	// holder; the holder itself saves with the lock's context.
	Fence int64
	// Wait is how long to wait while another holds the entry's lock.
	Wait time.Duration
}

// Save stores the JSON of value under key for ttl, to the millisecond; 0 is for ever. It
// replaces an existing entry and its lifetime. It fails with [ErrLocked], [ErrLockLost],
// [ErrWrongType] or [ErrInvalid].
func (c *Cache) Save(ctx context.Context, key string, value any, ttl time.Duration) error {
	_, err := c.SaveWith(ctx, key, value, SaveOptions{TTL: ttl})
	return err
}

// SaveWith is [Cache.Save] with options. It returns the entry's new version.
func (c *Cache) SaveWith(ctx context.Context, key string, value any, o SaveOptions) (version string, err error) {
	if c.observer != nil {
		defer c.done("save", key, time.Now(), &err)
	}
	w, err := c.newWrite(ctx, key, value, o)
	if err != nil {
		return "", err
	}
	save := func(ctx context.Context) (err error) {
		version, err = c.write(ctx, w)
		return err
	}
	if o.Wait > 0 {
		err = c.whenFree(ctx, key, o.Wait, save)
	} else {
		err = save(ctx)
	}
	return version, err
}

// write has the keys and arguments of one save, as lua/save.lua takes them.
type write struct {
	key, version, token, expected, loading string
	keys                                   []string
	value                                  []byte
	ttl, stale                             int64
	keep                                   bool
}

func (c *Cache) newWrite(ctx context.Context, key string, value any, o SaveOptions) (write, error) {
	if err := check("save", key); err != nil {
		return write{}, err
	}
	w := write{key: key, version: c.unique(), expected: o.expected(), keep: o.KeepTTL}
	var err error
	if w.ttl, err = milliseconds(o.TTL); err != nil {
		return write{}, refused("save", key, err)
	}
	if w.stale, err = milliseconds(o.Stale); err != nil {
		return write{}, refused("save", key, err)
	}
	if w.value, err = Encode(value); err != nil {
		return write{}, refused("save", key, err)
	}
	w.keys = []string{c.names.entry(key), c.names.lock(key)}
	w.token = Token(ctx, w.keys[1])
	if o.Fence != 0 {
		w.token = fmt.Sprintf("#%016d", o.Fence)
	}
	return w, nil
}

func (w write) args() []any {
	return []any{w.value, w.ttl, w.stale, w.version, w.token, w.expected, w.keep, w.loading}
}

func (o SaveOptions) expected() string {
	if o.IfAbsent {
		return "-"
	}
	return o.IfVersion
}

// write saves, and returns the entry's new version.
func (c *Cache) write(ctx context.Context, w write) (version string, err error) {
	var reply link.Reply
	usual := c.scripts.fastSave != nil && w.token == "" && w.expected == "" && !w.keep && w.loading == ""
	if usual {
		_, usual, err = c.client.item(ctx, &request{
			script: c.scripts.fastSave, head: head{args: [2]int64{w.ttl, w.ttl + w.stale}, n: 2},
			keys: [2]string(w.keys), text: w.version, value: w.value,
		})
	}
	if !usual {
		reply, err = c.scripts.save.Call(ctx, c.client, w.keys, w.args()...)
	}
	c.near.forget(w.keys[0])
	if err == nil && c.preset != Native {
		err = reply.Scan(&w.version)
	}
	if err != nil {
		return "", failed("save", w.key, err)
	}
	return w.version, nil
}

// Destroy removes an entry or a list and reports whether there was one. It fails
// with [ErrLocked] or [ErrLockLost].
func (c *Cache) Destroy(ctx context.Context, key string) (there bool, err error) {
	if c.observer != nil {
		defer c.done("destroy", key, time.Now(), &err)
	}
	if err := check("destroy", key); err != nil {
		return false, err
	}
	n, refusals, err := c.destroy(ctx, key)
	if err != nil {
		return false, failed("destroy", key, err)
	}
	if code, ok := refusals[1]; ok {
		return false, refused("destroy", key, Refusal(code))
	}
	return n == 1, nil
}

// destroy destroys entries and lists. It returns how many there were, and for the keys that
// were refused, by their position from 1, the code of cache_refuses.
func (c *Cache) destroy(ctx context.Context, of ...string) (n int, refusals map[int]string, err error) {
	keys, tokens := make([]string, 0, 2*len(of)), make([]any, 0, len(of))
	for _, key := range of {
		keys = append(keys, c.names.entry(key), c.names.lock(key))
		tokens = append(tokens, Token(ctx, c.names.lock(key)))
	}
	reply, err := c.scripts.destroy.Call(ctx, c.client, keys, tokens...)
	for i := 0; i < len(keys); i += 2 {
		c.near.forget(keys[i])
	}
	if err == nil {
		err = reply.Row(0).Scan(&n)
	}
	if err == nil {
		refusals, err = reply.From(1).Refusals()
	}
	return n, refusals, err
}

// Increment adds delta to a counter and returns the sum. A counter is an entry
// whose value is a whole number of 64 bits. A new counter starts at 0 and lives for ever;
// an existing counter keeps its lifetime. It fails with [ErrNotNumber], [ErrOverflow],
// [ErrLocked], [ErrLockLost] or [ErrWrongType].
func (c *Cache) Increment(ctx context.Context, key string, delta int64) (int64, error) {
	return c.IncrementFor(ctx, key, delta, 0)
}

// IncrementFor is [Cache.Increment], and a counter that it creates lives for ttl.
func (c *Cache) IncrementFor(ctx context.Context, key string, delta int64, ttl time.Duration) (sum int64, err error) {
	if c.observer != nil {
		defer c.done("increment", key, time.Now(), &err)
	}
	if err := check("increment", key); err != nil {
		return 0, err
	}
	ms, err := milliseconds(ttl)
	if err != nil {
		return 0, refused("increment", key, err)
	}
	keys := []string{c.names.entry(key), c.names.lock(key)}
	reply, err := c.scripts.increment.Call(ctx, c.client, keys, delta, c.unique(), Token(ctx, keys[1]), ms)
	c.near.forget(keys[0])
	if err == nil {
		err = reply.Scan(&sum)
	}
	if err != nil {
		return 0, failed("increment", key, err)
	}
	return sum, nil
}

// milliseconds rounds a lifetime up, so that a short lifetime does not become 0, which
// means for ever. The error is an [ErrInvalid].
func milliseconds(d time.Duration) (int64, error) {
	if d < 0 || d > MaxTTL {
		return 0, fmt.Errorf("%w: a duration of %v: use 0 to %v", ErrInvalid, d, MaxTTL)
	}
	return int64((d + time.Millisecond - 1) / time.Millisecond), nil
}
