package tasks

import (
	"cmp"
	"errors"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker/internal/queue"
)

// Observer hears how things ended with tasks, after Redis has accepted it, for metrics
// and traces. Its methods are called synchronously, by many goroutines at once: they
// must not block and must not panic.
//
// It hears of what its own process did. Ends are told once, but not those in an answer
// of Redis that was lost: what has to be exact is counted by Redis ([Totals]).
type Observer interface {
	// Enqueued: a task was stored, or not. It is called for each task of a call.
	Enqueued(end EnqueueEnd)
	// Claimed: Redis has answered a node's request for tasks.
	Claimed(claim Claim)
	// RunEnded: a run of a task's handler has ended.
	RunEnded(end RunEnd)
	// Committed: Redis has accepted how runs ended, after RunEnded of each.
	Committed(commit Commit)
	// TookOver: the tasks in the hands of an incarnation that ended were handed on.
	TookOver(take TakeOver)
	// Ticked: a tick of a periodic task was enqueued, or left out.
	Ticked(tick Tick)
	// TaskEnded: a task has ended otherwise than by its run.
	TaskEnded(end TaskEnd)
}

// EnqueueResult is what became of an enqueue.
type EnqueueResult string

// The results of [EnqueueEnd].
const (
	EnqueueAccepted  EnqueueResult = "accepted"
	EnqueueDuplicate EnqueueResult = "duplicate" // its id or unique key is taken
	EnqueueFull      EnqueueResult = "full"      // at the limits of its queue
	EnqueueRefused   EnqueueResult = "refused"   // invalid, or Redis could not store it
	EnqueueUnknown   EnqueueResult = "unknown"   // it may be stored
)

// EnqueueEnd is a task that was to be stored.
type EnqueueEnd struct {
	// ID is empty for a task that was refused.
	ID string
	// Name and Queue may be names of the caller's choice that no node knows.
	Name, Queue string
	Result      EnqueueResult
	// Position is the task's in its call, from 0; Together is how many tasks the call
	// had, 0 for a transaction. Took is how long Redis took for the call, 0 where the
	// tasks were not sent, or with the transaction's run.
	Position, Together int
	Took               time.Duration
}

// Claim is an answered claim.
type Claim struct {
	Node        string // the incarnation
	Wanted, Got int    // tasks
	Took        time.Duration
}

// Outcome is how a run ended.
type Outcome string

// The outcomes of [RunEnd].
const (
	RunDone      Outcome = "done"
	RunFailed    Outcome = "failed"
	RunPanicked  Outcome = "panicked"
	RunTimeout   Outcome = "timeout"   // it failed at its definition's or its own timeout
	RunDeadline  Outcome = "deadline"  // it failed at its deadline, or no attempt is left before that
	RunSnoozed   Outcome = "snoozed"   // see [Snooze]
	RunDiscarded Outcome = "discarded" // see [Discard]
	RunCancelled Outcome = "cancelled"
	RunRefused   Outcome = "refused"   // its transaction was: see [ErrRefused]
	RunFenced    Outcome = "fenced"    // its task was not in its node's hands any more
	RunAbandoned Outcome = "abandoned" // its node ended first, and the task runs again
)

// RunEnd is a run that has ended.
type RunEnd struct {
	ID, Name, Queue string
	Node            string // the incarnation
	Outcome         Outcome
	// Dead: it was the task's last run, and the task is dead.
	Dead    bool
	Attempt int           // 1 in the first run
	Crashes int           // runs before it that ended with their node
	Waited  time.Duration // from when the task could have run until it did
	Ran     time.Duration
	Err     error // of a run that is not done
}

// Commit is runs whose ends Redis has accepted together.
type Commit struct {
	Node string // the incarnation
	Runs int    // tasks that went back without a run included
	Took time.Duration
}

// TakeOverReason is why an incarnation's tasks were handed on.
type TakeOverReason string

