package cache

import (
	"context"
	"errors"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
)

// Update replaces an entry's value by the result of f, atomically: when the entry
// was written meanwhile, f is called again with the new value. If there is no
// entry, f gets the zero value and false, and the new entry lives for ever;
// otherwise the entry keeps its lifetime. An error of f ends the update and is returned.
func Update[T any](ctx context.Context, c *Cache, key string, f func(old T, there bool) (T, error)) (T, error) {
	var zero T
	for n := 1; ; n++ {
		var old T
		o := SaveOptions{KeepTTL: true}
		e, err := c.LoadWith(ctx, key, LoadOptions{NoRecord: true})
		switch {
		case err == nil:
			o.IfVersion = e.Version
			err = e.Decode(&old)
		case errors.Is(err, ErrNotFound):
			o.IfAbsent, err = true, nil
		}
		if err != nil {
			return zero, err
		}
		value, err := f(old, !o.IfAbsent)
		if err != nil {
			return zero, err
		}
		if _, err = c.SaveWith(ctx, key, value, o); !errors.Is(err, ErrConflict) {
			return value, err
		}
		// Another caller was faster. The pauses grow, so that every caller succeeds in the end.
		if err := link.Sleep(ctx, link.Pause(n)/100); err != nil {
			return zero, refused("update", key, err)
		}
	}
}

// FillOptions are the options of [GetOrLoad].
type FillOptions struct {
	// TTL is how long the value is fresh. 0: for ever.
	TTL time.Duration
	// Stale is for how long after TTL callers get the old value, while one of them
	// computes the new value. 0: all wait for the new value.
	Stale time.Duration
	// Patience is for how long callers wait for a computation whose process has died,
	// before another caller computes the value. Default [DefaultLockTTL].
	Patience time.Duration
}

// GetOrLoad returns the entry's value, or the result of compute, which it saves. When the
// entry is missing or expired, one caller in the whole cluster calls compute; the
// others wait, or get the old value while it is stale (see [FillOptions.Stale]).
// The context of compute ends when another caller takes the computation over. The result
// is not saved when the key was destroyed or saved meanwhile, because it may be out of
// date. An error of compute is returned to the caller that called it; then a waiting
// caller computes.
func GetOrLoad[T any](ctx context.Context, c *Cache, key string, o FillOptions, compute func(ctx context.Context) (T, error)) (T, error) {
	var v T
	if err := check("load", key); err != nil {
		return v, err
	}
	for {
		e, err := c.fresh(ctx, key, o)
		if err == nil {
			return decode[T](e)
		}
		if !errors.Is(err, ErrNotFound) {
			return v, err
		}
		l, err := c.lockAs(ctx, key, c.names.loader(key), LockOptions{TTL: o.Patience})
		switch {
		case err == nil:
			return fill(c, key, o, l, compute)
		case !errors.Is(err, ErrLocked):
			return v, err
		case e.Stale:
			return decode[T](e)
		}
		if e, err = c.awaitFill(ctx, key); err == nil {
			return decode[T](e)
		} else if !errors.Is(err, ErrNotFound) {
			return v, err
		}
	}
}

func decode[T any](e Entry) (T, error) {
	var v T
	err := e.Decode(&v)
	return v, err
}

// fresh loads the entry. If the entry is stale, fresh returns it together with an
// ErrExpired, which is an ErrNotFound.
func (c *Cache) fresh(ctx context.Context, key string, o FillOptions) (Entry, error) {
	if o.Stale <= 0 {
		return c.Load(ctx, key)
	}
	e, err := c.LoadWith(ctx, key, LoadOptions{Stale: true})
	if err == nil && e.Stale {
		err = ErrExpired
	}
	return e, err
}

// fill computes and saves the value under the loader's lock.
func fill[T any](c *Cache, key string, o FillOptions, l *Lock, compute func(ctx context.Context) (T, error)) (T, error) {
	var v T
	ctx := l.Context()
	defer func() { _ = l.Unlock() }() // an error does not matter: the lock ends at its TTL
	// Another caller may have saved the value between the load and the lock.
	if e, err := c.fresh(ctx, key, o); err == nil {
		return decode[T](e)
	}
	v, err := compute(ctx)
	if err != nil {
		return v, err
	}
	w, err := c.newWrite(ctx, key, v, SaveOptions{TTL: o.TTL, Stale: o.Stale, IfAbsent: true})
	if err != nil {
		return v, err
	}
	w.keys, w.loading = append(w.keys, l.name), l.token
	_, err = c.write(ctx, w)
	if errors.Is(err, errSuperseded) || errors.Is(err, ErrConflict) || errors.Is(err, ErrLocked) {
		err = nil // this caller may use the value; it is only not saved for later callers
	}
	return v, err
}

// awaitFill waits until another caller has computed the value, and returns ErrNotFound if
// that caller failed.
func (c *Cache) awaitFill(ctx context.Context, key string) (Entry, error) {
	var e Entry
	name := c.names.loader(key)
	err := c.await(ctx, name, true, func() (time.Duration, error) {
		held, err := c.scripts.holder.Call(ctx, c.client, []string{name}, "1")
		if err != nil {
			return 0, failed("wait for load", key, err)
		}
		if !held.Row(0).IsNil() {
			return time.Second, ErrLocked
		}
		e, err = c.Load(ctx, key)
		if errors.Is(err, ErrNotFound) {
			err = errNotFilled
		}
		return 0, err
	})
	if errors.Is(err, errNotFilled) {
		return e, ErrNotFound
	}
	if err != nil && ctx.Err() != nil {
		return e, refused("load", key, context.Cause(ctx))
	}
	return e, err
}

// errNotFilled ends the wait for a computation that has failed.
var errNotFilled = errors.New("not filled")
