package tasks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/worker/group"
)

// run is one run of one task's handler.
type run struct {
	claimed     claimed
	def         registered
	incarnation string
	info        Info
	tx          *Transaction
	log         zerolog.Logger
	returned    bool // guarded by Runner.mu
}

// start runs a claimed task on a goroutine of its own.
func (r *Runner) start(work context.Context, c claimed) {
	x := &run{
		claimed: c, incarnation: r.Incarnation,
		log: r.Log.With().Str("task", c.id).Str("name", c.record.name).Logger(),
	}
	def, known := r.Registry.tasks[c.record.name]
	x.def = def
	x.info = Info{
		ID: c.id, Name: c.record.name, Queue: c.queue, Attempt: c.tries.attempts + 1, Crashes: c.tries.crashes,
		Fence: r.Fence, Enqueued: c.record.enqueued,
	}
	r.mu.Lock()
	r.inHand[c.id] = x
	r.mu.Unlock()
	switch {
	case c.malformed != nil:
		x.log.Error().Err(c.malformed).Msg("task is dead: its record cannot be read")
		r.ended(x.dead(c.tries, c.malformed))
		r.giveSlots(1)
	case !known:
		x.log.Debug().Msg("task parked: no handler here")
		r.ended(x.park())
		r.giveSlots(1)
	default:
		r.started.Add(1)
		go r.handle(work, x)
	}
}

func (r *Runner) handle(work context.Context, x *run) {
	ctx, cancel := context.WithCancelCause(work)
	timeout := x.def.Timeout
	if ms := x.claimed.record.options.Timeout; ms > 0 {
		timeout = time.Duration(ms) * time.Millisecond
	}
	stop := func() {}
	if timeout > 0 {
		ctx, stop = context.WithTimeoutCause(ctx, timeout, fmt.Errorf("task timeout of %s: %w", timeout, context.DeadlineExceeded))
	}
	ctx = context.WithValue(ctx, contextKey{}, x)
	x.tx = &Transaction{ctx: ctx, tasks: r.Client, keys: r.Keys, seal: r.Seal}
	group.Run("task "+x.claimed.record.name, func() error { return x.def.handle(ctx, x.claimed.record.payload) }, func(err error) {
		r.returned(work, x, err)
		stop()
		cancel(context.Canceled)
		r.giveSlots(1)
	})
}

// returned turns what the handler did into an outcome.
func (r *Runner) returned(work context.Context, x *run, err error) {
	effects, result, txErr := x.tx.end()
	if err == nil {
		err = txErr
	}
	switch {
	case work.Err() != nil:
		x.log.Debug().AnErr("error", err).Msg("task goes back: its node is ending")
		r.abandoned(x.claimed.id)
	case err == nil:
		r.ended(x.done(effects, result))
	default:
		o := x.failed(err)
		event := x.log.Warn()
		var p *group.PanicError
		if errors.As(err, &p) {
			event = x.log.Error().Bytes("stack", p.Stack)
		}
		event.Err(err).Int("attempt", x.info.Attempt).Bool("dead", o.verb == "dead").Msg("task failed")
		r.ended(o)
	}
}
