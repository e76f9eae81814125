// Package tasks is the cluster's task queue: enqueue, run on some node, done. Authors
// register handlers ([Handle]) and enqueue with a [Client]; operators look at tasks
// and mend them with an [Inspector].
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
// A request whose reply was lost is sent again, and has the same result. The tasks of
// one [Client.EnqueueMany] are stored in their order; other calls may overtake it.
// An enqueue whose outcome is unknown can be repeated with the same [Options].ID.
package tasks
