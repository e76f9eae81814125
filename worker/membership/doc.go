// Package membership keeps the list of the cluster's nodes on Redis: their ids,
// incarnations and leases.
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
//	              condemned ── handed over: tasks, locks, connections ─▶ Leave ▶ (free)
//
// Redis refuses the claims and commits of a condemned incarnation. The incarnation keeps its
// number until everything that it owned has been handed over. The process that does so
// reserves some time for it; if that process dies halfway, another goes on after that time.
// In the sorted set of leases the score of a condemned incarnation is the negative of the
// end of that time; the score of a live incarnation is its deadline.
//
// A process that could not renew its leases for 10 s ends them itself, 5 s before another
// process may take over. It counts on its own monotonic clock from the moment before it sent
// the last successful renewal.
package membership
