package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
)

// DefaultLockTTL is the default of [LockOptions.TTL].
const DefaultLockTTL = 10 * time.Second

// LockOptions are the options of taking a lock. The zero value tries once.
type LockOptions struct {
	// TTL is for how long the lock is granted, and extended by each renewal. If the
	// holder's process dies, others wait for at most TTL. Default [DefaultLockTTL].
	TTL time.Duration
	// Wait is how long to wait while another holds the lock; negative: until the context
	// ends. When the lock is freed, the waiters are woken; those of one process in the
	// order in which they came.
	Wait time.Duration
	// NoRenew ends the lock after TTL, unless [Lock.Renew] is called.
	NoRenew bool
}

// Lock takes the lock of a key and waits for it until ctx ends. The lock is granted for ttl
// and renewed until [Lock.Unlock] or the end of ctx. After the end of ctx it is not renewed
// any more, so that it ends at its TTL.
func (c *Cache) Lock(ctx context.Context, key string, ttl time.Duration) (*Lock, error) {
	return c.LockWith(ctx, key, LockOptions{TTL: ttl, Wait: -1})
}

// TryLock is [Cache.Lock] without waiting: it fails with [ErrLocked] when another holds the
// lock.
func (c *Cache) TryLock(ctx context.Context, key string, ttl time.Duration) (*Lock, error) {
	return c.LockWith(ctx, key, LockOptions{TTL: ttl})
}

// LockWith takes the lock of a key. It fails with [ErrLocked] when another holds it
// for longer than [LockOptions.Wait], and with ctx's cause when ctx ends first. A
// holder is one acquisition, not a node: a second acquisition by the same node, or
// by the same goroutine, is refused as well.
func (c *Cache) LockWith(ctx context.Context, key string, o LockOptions) (l *Lock, err error) {
	if c.observer != nil {
		defer c.done("lock", key, time.Now(), &err)
	}
	if err := check("lock", key); err != nil {
		return nil, err
	}
	return c.lockAs(ctx, key, c.names.lock(key), o)
}

// lockAs takes the lock whose Redis key is name.
func (c *Cache) lockAs(ctx context.Context, key, name string, o LockOptions) (*Lock, error) {
	o.TTL = cmp.Or(o.TTL, DefaultLockTTL)
	ms, err := milliseconds(o.TTL)
	if err != nil || ms == 0 {
		return nil, refused("lock", key, fmt.Errorf("%w: a TTL of %v: use 1 ms to %v", ErrInvalid, o.TTL, MaxTTL))
	}
	l := &Lock{cache: c, key: key, name: name, token: c.unique() + "/" + c.holder, ttl: o.TTL, millis: ms, renews: !o.NoRenew}
	if _, err = l.take(ctx, false); errors.Is(err, ErrLocked) && o.Wait != 0 {
		began := time.Now()
		err = l.wait(ctx, o.Wait)
		if l.observed() {
			c.observer.LockWaited(LockTime{Key: key, Fence: l.fence, Took: time.Since(began), Err: err, Context: ctx})
		}
	}
	if err != nil {
		return nil, refused("lock", key, err)
	}
	l.begin(ctx)
	return l, nil
}

// wait takes the lock as soon as it is free.
func (l *Lock) wait(ctx context.Context, bound time.Duration) error {
	if bound > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, bound, ErrLocked)
		defer cancel()
	}
	var outage error
	err := l.cache.await(ctx, l.name, false, func() (nap time.Duration, err error) {
		nap, err = l.take(ctx, true)
		if outage = nil; link.IsOutage(err) {
			outage, nap, err = err, outageNap, ErrLocked // to take the lock again with the same token is safe
		}
		return nap, err
	})
	if err != nil && ctx.Err() != nil {
		if errors.Is(outage, link.ErrUnavailable) && link.Cancelled(ctx) != nil {
			outage = nil // the lock was not taken, and the caller gave up
		}
		return errors.Join(context.Cause(ctx), outage)
	}
	return err
}

// take asks for the lock once. When another holds the lock, it returns ErrLocked, and in
// nap after how long to ask again. wake has the lock's end announced to waiters.
func (l *Lock) take(ctx context.Context, wake bool) (nap time.Duration, _ error) {
	c := l.cache
	l.requestedAt = time.Now()
	clock, index := c.clock, c.index
	var reply link.Reply
	var err error
	usual := c.scripts.fastLock != nil && !wake
	if usual {
		var fence any
		fence, usual, err = c.client.item(ctx, &request{
			script: c.scripts.fastLock, head: head{key: clock, args: [2]int64{l.millis}, n: 1},
			keys: [2]string{l.name, index}, text: l.token,
		})
		reply = link.ReplyTo(fence)
	}
	if !usual {
		reply, err = c.scripts.lock.Call(ctx, c.client, []string{l.name, clock, index}, l.token, l.millis, wake)
	}
	if err == nil {
		err = reply.Scan(&l.fence)
	}
	if link.OutcomeOf(err) == link.Unknown {
		// Redis may have granted the lock, and nobody would unlock it.
		_, _ = c.scripts.unlock.Call(context.WithoutCancel(ctx), c.client, []string{l.name, c.index}, l.token)
	}
	if locked, ok := errors.AsType[*link.RefusedError](err); ok {
		nap = minNap // other programs (see Preset) do not announce that they free a lock
		if c.preset == Native {
			var ms int64
			_ = locked.Details.Scan(&ms) // stays 0 if the reply does not have the time
			nap = time.Duration(ms) * time.Millisecond
		}
	}
	return nap, kindOf(err)
}
