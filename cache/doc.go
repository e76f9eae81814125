// Package cache stores values with a lifetime, counters, lists and locks on the Redis that
// all nodes of a cluster share.
//
//	c.Save(ctx, "user:7", user, time.Hour)
//	user, err := cache.Get[User](ctx, c, "user:7")
//
// # Guarantees
//
// Every operation is one script on one Redis primary, so that operations on a key
// are linearizable: each takes effect at one instant between its call and its return.
// A restart of a node does not change the cache. Loading never brings a destroyed entry
// back, and never drops or shortens a lifetime. All times are on Redis's clock; the clocks
// of hosts are not compared.
//
// An operation whose answer is lost ends with [link.ErrUnknownOutcome]: it may
// have happened. The cache never repeats an operation by itself, so that an
// increment never counts twice and an item is never popped twice. While Redis
// cannot be reached, operations end with [link.ErrUnavailable], never with
// [ErrNotFound].
//
// # Locks
//
// A lock is held by one acquisition, a [Lock], on behalf of one incarnation of a
// node. Its states:
//
//	       take                renew
//	free ────────▶ held ◀───────────────┐
//	 ▲              │ │  └──────────────┘
//	 │    Unlock    │ │ the deadline passes, ReleaseAll, or
//	 ├──────────────┘ │ Redis forgets: the holder's context
//	 │                ▼ ends with ErrLockLost
//	 └───────────── lost
//
// While a lock is held, others' saves, destroys and increments of its key are
// refused with [ErrLocked]; the holder's own, made with [Lock.Context], succeed. A write
// with the context of a lock that was lost is refused with [ErrLockLost], however
// late it comes. Locks do not guard loads and lists. Each time a lock is taken it gets a
// fence, a number greater than all fences before: other stores can use it to refuse the
// writes of earlier holders.
//
// # Speed
//
// An entry is one string with a head of fixed width, so that the time of a read is
// written without rewriting the value. Calls of concurrent callers share round trips; a
// lone caller never waits for others. [Near] serves chosen keys from memory.
package cache
