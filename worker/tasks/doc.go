// Package tasks is the cluster's task queue: a task is enqueued and runs on some node.
// Authors register handlers ([Handle]) and enqueue tasks with a [Client]. Operators list,
// cancel, delete and retry tasks with an [Inspector].
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
// A queue has three lines, one for each [Priority]. A waiting task can be cancelled or
// deleted at once; a running task is asked to end.
//
// The tasks of a group ([Options].Group) have lines of their own, which take turns, and [Limits] bound how many of
// each run and how often they begin. A task may go on behind its last [Step] or [Checkpoint] when it runs again, and a
// dead one may have a hook ([OnDead]).
//
// # Who may end a task
//
// A claim gives a task to an incarnation of a node. A commit by the incarnation has an
// effect only while its lease is not condemned and it still owns the task. The effects
// that the handler added to its [Transaction] are applied in the same script as the
// task's completion: they become visible once, together with it, or never. A batch ([HandleBatch]) commits
// with all of its tasks that succeeded, or with none.
//
// # What may be repeated
//
// A request whose reply was lost is sent again, and has the same result. The tasks of
// one [Client.EnqueueMany] are stored in their order; other calls may overtake it.
// An enqueue whose outcome is unknown can be repeated with the same [Options].ID.
package tasks
