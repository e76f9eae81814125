package tasks

import (
	"cmp"
	"errors"
	"time"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker/internal/queue"
)

// Observer is notified of events of tasks after Redis has accepted them, for metrics and
// traces. Its methods are called synchronously, by many goroutines at once: they must not
// block and must not panic.
//
// An observer is notified of what its own process did. Each end is reported at most once:
// ends in a reply of Redis that was lost are not reported. For exact counts use [Totals],
// which Redis counts.
type Observer interface {
	// Enqueued is called for each task of an enqueue, stored or not.
	Enqueued(end EnqueueEnd)
	// Claimed is called when Redis has answered a node's request for tasks.
	Claimed(claim Claim)
	// RunEnded is called when a run of a task's handler has ended.
	RunEnded(end RunEnd)
	// Committed is called when Redis has accepted the outcomes of runs, after RunEnded
	// of each of these runs.
	Committed(commit Commit)
	// TookOver is called when the tasks of an ended incarnation were taken over.
	TookOver(take TakeOver)
	// Ticked is called when a tick of a periodic task was enqueued or left out.
	Ticked(tick Tick)
	// StepEnded is called when a step of a run has ended, was skipped or failed.
	StepEnded(end StepEnd)
	// TaskEnded is called when a task has ended without a run, such as by Delete.
	TaskEnded(end TaskEnd)
	// RunOverdue is called once for a run whose handler goes on after its context has ended:
	// it has not returned within the grace time.
	RunOverdue(over RunOverdue)
}

// EnqueueResult is the result of the enqueue of a task.
type EnqueueResult string

// The results of [EnqueueEnd].
const (
	EnqueueAccepted  EnqueueResult = "accepted"
	EnqueueDuplicate EnqueueResult = "duplicate" // its id or unique key is taken
	EnqueueFull      EnqueueResult = "full"      // at the limits of its queue
	EnqueueRefused   EnqueueResult = "refused"   // invalid, or Redis could not store it
	EnqueueUnknown   EnqueueResult = "unknown"   // it may be stored
)

// EnqueueEnd describes the enqueue of one task.
type EnqueueEnd struct {
	// ID is empty for a task that was refused.
	ID string
	// Name and Queue may be names of the caller's choice that no node knows.
	Name, Queue string
	Result      EnqueueResult
	// Position is the task's position in its call, from 0. Together is how many tasks
	// the call had, 0 for a transaction. Took is how long Redis took for the call; it is
	// 0 if the tasks were not sent, or if a transaction enqueued them.
	Position, Together int
	Took               time.Duration
}

// Claim describes a node's request for tasks that Redis has answered.
type Claim struct {
	Node        string // the incarnation
	Wanted, Got int    // tasks
	Took        time.Duration
}

// Outcome is the outcome of a run.
type Outcome string

// The outcomes of [RunEnd].
const (
	RunDone      Outcome = "done"
	RunFailed    Outcome = "failed"
	RunPanicked  Outcome = "panicked"
	RunTimeout   Outcome = "timeout"   // it failed at the timeout of its definition or options
	RunDeadline  Outcome = "deadline"  // it failed at its deadline, or the next attempt would be after it
	RunSnoozed   Outcome = "snoozed"   // see [Snooze]
	RunThrottled Outcome = "throttled" // see [Throttle]
	RunDiscarded Outcome = "discarded" // see [Discard]
	RunCancelled Outcome = "cancelled"
	RunRefused   Outcome = "refused"   // its transaction was refused: see [ErrRefused]
	RunFenced    Outcome = "fenced"    // its node did not own the task any more
	RunReturned  Outcome = "returned"  // its batch could not commit because of another task, and the task runs again
	RunAbandoned Outcome = "abandoned" // its node ended first, and the task runs again
)

// RunEnd describes a run that has ended.
type RunEnd struct {
	ID, Name, Queue string
	Node            string // the incarnation
	Outcome         Outcome
	// Dead: it was the task's last run, and the task is dead.
	Dead bool
	// Batch is how many tasks ran together in one call of a batch's handler, told with one of them; 0 for
	// the others, and for tasks that ran by themselves.
	Batch   int
	Attempt int           // 1 in the first run
	Crashes int           // earlier runs of the task that ended with their node
	Waited  time.Duration // from when the task was due until its handler started
	Ran     time.Duration
	Err     error // why the run failed; nil if it is done
}

// RunOverdue describes a run whose handler goes on after its context has ended. When the
// handler returns, the run ends like any other.
type RunOverdue struct {
	ID, Name, Queue string
	Node            string        // the incarnation
	Attempt         int           // 1 in the first run
	Timeout         time.Duration // 0: none
	Cause           error         // why the context ended: a timeout, [ErrDeadline] or [ErrCancelled]
}

// StepResult is what became of a call of [Step].
type StepResult string

// The results of [StepEnd].
const (
	StepRun     StepResult = "run"     // it ran, and its result is stored
	StepSkipped StepResult = "skipped" // an earlier run had stored its result
	StepFailed  StepResult = "failed"  // its function failed, or its result could not be stored
)

