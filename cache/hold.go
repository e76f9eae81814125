package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
)

// unlockTimeout is how long [Lock.Unlock] repeats its request while Redis does
// not answer. After that the lock stays held on Redis until its TTL is over.
const unlockTimeout = 3 * time.Second

// wordLost is the word with which a script refuses a token that does not hold the lock.
const wordLost = "LOST"

// errUnlocked is the cause with which Unlock ends a lock's context. It wraps
// context.Canceled.
var errUnlocked = fmt.Errorf("unlocked: %w", context.Canceled)

// Lock is one acquisition of a lock.
//
// A holder may go on working after its lock is lost: a process that was paused does not
// know of the loss yet. Redis refuses writes to the cache that the holder makes with
// [Lock.Context]. Other stores can refuse a [Lock.Fence] that is smaller than a fence that
// they have seen.
type Lock struct {
	cache            *Cache
	key, name, token string
	ttl              time.Duration
	millis           int64
	renews           bool
	fence            int64
	requestedAt      time.Time // when the request that took the lock was sent
	outer            *Lock     // that the context with which this one was taken holds, or nil

	ctx    context.Context //nolint:containedctx // a held lock is a context
	cancel context.CancelCauseFunc

	mu     sync.Mutex
	until  time.Time   // when Redis may grant the lock to another, on this process's clock
	timer  *time.Timer // calls tick
	failed int         // renewals that failed in a row
	ended  error       // errUnlocked or ErrLockLost
}

// holding is the context key under which a lock's holder finds the lock: every write to the
// cache looks there, so it is a key that needs no memory.
type holding struct{}

func heldBy(ctx context.Context) *Lock {
	l, _ := ctx.Value(holding{}).(*Lock)
	return l
}

// Token returns the token under which ctx holds the lock with that Redis key
// (see [Cache.LockKey]), or "" if it does not hold it.
func Token(ctx context.Context, lockKey string) string {
	for l := heldBy(ctx); l != nil; l = l.outer {
		if l.name == lockKey {
			return l.token
		}
	}
	return ""
}

// Key returns the key that the lock guards.
func (l *Lock) Key() string { return l.key }

// Fence returns a number greater than the fences of all earlier locks in this namespace.
func (l *Lock) Fence() int64 { return l.fence }

// Context returns the holder's context: writes made with it are not refused by the lock.
// The context ends when the lock does; its cause is [ErrLockLost] unless [Lock.Unlock]
// ended the lock. It also ends with the context with which the lock was taken.
func (l *Lock) Context() context.Context { return l.ctx }

// begin makes the context of a lock that Redis has granted, and starts its timer.
func (l *Lock) begin(ctx context.Context) {
	l.outer = heldBy(ctx)
	l.ctx, l.cancel = context.WithCancelCause(context.WithValue(ctx, holding{}, l))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = l.requestedAt.Add(l.ttl)
	l.timer = time.AfterFunc(l.next(), l.tick)
}

// next returns the time until the next tick: to renew after a third of the TTL, sooner
// after a failure, or to end the lock.
func (l *Lock) next() time.Duration {
	left := time.Until(l.until)
	switch {
	case !l.renews || l.ctx.Err() != nil:
		return left
	case l.failed > 0:
		return min(left, max(l.ttl/20, time.Millisecond))
	default:
		return min(left, left-l.ttl*2/3)
	}
}

// tick renews the lock, or ends it when its time is over. It does not renew a lock whose
// context has ended: the holder should have unlocked it, and may be stuck for ever.
func (l *Lock) tick() {
	l.mu.Lock()
	ended, over := l.ended != nil, !time.Now().Before(l.until)
	l.mu.Unlock()
	switch {
	case ended:
	case over:
		l.lose()
	case !l.renews || l.ctx.Err() != nil:
		l.resetTimer()
	default:
		if err := l.Renew(l.ctx); err != nil && !errors.Is(err, ErrLockLost) {
			l.mu.Lock()
			l.failed++
			l.mu.Unlock()
			l.resetTimer()
		}
	}
}