// The reasons of [TakeOver].
const (
	TakeOverStop     TakeOverReason = "stop"     // its node stopped before they were done
	TakeOverCrash    TakeOverReason = "crash"    // its node crashed in this process
	TakeOverLease    TakeOverReason = "lease"    // its lease ran out: its process died, or was cut off
	TakeOverOutlived TakeOverReason = "outlived" // their handlers outlived its node
)

// TakeOver is a take-over. Of those that are no crash and no lost lease, only the ones
// that handed something on are told.
type TakeOver struct {
	Node        string // the incarnation that ended
	Why         TakeOverReason
	HandedOn    int // tasks that went back to their queues
	Quarantined int // tasks that are dead: too many crashes
	Cancelled   int // tasks that somebody had asked to cancel
	Took        time.Duration
}

// TickResult is what became of a tick.
type TickResult string

// The results of [Tick].
const (
	TickEnqueued TickResult = "enqueued"
	TickMissed   TickResult = "missed" // too late without [Periodic].CatchUp
)

// Tick is a tick of a periodic task.
type Tick struct {
	Name        string // of the periodic task
	Task, Queue string
	Result      TickResult
	Due         time.Time // on Redis's clock
	Late        time.Duration
}

// EndReason is how a task ended without a run.
type EndReason string

// The ends of [TaskEnd].
const (
	EndQuarantined EndReason = queue.Quarantined // dead: too many of its nodes crashed
	EndCancelled   EndReason = queue.Cancelled   // by somebody, or with the task that it followed
	EndDeleted     EndReason = queue.Deleted     // by somebody, also one that was dead or cancelled
	EndDeadline    EndReason = "deadline"        // dead: its deadline passed before it began
	EndMalformed   EndReason = "malformed"       // dead: its record cannot be read
)

// TaskEnd is a task that has ended otherwise than by its run.
type TaskEnd struct {
	ID, Name, Queue string
	How             EndReason
}

// Observe has an observer hear of the client's enqueues. Call it before the first use;
// nil is none.
func (c *Client) Observe(o Observer) { c.observer, c.producer.OnEnd = o, onEnd(o) }

// Observe has an observer hear of the tasks that the inspector cancels and deletes.
// Call it before the first use; nil is none.
func (i *Inspector) Observe(o Observer) { i.store.OnEnd = onEnd(o) }

// onEnd returns what tells the observer of ends, or nil where there is none.
func onEnd(o Observer) func(queue.End) {
	if o == nil {
		return nil
	}
	return func(e queue.End) { o.TaskEnded(TaskEnd{ID: e.ID, Name: e.Name, Queue: e.Queue, How: EndReason(e.How)}) }
}

// observeSent tells of the tasks of a call that were sent: of how many it is known what
// became of them, the codes of those that were refused, and the error for the others.
func (c *Client) observeSent(all []queue.Task, known int, refused map[int]string, err error, took time.Duration) {
	for i, t := range all {
		e := EnqueueEnd{ID: t.ID, Name: t.Name(), Queue: t.Queue(), Position: i, Together: len(all), Took: took}
		switch code := refused[i]; {
		case i < known && code == "":
			e.Result = EnqueueAccepted
		case i < known && code == "full":
			e.ID, e.Result = "", EnqueueFull
		case i < known:
			e.Result = EnqueueDuplicate
		case errors.Is(err, link.ErrUnknownOutcome):
			e.Result = EnqueueUnknown
		default:
			e.ID, e.Result = "", EnqueueRefused
		}
		c.observer.Enqueued(e)
	}
}

// observeRefused tells of a call that failed before it was sent.
func (c *Client) observeRefused(requests []Request) {
	for i := range requests {
		name := requests[i].Name
		definition, _ := c.registry.Definition(name)
		c.observer.Enqueued(EnqueueEnd{
			Name: name, Queue: cmp.Or(requests[i].Queue, definition.Queue, DefaultQueue), Result: EnqueueRefused,
			Position: i, Together: len(requests),
		})
	}
}
