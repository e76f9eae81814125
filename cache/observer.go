package cache

import (
	"context"
	"time"
)

// Observer is notified when operations on the cache and its locks have ended. Its methods
// are called synchronously, after Redis has answered, by many goroutines at once, and must
// not block.
type Observer interface {
	// CacheDone is called after every operation on named keys, and not after operations
	// that visit all keys, such as [Cache.Keys] and [Cache.Export].
	CacheDone(o Operation)
	// LockWaited is called when a caller that had to wait for a lock has got it, or
	// has given up.
	LockWaited(t LockTime)
	// LockHeld is called when a lock was unlocked, with the time for which it was held.
	LockHeld(t LockTime)
	// LockLost is called when a lock has ended without its holder unlocking it (see
	// [ErrLockLost]).
	LockLost(t LockTime)
}

// Operation is an operation that has ended.
type Operation struct {
	// Op is "save", "load", "destroy", "increment", "push", "pop", "length", "range",
	// "lock", "unlock", "check lock", "save many" or "load many".
	Op string
	// Key is "" for operations on many keys.
	Key  string
	Err  error // as it was returned; nil after a success
	Took time.Duration
}

// LockTime says for how long a caller has waited for a lock, or held it.
type LockTime struct {
	Key   string
	Fence int64 // 0: the lock was not taken
	Took  time.Duration
	Err   error // why the lock was not taken, or why its unlock may not have arrived
	// Context is that of the caller who has waited; nil for a lock that was held.
	Context context.Context //nolint:containedctx // the observer finds the caller's trace in it
}

// done notifies the observer, which is not nil, of an ended operation.
func (c *Cache) done(op, key string, began time.Time, err *error) { //nolint:gocritic // done is deferred: the error is set later
	c.observer.CacheDone(Operation{Op: op, Key: key, Err: *err, Took: time.Since(began)})
}

// observed reports whether the observer is notified of the lock; it is not of the locks of
// GetOrLoad.
func (l *Lock) observed() bool { return l.cache.observer != nil && l.name == l.cache.names.lock(l.key) }

// held returns for how long the lock was held.
func (l *Lock) held(err error) LockTime {
	return LockTime{Key: l.key, Fence: l.fence, Took: time.Since(l.requestedAt), Err: err}
}
