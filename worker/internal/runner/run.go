package runner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/worker/group"
	"github.com/stellarfw/stellar/worker/internal/queue"
	"github.com/stellarfw/stellar/worker/tasks"
)

// run is one run of one task's handler. It also implements the handler's context. A batch has a run for each of
// its tasks; the first of them stands for the batch, and runs its handler.
type run struct {
	queue.Run

	runner   *Runner
	def      handled
	returned bool // guarded by Runner.mu
	started  bool // guarded by Runner.mu
	solo     bool // the run holds the lane of suspects

	postponed bool // Redis refused the outcome
	letPass   bool // the outcome is large and has let others pass; guarded by Runner.mu
	alarm     alarm
	began     time.Time
	err       error // why the run failed

	batch     []*run      // of the first run of a batch: all of them
	first     *run        // of the batch; nil: the run is no batch's
	joined    []*run      // those that end together with this one; see queue.Run.Join
	cancelled bool        // somebody asked for it while the handler ran; guarded by Runner.mu
	expiry    *time.Timer // ends a gathered task at its deadline; nil: it has none

	work   context.Context //nolint:containedctx // the node's
	once   sync.Once
	inner  context.Context //nolint:containedctx // of the run; made when somebody waits for it
	cancel context.CancelCauseFunc
}

// newRun prepares a claimed task. Its context derives from work.
func (r *Runner) newRun(work context.Context, c queue.Claimed) *run {
	return &run{Run: queue.Run{Claimed: c, Node: &r.node}, runner: r, work: work, def: r.handlers[c.Record.Name]}
}

// Done implements context.Context. The inner context is made at the first use: most
// handlers of short tasks never use it, and deriving a context from the node's costs as
// much as running such a task.
func (r *run) Done() <-chan struct{} { return r.context().Done() }

// Err implements context.Context.
func (r *run) Err() error { return r.context().Err() }

// Deadline implements context.Context.
func (r *run) Deadline() (time.Time, bool) { return r.context().Deadline() }

// Value implements context.Context.
func (r *run) Value(key any) any {
	switch key.(type) {
	case queue.RunKey:
		return &r.Run
	case queue.ClientKey:
		return r.runner.client
	default:
		return r.context().Value(key)
	}
}

// context returns the context that ends with the run.
func (r *run) context() context.Context {
	r.once.Do(func() {
		inner, cancel := context.WithCancelCause(r.work)
		r.cancel = cancel
		if timeout := r.timeout(); timeout > 0 {
			var stop context.CancelFunc
			inner, stop = context.WithTimeoutCause(inner, timeout, fmt.Errorf("task timeout of %s: %w", timeout, context.DeadlineExceeded))
			r.cancel = func(cause error) { stop(); cancel(cause) }
		}
		if left, has := r.untilDeadline(); has {
			end := r.cancel
			var stop context.CancelFunc
			inner, stop = context.WithTimeoutCause(inner, left, fmt.Errorf("%w: %w", tasks.ErrDeadline, context.DeadlineExceeded))
			r.cancel = func(cause error) { stop(); end(cause) }
		}
		r.inner = inner
	})
	return r.inner
}

// stop ends the handler's context.
func (r *run) stop(cause error) {
	r.context()
	if r.cancel != nil { // nil when the handler returned without using its context
		r.setAlarm(0)
		r.cancel(cause)
	}
}

// untilDeadline returns how long the task may still run, and whether it has a deadline; of a batch, the
// earliest.
func (r *run) untilDeadline() (left time.Duration, has bool) {
	r.each(func(x *run) {
		if ms := x.Record.Options.Deadline; ms > 0 {
			if d := time.UnixMilli(ms).Sub(x.Clock.Now()); !has || d < left {
				left, has = d, true
			}
		}
	})
	return left, has
}

// end measures the run and ends its context.
func (r *run) end() {
	r.Ran = time.Since(r.began)
	r.once.Do(func() { r.inner = r.runner.over })
	if r.cancel != nil {
		r.cancel(context.Canceled)
	}
}

// timeout returns the time that the handler has, 0 for any; of a batch, the shortest.
func (r *run) timeout() (least time.Duration) {
	r.each(func(x *run) {
		d := cmp.Or(queue.Duration(x.Record.Options.Timeout), queue.Duration(x.defaults().Timeout), x.def.Timeout)
		if d > 0 && (least == 0 || d < least) {
			least = d
		}
	})
	return least
}

func (r *run) log() *zerolog.Logger {
	with := r.runner.log.With().Str("task", r.ID).Str("name", r.Record.Name)
	if n := len(r.batch); n > 1 {
		with = with.Int("batch", n)
	}
	l := with.Logger()
	return &l
}

// handle runs the handler and sets the run's outcome, then calls done, even if the handler
// calls runtime.Goexit, which ends the goroutine.
func (r *run) handle(done func(goexit bool)) {
	if r.solo {
		if err := r.runner.announceSolo(r); err != nil {
			if r.batch != nil {
				r.finishBatch(err, nil)
			} else {
				r.finish(err)
			}
			done(false)
			return
		}
	}
	if _, has := r.untilDeadline(); has || r.timeout() > 0 {
		end, _ := r.context().Deadline() // the clock starts now
		r.setAlarm(time.Until(end))
	}
	group.Run("task "+r.Record.Name, func() error { return r.def.handle(r, r.payload()) }, func(err error) {
		if those := r.Wait(); r.batch != nil {
			r.finishBatch(err, those)
		} else {
			r.finish(errors.Join(err, those))
		}
		done(errors.Is(err, group.ErrGoexit))
	})
}

func (r *run) finish(err error) {
	ending := r.work.Err() != nil
	r.end()
	effects, result, txErr := r.Close()
	if err == nil {
		err = txErr
	}
	if r.Slept.Load() && !errors.Is(err, tasks.ErrSnoozed) {
		err = errors.Join(tasks.ErrAsleep, err)
	}
	switch {
	case ending:
		r.log().Debug().AnErr("error", err).Msg("task goes back: its node is ending")
		r.err = err
		r.runner.observeLost(context.Cause(r.work), r)
		r.runner.abandoned(r.ID)
		return
	case err == nil:
		r.done(effects, result)
	case errors.Is(err, tasks.ErrSnoozed), errors.Is(err, tasks.ErrThrottled):
		r.failed(err)
	default:
		r.failed(err)
		r.logFailure(err, r.Verb() == queue.Dead)
	}
	r.runner.ended(r)
}

func (r *run) logFailure(err error, dead bool) {
	withStack(r.log().Warn(), err).Int("attempt", r.Tries.Attempts+1).Bool("dead", dead).Msg("task failed")
}

// withStack adds an error to a line of the log, with its stack if it is a panic.
func withStack(e *zerolog.Event, err error) *zerolog.Event {
	if p, ok := errors.AsType[*group.PanicError](err); ok {
		return e.Err(err).Bytes("stack", p.Stack)
	}
	return e.Err(err)
}
