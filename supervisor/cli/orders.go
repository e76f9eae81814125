package cli

import (
	"context"
	"os"
	"os/signal"
	"sync"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/supervisor"
)

// order is an operation on a running set that a signal requests.
type order string

const (
	orderReload  order = "reload"
	orderRoll    order = "rolling restart"
	orderUpgrade order = "upgrade"
	orderMore    order = "one node more"
	orderLess    order = "one node less"
	orderQuiet   order = "quiet"
	orderResume  order = "resume"
)

// catchOrders subscribes to the signals that operate a running set. Only run calls it:
// in other commands these signals keep their usual effect, such as that of Ctrl-Z.
func catchOrders() (signals <-chan os.Signal, stop func()) {
	caught := make(chan os.Signal, 64) // so that a burst of signals is not lost
	for s := range orders {
		signal.Notify(caught, s)
	}
	return caught, func() { signal.Stop(caught) }
}

// obey has do carry out the orders of signals until ended is closed, after the set has
// stopped. It ignores orders once the set is stopping, that is, when ctx is done.
func (r *runner) obey(
	ctx context.Context, log zerolog.Logger, ended <-chan struct{}, do func(what order, all *sync.WaitGroup),
) {
	if r.orders == nil {
		return
	}
	signals, stop := r.orders()
	defer stop()
	var all sync.WaitGroup
	defer all.Wait()
	quietBySignal := false // the set is quiet because of a signal, not a command
	for {
		select {
		case s := <-signals:
			what, known := orders[s]
			if !known {
				continue
			}
			if ctx.Err() != nil {
				log.Info().Str("signal", s.String()).Str("order", string(what)).Msg("ignored: the set is stopping")
				continue
			}
			if what == orderResume && !quietBySignal {
				continue // a shell sends CONT to continue a stopped process: it must not undo the command quiet
			}
			quietBySignal = what == orderQuiet || quietBySignal && what != orderResume
			log.Info().Str("signal", s.String()).Str("order", string(what)).Msg("signal")
			do(what, &all)
		case <-ended:
			return
		}
	}
}

// carryOut carries out an order, a slow order in a goroutine of the group all, so that
// it does not delay the next order.
func carryOut(ctx context.Context, set *supervisor.Set, what order, log zerolog.Logger, all *sync.WaitGroup) {
	if do := quick(set, what); do != nil {
		if err := do(); err != nil {
			log.Warn().Err(err).Str("order", string(what)).Msg("not done")
		}
		return
	}
	all.Go(func() {
		if err := slow(ctx, set, what); err != nil {
			log.Error().Err(err).Str("order", string(what)).Msg("not done")
		}
	})
}

// quick returns a function that carries out the order without waiting for nodes, or nil
// for a slow order.
func quick(set *supervisor.Set, what order) func() error {
	scale := func(by int) func() error {
		return func() error { _, err := set.ScaleBy(by); return err }
	}
	quiet := func(on bool) func() error {
		return func() error { set.Quiet(on); return nil }
	}
	switch what {
	case orderUpgrade:
		return func() error { return supervisor.ErrAlone }
	case orderMore:
		return scale(1)
	case orderLess:
		return scale(-1)
	case orderQuiet:
		return quiet(true)
	case orderResume:
		return quiet(false)
	default:
		return nil
	}
}

// slow carries out a reload or a rolling restart. It returns early if the set ends.
func slow(ctx context.Context, set *supervisor.Set, what order) error {
	ctx = context.WithoutCancel(ctx) // if the set ends, its own error is more precise than that of ctx
	if what == orderRoll {
		return set.Roll(ctx)
	}
	return set.Reload(ctx)
}
