// Package guard runs a program as a guardian and its children: a parent process that runs no
// code of the user, and child processes of the same binary, each with a set of nodes. When a
// child dies, by a panic in a goroutine of its own, for want of memory or by kill -9, the
// guardian sees it at once (waitpid), kills the programs that the child had started, and hands
// over what its nodes owned as a supervisor does for a node that crashed. So its tasks start
// elsewhere within milliseconds, and not when its leases have run out.
//
//	            start, stop, order, told      ┌─────────┐
//	┌──────────┐ ───────────────────────────▶ │ child 0 │  a set of nodes
//	│ guardian │ ◀─────────────────────────── └─────────┘
//	└──────────┘  status, done, ask, abandoned, end
//	      │ ▲                                 ┌─────────┐
//	      │ └────────────────────────────────▶│ child 1 │
//	      ▼ settles what the dead owned       └─────────┘
//	    Redis ◀──────────────────────────────── all nodes
//
// # A slot's states
//
//	         ready or not            EOF, waitpid
//	started ─────────────▶ living ───────────────▶ dead ──▶ its programs killed ──▶ settled
//	   ▲                                                                               │
//	   └───────────────────────── after a pause, unless the guardian stops ────────────┘
//
// A life may be replaced: an heir is started beside it in the same slot. When the heir's nodes run,
// it is the slot's life, and the one before drains under the same eyes as all: when it dies
// meanwhile, its programs are killed and what it owned is handed over. An heir that does not become
// ready in time is dismissed, and nothing has changed.
//
//	present life ──────────────────────────── replaced ──▶ drains ──▶ dead ──▶ settled
//	             heir ── started ── ready ──▶ present life ──▶ …
//
// # Messages
//
// The two ends of a Unix socket pair carry lines of JSON, see [message]: each has a version and
// one member that says what it is. An end ignores members that it does not know. A broken
// pair means to a child that its guardian is dead: it drains as if told to stop. It means
// nothing to the guardian, which relies on waitpid: the child ends by itself, or is killed when
// it has taken too long.
//
// # What can go wrong
//
//   - A child dies while it joins: its member record is written in the same script as its lease,
//     with the name of its launch, by which the guardian finds it. A request that was still
//     under way is found by looking again; it owns nothing.
//   - A child dies when handlers of a node that had ended still ran: the node's id is free and
//     its record gone, its lease condemned. The child has told of such nodes ("abandoned").
//   - Redis is away when a child dies: the settling goes on when it is back. If the guardian
//     ends before, the leases run out. An incarnation is never used twice: settling late cannot
//     hit a new one.
//   - The guardian is slow, or stopped for a while: children never wait for it. What they cannot
//     write they drop, and their leases are their own.
//   - The guardian dies: the children drain. The kernel tells them too (PDEATHSIG, by SIGHUP),
//     which ends those that hang before they listen. A child that has not ended in the time
//     for its drain kills itself.
//   - A child hangs: it sends a status each second. After [silence] without one it is killed,
//     and counts as crashed.
package guard
