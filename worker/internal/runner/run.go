package runner

import (
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

// run is one run of one task's handler. It is the handler's context as well.
type run struct {
	queue.Run

	runner   *Runner
	def      handled
	returned bool // guarded by Runner.mu
	started  bool // guarded by Runner.mu
	solo     bool // it holds the lane of suspects
	began    time.Time

	work   context.Context //nolint:containedctx // the node's
	once   sync.Once
	inner  context.Context //nolint:containedctx // of the run; made when somebody waits for it
	cancel context.CancelCauseFunc
}

// newRun prepares a claimed task. Its context derives from work.
func (r *Runner) newRun(work context.Context, c queue.Claimed) *run {
	return &run{Run: queue.Run{Claimed: c, Node: &r.node}, runner: r, work: work, def: r.handlers[c.Record.Name]}
}

// Done implements context.Context. Most handlers of short tasks never ask, and
// registering each with its node's context costs as much as running it.
func (x *run) Done() <-chan struct{} { return x.context().Done() }

// Err implements context.Context.
func (x *run) Err() error { return x.context().Err() }

// Deadline implements context.Context.
func (x *run) Deadline() (time.Time, bool) { return x.context().Deadline() }

// Value implements context.Context.
func (x *run) Value(key any) any {
	switch key.(type) {
	case queue.RunKey:
		return &x.Run
	case queue.ClientKey:
		return x.runner.client
	default:
		return x.context().Value(key)
	}
}

// context returns the context that ends with the run.
func (x *run) context() context.Context {
	x.once.Do(func() {
		inner, cancel := context.WithCancelCause(x.work)
		x.cancel = cancel
		if timeout := x.timeout(); timeout > 0 {
			var stop context.CancelFunc
			inner, stop = context.WithTimeoutCause(inner, timeout, fmt.Errorf("task timeout of %s: %w", timeout, context.DeadlineExceeded))
			x.cancel = func(cause error) { stop(); cancel(cause) }
		}
		if left, has := x.untilDeadline(); has {
			end := x.cancel
			var stop context.CancelFunc
			inner, stop = context.WithTimeoutCause(inner, left, fmt.Errorf("%w: %w", tasks.ErrDeadline, context.DeadlineExceeded))
			x.cancel = func(cause error) { stop(); end(cause) }
		}
		x.inner = inner
	})
	return x.inner
}

// stop ends the handler's context.
func (x *run) stop(cause error) {
	x.context()
	if x.cancel != nil { // nil when the handler has returned and never asked for it
		x.cancel(cause)
	}
}

// untilDeadline is how long the task may still run, if it has a deadline.
func (x *run) untilDeadline() (time.Duration, bool) {
	ms := x.Record.Options.Deadline
	return time.UnixMilli(ms).Sub(x.Clock.Now()), ms > 0
}

// end releases what the context holds.
func (x *run) end() {
	x.Ran = time.Since(x.began)
	x.once.Do(func() { x.inner = x.runner.over })
	if x.cancel != nil {
		x.cancel(context.Canceled)
	}
}

func (x *run) timeout() time.Duration {
	if ms := x.Record.Options.Timeout; ms > 0 {
		return time.Duration(ms) * time.Millisecond
	}
	return x.def.Timeout
}

func (x *run) log() *zerolog.Logger {
	l := x.runner.log.With().Str("task", x.ID).Str("name", x.Record.Name).Logger()
	return &l
}

// handle runs the handler and turns what it did into an outcome. done is called
// even if the handler leaves through runtime.Goexit, which ends the goroutine.
func (x *run) handle(done func(goexit bool)) {
	if x.solo {
		if err := x.runner.announceSolo(x); err != nil {
			x.finish(err)
			done(false)
			return
		}
	}
	if x.timeout() > 0 || x.Record.Options.Deadline > 0 {
		x.context() // the clock starts now
	}
	group.Run("task "+x.Record.Name, func() error { return x.def.handle(x, x.Record.Payload) }, func(err error) {
		x.finish(errors.Join(err, x.Wait()))
		done(errors.Is(err, group.ErrGoexit))
	})
}

func (x *run) finish(err error) {
	ending := x.work.Err() != nil
	x.end()
	effects, result, txErr := x.Close()
	if err == nil {
		err = txErr
	}
	switch {
	case ending:
		x.log().Debug().AnErr("error", err).Msg("task goes back: its node is ending")
		x.runner.abandoned(x.ID)
		return
	case err == nil:
		x.done(effects, result)
	case errors.Is(err, tasks.ErrSnoozed):
		x.failed(err)
	default:
		x.failed(err)
		x.logFailure(err, x.Verb() == queue.Dead)
	}
	x.runner.ended(x)
}

func (x *run) logFailure(err error, dead bool) {
	var stack []byte
	if p, ok := errors.AsType[*group.PanicError](err); ok {
		stack = p.Stack
	}
	x.log().Warn().Err(err).Int("attempt", x.Tries.Attempts+1).Bool("dead", dead).
		Func(func(e *zerolog.Event) {
			if stack != nil {
				e.Bytes("stack", stack)
			}
		}).Msg("task failed")
}
