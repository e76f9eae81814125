// Package tasks is the cluster's task queue: enqueue, run on some node, done.
//
// # Where a task is
//
// A task's record never changes; its place does. Its id is in exactly one of
// these places, and every move between them is one script:
//
//	enqueue ─┬─▶ blocked ──(all it follows are done)──┐
//	         ├─▶ delayed ──(due)──────────────────────┤
//	         └────────────────────────────────────────┴─▶ queue ──(claim)──▶ owned by an incarnation
//	                                                       ▲ ▲ ▲                │
//	                                                       │ │ └──(take-over)───┤ the node ended
//	                    parked ◀──(park)───────────────────┼─┼──────────────────┤ nobody here handles it
//	                       └──(claim)                      │ │                  ├─▶ done  (the handler returned nil)
//	                    delayed ──(due)────────────────────┘ │                  │
//	                       ▲───────────────(later)───────────┼──────────────────┤ it returned an error
//	                    dead, cancelled ──(retry)────────────┘                  └─▶ dead  (for the last time), or cancelled
//
// A queue has three lines, of urgent, normal and patient tasks. Whatever waits
// can be cancelled or deleted; what runs is asked to end.
//
// # Who may end it
//
// A claim gives a task to an incarnation of a node. Only while the incarnation's
// lease is not condemned and the task is still in its hands does a commit change
// anything; the effects that the handler gave to its [Transaction] are applied in
// the same script, so they become visible once, with the completion, or never.
//
// # What may be repeated
//
// Enqueues, claims and commits are numbered, per producer and per incarnation.
// The same number again gives the same answer, so that a request whose reply
// was lost is simply sent again. Of a producer's batches two may be on their way;
// the parts of one call are stored in their order. A claim or commit whose number
// Redis has forgotten means that it went back in time: the incarnation ends and
// what it had runs again.
package tasks
