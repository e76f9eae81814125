package runner

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker/group"
	"github.com/stellarfw/stellar/worker/internal/queue"
	"github.com/stellarfw/stellar/worker/tasks"
)

// done sets the outcome of a run whose handler returned nil.
func (r *run) done(effects []queue.Effect, result json.RawMessage) {
	var keep, taken time.Duration
	keep = cmp.Or(queue.Duration(r.defaults().Retention), r.def.Retention)
	if ms := r.Record.Options.Retention; ms > 0 {
		keep = queue.Duration(ms)
	}
	if taken = keep; r.Record.Options.Chosen {
		taken = max(keep, tasks.DedupeWindow)
	}
	if taken > 0 || result != nil || len(effects) > 0 || r.Members != nil {
		r.End(queue.Done, effects, r.taken(taken), milliseconds(keep), []byte(result))
		return
	}
	r.End(queue.Done, nil)
}

// taken returns for how long the id stays taken, as commit.lua reads it. The id of a tick
// stays taken for that long after the tick too: it may have run while Redis's clock was
// ahead, and must not run again when the clock comes there.
func (r *run) taken(d time.Duration) any {
	if tick := r.Record.Options.Tick; tick > 0 {
		return fmt.Sprintf("%d@%d", queue.Milliseconds(d), tick)
	}
	return milliseconds(d)
}

// milliseconds returns d in milliseconds, or the empty string for 0, as the scripts read it.
func milliseconds(d time.Duration) any {
	if d == 0 {
		return ""
	}
	return queue.Milliseconds(d)
}

// failed sets the outcome of a run whose handler returned an error or panicked, or whose
// transaction was refused: a retry, a snooze, a rest of its group or queue, or the task's death.
func (r *run) failed(err error) {
	t := r.Counts()
	r.err = err
	asked, hasAsked := errors.AsType[queue.LaterError](err)
	pause := asked.After
	if !hasAsked || asked.Attempt {
		t.Attempts++
		if t.Attempts >= r.maxAttempts() || tasks.IsDiscarded(err) {
			r.dead(t, err)
			return
		}
	}
	if !hasAsked {
		pause = link.Backoff(r.backoff(), r.maxBackoff(), t.Attempts)
	}
	switch {
	case r.late(pause):
		r.dead(t, fmt.Errorf("%w: no attempt is left before it: %w", tasks.ErrDeadline, err))
	case hasAsked && asked.Rest:
		r.End(queue.Throttle, nil, queue.Milliseconds(pause))
	case hasAsked && !asked.Attempt:
		r.End(queue.Snooze, nil, queue.Milliseconds(pause), t.String())
	default:
		r.End(queue.Later, nil, queue.Milliseconds(pause), t.String(), happened(t.Attempts, r.Node.Incarnation, err))
	}
}

// happened returns an entry of a task's history for a failed attempt, as JSON.
func happened(attempt int, incarnation string, err error) []byte {
	text, _ := json.Marshal(tasks.Event{Attempt: attempt, Node: incarnation, Error: queue.Clip(err.Error(), 500)}) // it cannot fail
	return text
}

// late reports whether the task's deadline will have passed after that pause.
func (r *run) late(pause time.Duration) bool {
	ms := r.Record.Options.Deadline
	return ms > 0 && r.Clock.Now().Add(pause).UnixMilli() >= ms
}

func (r *run) maxAttempts() int {
	return cmp.Or(r.Record.Options.MaxAttempts, r.defaults().MaxAttempts, r.def.MaxAttempts)
}

// defaults returns those of the task's queue.
func (r *run) defaults() queue.Defaults { return r.runner.defaults.of(r.Record.Queue()) }

func (r *run) backoff() time.Duration {
	return cmp.Or(queue.Duration(r.Record.Options.Backoff), r.def.Backoff)
}

func (r *run) maxBackoff() time.Duration {
	own := queue.Duration(r.Record.Options.MaxBackoff)
	return max(cmp.Or(own, r.def.MaxBackoff), r.backoff())
}

// dead sets the outcome of a task that does not run again; err says why.
func (r *run) dead(t queue.Tries, err error) {
	r.err = err
	why := tasks.Reason{Reason: "failed", Error: queue.Clip(err.Error(), 4000), Incarnation: r.Node.Incarnation}
	var p *group.PanicError
	switch {
	case r.Malformed != nil:
		why.Reason = "malformed"
	case errors.Is(err, tasks.ErrDeadline):
		why.Reason = "deadline"
	case tasks.IsDiscarded(err):
		why.Reason = "discarded"
	case errors.As(err, &p):
		why.Reason = "panicked"
	}
	text, _ := json.Marshal(why) // strings: it cannot fail
	r.End(queue.Dead, nil, t.String(), text)
}

// park sets the outcome of a task for which this node has no handler. Another node may
// have a handler.
func (r *run) park() { r.End(queue.Park, nil, r.Record.Name) }