func (l *Lock) resetTimer() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended == nil {
		l.timer.Reset(l.next())
	}
}

// Renew extends the lock to its TTL from now. It fails with [ErrLockLost]. Unless
// [LockOptions.NoRenew] is set, locks are renewed automatically.
func (l *Lock) Renew(ctx context.Context) error {
	l.mu.Lock()
	until, ended := l.until, l.ended
	l.mu.Unlock()
	if ended != nil {
		return refused("renew lock", l.key, ErrLockLost)
	}
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	asked := time.Now()
	_, err := l.cache.scripts.renew.Call(ctx, l.cache.client, []string{l.name}, l.token, l.millis)
	if link.WordOf(err) == wordLost {
		l.lose() //nolint:contextcheck // lose uses the lock's own context
	}
	if err != nil {
		return failed("renew lock", l.key, err)
	}
	l.mu.Lock()
	l.until, l.failed = asked.Add(l.ttl), 0
	l.mu.Unlock()
	l.resetTimer()
	return nil
}

// end ends the lock in this process and reports whether it had not ended before. reason is
// the cause with which the lock's context ends.
func (l *Lock) end(reason error) bool {
	l.mu.Lock()
	first := l.ended == nil
	if first {
		l.ended = reason
	}
	l.timer.Stop()
	l.mu.Unlock()
	l.cancel(reason)
	return first
}

// lose ends the lock, and frees it on Redis: a renewal whose answer was lost may have
// extended it there.
func (l *Lock) lose() {
	if l.end(ErrLockLost) {
		if l.observed() {
			l.cache.observer.LockLost(l.held(nil))
		}
		_ = l.free(context.WithoutCancel(l.ctx))
	}
}

// Unlock frees the lock and ends its context. It fails with [ErrLockLost] when
// the lock was not held any more. It works also after the context with which the
// lock was taken has ended.
func (l *Lock) Unlock() (err error) {
	if c := l.cache; c.observer != nil {
		defer c.done("unlock", l.key, time.Now(), &err)
	}
	if !l.end(errUnlocked) {
		return refused("unlock", l.key, ErrLockLost)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), unlockTimeout)
	defer cancel()
	unsure := false // a try whose answer was lost may have freed the lock
	err = link.Retry(ctx, func(ctx context.Context) error {
		err := l.free(ctx)
		unsure = unsure || link.OutcomeOf(err) == link.Unknown
		return err
	})
	if unsure && link.WordOf(err) == wordLost {
		err = nil
	}
	if err != nil {
		err = failed("unlock", l.key, err)
	}
	if l.observed() {
		if errors.Is(err, ErrLockLost) {
			l.cache.observer.LockLost(l.held(nil))
		} else {
			l.cache.observer.LockHeld(l.held(err))
		}
	}
	return err
}

// free frees the lock on Redis. The script refuses with wordLost when the lock is not held.
func (l *Lock) free(ctx context.Context) error {
	c := l.cache
	if c.scripts.fastUnlock != nil {
		_, usual, err := c.client.item(ctx, &request{
			script: c.scripts.fastUnlock, keys: [2]string{l.name, c.index}, text: "0" + l.token,
		})
		if usual {
			return err
		}
	}
	_, err := c.scripts.unlock.Call(ctx, c.client, []string{l.name, c.index}, l.token)
	return err
}

// WithLock takes the lock of a key, calls f with the lock's context, and unlocks. Its error
// joins f's error and that of [Lock.Unlock], [ErrLockLost] when the lock was lost meanwhile.
func (c *Cache) WithLock(ctx context.Context, key string, o LockOptions, f func(ctx context.Context) error) error {
	l, err := c.LockWith(ctx, key, o)
	if err != nil {
		return err
	}
	return errors.Join(f(l.Context()), l.Unlock()) //nolint:contextcheck // the lock's context is made of ctx
}
