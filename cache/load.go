package cache

import (
	"context"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
)

// LoadOptions are the options of a load. The zero value records the read, as [Cache.Load]
// does.
type LoadOptions struct {
	// Extend makes the entry live for at least that long from now. It never shortens a
	// lifetime, and does not limit the life of an entry that lives for ever.
	Extend time.Duration
	// NoRecord leaves [Entry.Read] as it is: without Extend, nothing is written.
	NoRecord bool
	// Stale also returns an expired entry that is kept (see [SaveOptions.Stale]), with
	// [Entry.Stale] set.
	Stale bool
}

// Load returns the entry and records that it was read. It never changes how long
// the entry lives. It fails with [ErrNotFound], [ErrExpired] or [ErrWrongType]; under a
// compatibility preset, where locks guard loads too, also with [ErrLocked].
func (c *Cache) Load(ctx context.Context, key string) (e Entry, err error) {
	if c.observer != nil {
		defer c.done("load", key, time.Now(), &err)
	}
	if err := check("load", key); err != nil {
		return Entry{}, err
	}
	name := c.names.entry(key)
	if c.near.covers(key) {
		return c.loadNear(ctx, key, name)
	}
	if c.preset != Native {
		return c.loadWith(ctx, key, name, LoadOptions{})
	}
	raw, usual, err := c.client.item(ctx, &request{script: c.scripts.fastLoad, keys: [2]string{name}})
	if !usual {
		return c.loadWith(ctx, key, name, LoadOptions{})
	}
	e, _, err = c.loaded(key, link.ReplyTo(raw), err)
	return e, err
}

// LoadWith is [Cache.Load] with options.
func (c *Cache) LoadWith(ctx context.Context, key string, o LoadOptions) (e Entry, err error) {
	if c.observer != nil {
		defer c.done("load", key, time.Now(), &err)
	}
	if err := check("load", key); err != nil {
		return Entry{}, err
	}
	return c.loadWith(ctx, key, c.names.entry(key), o)
}

// Touch makes an entry live for at least ttl from now, without recording a read (see
// [LoadOptions.Extend]).
func (c *Cache) Touch(ctx context.Context, key string, ttl time.Duration) error {
	_, err := c.LoadWith(ctx, key, LoadOptions{Extend: ttl, NoRecord: true})
	return err
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

func (c *Cache) loadWith(ctx context.Context, key, name string, o LoadOptions) (Entry, error) {
	e, _, err := c.loadAt(ctx, key, name, o)
	return e, err
}

// loadAt is loadWith, and also returns the time of the load on Redis's clock.
func (c *Cache) loadAt(ctx context.Context, key, name string, o LoadOptions) (Entry, time.Time, error) {
	keys, args, err := c.loadRequest(ctx, key, name, o)
	if err != nil {
		return Entry{}, time.Time{}, refused("load", key, err)
	}
	reply, err := c.scripts.load.Call(ctx, c.client, keys, args...)
	return c.loaded(key, reply, err)
}

// loadRequest returns the keys and arguments of lua/load.lua.
func (c *Cache) loadRequest(ctx context.Context, key, name string, o LoadOptions) ([]string, []any, error) {
	extend, err := milliseconds(o.Extend)
	if err != nil {
		return nil, nil, err
	}
	keys, args := []string{name}, []any{extend, !o.NoRecord, o.Stale}
	if c.preset != Native {
		lock := c.names.lock(key)
		keys, args = append(keys, lock), append(args, Token(ctx, lock))
	}
	return keys, args, nil
}

// loaded reads the reply of lua/load.lua or lua/fast/load.lua. The time of the load is zero
// for the fast script, which does not return it.
func (c *Cache) loaded(key string, reply link.Reply, err error) (Entry, time.Time, error) {
	if err == nil && reply.IsNil() {
		return Entry{}, time.Time{}, refused("load", key, ErrNotFound)
	}
	var raw, version string
	var ms, expires int64
	switch {
	case err != nil:
	case reply.Len() == 1:
		err = reply.Scan(&raw)
	case c.preset == Native:
		err = reply.Scan(&raw, &ms)
	default:
		err = reply.Scan(&raw, &ms, &expires, &version)
	}
	if err != nil {
		return Entry{}, time.Time{}, failed("load", key, err)
	}
	e, err := c.parse(key, raw)
	if err != nil {
		return Entry{}, time.Time{}, refused("load", key, err)
	}
	if c.preset != Native {
		e.Expires, e.Version = fromMillis(expires), version
	}
	at := fromMillis(ms)
	e.Stale = !at.IsZero() && !e.Expires.IsZero() && !at.Before(e.Expires)
	return e, at, nil
}