// StepEnd describes a call of [Step] that has returned.
type StepEnd struct {
	ID, Name, Queue string // of the task
	Step            string
	Result          StepResult
	Took            time.Duration
}

// Commit describes one commit: runs whose outcomes Redis has accepted together.
type Commit struct {
	Node string // the incarnation
	Runs int    // tasks that went back without a run included
	Took time.Duration
}

// TakeOverReason is why the tasks of an incarnation were taken over.
type TakeOverReason string

// The reasons of [TakeOver].
const (
	TakeOverStop     TakeOverReason = "stop"     // its node stopped before they were done
	TakeOverCrash    TakeOverReason = "crash"    // its node crashed in this process
	TakeOverLease    TakeOverReason = "lease"    // its lease ran out: its process died, or was cut off
	TakeOverOutlived TakeOverReason = "outlived" // their handlers outlived its node
)

// TakeOver describes the take-over of an ended incarnation's tasks. Take-overs for reasons
// other than a crash or a lost lease are reported only if they handed on tasks.
type TakeOver struct {
	Node        string // the incarnation that ended
	Why         TakeOverReason
	HandedOn    int // tasks that went back to their queues
	Quarantined int // tasks that are dead: too many crashes
	Cancelled   int // tasks whose cancellation had been requested
	Took        time.Duration
}

// TickResult says whether a tick was enqueued.
type TickResult string

// The results of [Tick].
const (
	TickEnqueued TickResult = "enqueued"
	TickMissed   TickResult = "missed" // too late without [Periodic].CatchUp, or left out for a parked one
)

// Tick describes a tick of a periodic task: one time at which the task is due.
type Tick struct {
	Name        string // of the periodic task
	Task, Queue string
	Result      TickResult
	Due         time.Time // on Redis's clock
	Late        time.Duration
}

// EndReason is why a task ended without a run.
type EndReason string

// The ends of [TaskEnd].
const (
	EndQuarantined EndReason = queue.Quarantined // dead: too many of its runs ended with a crash
	EndCancelled   EndReason = queue.Cancelled   // by a user, or because the task that it followed was cancelled or deleted
	EndDeleted     EndReason = queue.Deleted     // by a user; the task may have been dead or cancelled before
	EndDeadline    EndReason = "deadline"        // dead: its deadline passed before it began
	EndMalformed   EndReason = "malformed"       // dead: its record cannot be read
)

// TaskEnd describes a task that has ended without a run.
type TaskEnd struct {
	ID, Name, Queue string
	How             EndReason
}

// Observe sets the observer of the client's enqueues; nil means none. Call it before the
// client's first use.
func (c *Client) Observe(o Observer) {
	c.observer = o
	if !c.shared {
		c.producer.OnEnd = onEnd(o)
	}
}

// Report sets where failures of Redis are logged that the client's calls wait out; nil means
// nowhere. Call it before the client's first use.
func (c *Client) Report(r *link.Reports) {
	c.store.Reports, c.endings.Reports = r, r
	if !c.shared {
		c.producer.Reports = r
	}
	if c.published != nil {
		c.published.store.Reports = r
	}
}

// CountDrops sets the function that is told of each message that was dropped because of its
// size while a call waited for the end of a task (see [redisbus.Bus.CountDrop]). Call it before
// the client's first use.
func (c *Client) CountDrops(f func(redisbus.Drop)) { c.endings.Dropped = f }

// Observe sets the observer of the tasks that the inspector cancels and deletes; nil means
// none. Call it before the inspector's first use.
func (i *Inspector) Observe(o Observer) { i.store.OnEnd = onEnd(o) }

// onEnd returns a function that notifies o of ends, or nil if o is nil.
func onEnd(o Observer) func(queue.End) {
	if o == nil {
		return nil
	}
	return func(e queue.End) { o.TaskEnded(TaskEnd{ID: e.ID, Name: e.Name, Queue: e.Queue, How: EndReason(e.How)}) }
}

// observeSent notifies the observer of the tasks of a call that were sent. known, refused
// and err are the results of the producer's Enqueue: how many outcomes are known, the codes
// of refused tasks by position, and the error of the other tasks.
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

// observeNoted notifies the observer of the tasks that a step of a run enqueued, and of those that
// ended with that.
func (c *Client) observeNoted(effects []queue.Effect, ends []queue.End) {
	if c.observer == nil {
		return
	}
	duplicates := map[string]bool{}
	for _, e := range ends {
		if e.How == queue.Duplicate {
			duplicates[e.ID] = true
		} else {
			onEnd(c.observer)(e)
		}
	}
	for _, effect := range effects {
		id, name, in, is := effect.Followup()
		if !is {
			continue
		}
		e := EnqueueEnd{ID: id, Name: name, Queue: in, Result: EnqueueAccepted}
		if duplicates[id] {
			e.Result = EnqueueDuplicate
		}
		c.observer.Enqueued(e)
	}
}

// observeRefused notifies the observer of the tasks of a call that failed before it was sent.
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
