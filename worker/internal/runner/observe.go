package runner

import (
	"context"
	"errors"
	"time"

	"github.com/stellarfw/stellar/worker/group"
	"github.com/stellarfw/stellar/worker/internal/queue"
	"github.com/stellarfw/stellar/worker/tasks"
)

// OnEnd returns a function that notifies o of the tasks that scripts ended, or nil if o is
// nil.
func OnEnd(o tasks.Observer) func(queue.End) {
	if o == nil {
		return nil
	}
	return func(e queue.End) {
		o.TaskEnded(tasks.TaskEnd{ID: e.ID, Name: e.Name, Queue: e.Queue, How: tasks.EndReason(e.How)})
	}
}

// observeCommit notifies the observer of the runs that a commit ended: those that Redis
// accepted, and those whose tasks the incarnation does not own any more (FENCED).
func (r *Runner) observeCommit(batch []*run, refused map[string]string, ends []queue.End, began time.Time) {
	if r.observer == nil {
		return
	}
	told := endsOf(ends)
	batch = unjoined(batch)
	for _, x := range batch {
		code, no := refused[x.ID]
		switch cancelled := told.has(queue.Cancelled, x.ID); {
		case !x.started: // no run ended; if its task was cancelled, the loop below notifies
			if !no && x.Verb() == queue.Dead {
				r.observeDead(x)
			}
		case code == "FENCED":
			r.observeRun(x, tasks.RunFenced)
		case no:
		case cancelled:
			told.drop(queue.Cancelled, x.ID)
			r.observeRun(x, tasks.RunCancelled)
		default:
			r.observeRun(x, x.result())
		}
		if !no {
			r.observeFollowups(x, told)
		}
	}
	for _, e := range *told {
		if e.How != queue.Duplicate {
			r.observer.TaskEnded(tasks.TaskEnd{ID: e.ID, Name: e.Name, Queue: e.Queue, How: tasks.EndReason(e.How)})
		}
	}
	r.observer.Committed(tasks.Commit{Node: r.node.Incarnation, Runs: len(batch) - len(refused), Took: time.Since(began)})
}

// observeLost notifies the observer of runs whose outcomes Redis did not accept; err is
// why the node ended.
func (r *Runner) observeLost(err error, batch ...*run) {
	if r.observer == nil {
		return
	}
	outcome := tasks.RunAbandoned
	if errors.Is(err, queue.ErrFenced) {
		outcome = tasks.RunFenced
	}
	for _, x := range unjoined(batch) {
		if x.started {
			r.observeRun(x, outcome)
		}
	}
}

func (r *Runner) observeRun(x *run, outcome tasks.Outcome) {
	r.observer.RunEnded(tasks.RunEnd{
		ID: x.ID, Name: x.Record.Name, Queue: x.Queue(), Node: r.node.Incarnation,
		Outcome: outcome, Dead: outcome != tasks.RunFenced && outcome != tasks.RunAbandoned && x.Verb() == queue.Dead,
		Attempt: x.Tries.Attempts + 1, Crashes: x.Tries.Crashes, Waited: x.Waited, Ran: x.Ran, Err: x.err,
	})
}

// observeDead notifies the observer of a task that is dead without a run.
func (r *Runner) observeDead(x *run) {
	how := tasks.EndDeadline
	if x.Malformed != nil {
		how = tasks.EndMalformed
	}
	r.observer.TaskEnded(tasks.TaskEnd{ID: x.ID, Name: x.Record.Name, Queue: x.Queue(), How: how})
}

// observeFollowups notifies the observer of the tasks that a run's transaction enqueued.
func (r *Runner) observeFollowups(x *run, told *toldEnds) {
	for _, effect := range x.Effects() {
		id, name, in, is := effect.Followup()
		if !is {
			continue
		}
		e := tasks.EnqueueEnd{ID: id, Name: name, Queue: in, Result: tasks.EnqueueAccepted}
		if told.drop(queue.Duplicate, id) {
			e.Result = tasks.EnqueueDuplicate
		}
		r.observer.Enqueued(e)
	}
}

// toldEnds are the ends in the reply of a commit; see [queue.Session.Commit].
type toldEnds []queue.End

func endsOf(ends []queue.End) *toldEnds { return (*toldEnds)(&ends) }

func (t *toldEnds) has(how, id string) bool { return t.index(how, id) >= 0 }

func (t *toldEnds) index(how, id string) int {
	for i, e := range *t {
		if e.How == how && e.ID == id {
			return i
		}
	}
	return -1
}

// drop removes an end, and reports whether it was there.
func (t *toldEnds) drop(how, id string) bool {
	i := t.index(how, id)
	if i >= 0 {
		(*t)[i] = (*t)[len(*t)-1]
		*t = (*t)[:len(*t)-1]
	}
	return i >= 0
}

// result returns the outcome of a run that Redis has accepted, if the task was not
// cancelled.
func (r *run) result() tasks.Outcome {
	switch r.Verb() {
	case queue.Done:
		return tasks.RunDone
	case queue.Snooze:
		return tasks.RunSnoozed
	case queue.Throttle:
		return tasks.RunThrottled
	case queue.Back:
		return tasks.RunReturned
	default:
		return outcomeOf(r.err, r.cause())
	}
}

// cause returns why the handler's context ended before the handler returned, or nil.
func (r *run) cause() error {
	if r.first != nil && r.first != r {
		return r.first.cause()
	}
	if r.inner == nil || r.inner == r.runner.over {
		return nil
	}
	return context.Cause(r.inner)
}

// outcomeOf returns the outcome of a run that failed with err after its context had
// ended with cause.
func outcomeOf(err, cause error) tasks.Outcome {
	_, panicked := errors.AsType[*group.PanicError](err)
	switch {
	case panicked:
		return tasks.RunPanicked
	case errors.Is(err, tasks.ErrDeadline), errors.Is(cause, tasks.ErrDeadline):
		return tasks.RunDeadline
	case tasks.IsDiscarded(err):
		return tasks.RunDiscarded
	case errors.Is(err, tasks.ErrRefused):
		return tasks.RunRefused
	case errors.Is(cause, context.DeadlineExceeded):
		return tasks.RunTimeout
	default:
		return tasks.RunFailed
	}
}
