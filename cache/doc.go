// Package cache holds what all nodes of a cluster share on one Redis: values with a
// lifetime, counters, lists and locks.
//
//	c.Save(ctx, "user:7", user, time.Hour)
//	user, err := cache.Get[User](ctx, c, "user:7")
//
// # Guarantees
//
// Every operation is one script on one Redis primary, so that operations on a key
// are linearizable: each takes effect at one instant between its call and its return.
// A restart of a node changes nothing of what the cache holds. Loading never
// resurrects a destroyed entry, never drops and never shortens a lifetime. Times
// are Redis's; clocks of hosts are not compared.
//
// An operation whose answer is lost ends with [link.ErrUnknownOutcome]: it may
// have happened. Nothing is sent twice without the caller's knowledge, so that an
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
// refused with [ErrLocked]; the holder's, made with [Lock.Context], pass. A write
// with the context of a lock that was lost is refused with [ErrLockLost], however
// late it comes. Loads and lists are not guarded. Every grant carries a fence
// greater than all before it, for stores that can refuse smaller ones.
//
// # Speed
//
// An entry is one string with a head of fixed width, so that a read is recorded in
// place. Calls of concurrent callers share round trips; a lone caller waits for
// nothing. [Near] serves chosen keys from memory.
package cache
