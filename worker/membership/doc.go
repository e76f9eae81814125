// Package membership keeps who is alive in the cluster: ids, incarnations and
// their leases.
//
// A node joins as an [Incarnation]: the lowest free number of its prefix, an
// epoch that grows with every join and a random nonce, because a Redis that
// lost its last second could issue an epoch twice. The incarnation holds a
// lease on Redis's clock, which the [Keeper] of its process renews for all its
// nodes with one script. Host clocks are never compared with each other.
//
//	         Join                renew every 5 s
//	(free) ────────▶ live ◀──────────────────────┐
//	                  │ │                        │
//	                  │ └────────────────────────┘
//	        Condemn   │  not renewed for 15 s
//	  (it ended; by   │  (its process died)
//	   its process)   ▼
//	              condemned ──── settled: tasks, locks, connections ───▶ Leave ▶ (free)
//
// A condemned incarnation claims and commits nothing, but keeps its number until
// everything it owned has been handed on: whoever settles it may die halfway,
// and another goes on after the time that was reserved. In the set of leases its
// score is that time's negative.
//
// A process that could not renew for 10 s on its own monotonic clock, counted
// from before the last successful renewal was sent, ends the lease itself: 5 s
// before anybody else may take over.
package membership
