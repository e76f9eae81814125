package cli

import (
	"context"
	"os"
	"os/signal"
	"sync"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/supervisor"
)

// order is what a signal makes a running set do.
type order string

const (
	orderReload order = "reload"
	orderRoll   order = "rolling restart"
	orderMore   order = "one node more"
	orderLess   order = "one node less"
	orderQuiet  order = "quiet"
	orderResume order = "resume"
)

// catchOrders starts to catch the signals that operate a running set. Other commands
// leave them to the system: Ctrl-Z stops a command, as everywhere.
func catchOrders() (signals <-chan os.Signal, stop func()) {
	caught := make(chan os.Signal, 64) // so that a burst of them is not lost
	for s := range orders {
		signal.Notify(caught, s)
	}
	return caught, func() { signal.Stop(caught) }
}

// obey carries out the signals' orders until ended is closed, which happens when the
// set has stopped. Orders to a set that is stopping are ignored.
func (r *runner) obey(ctx context.Context, set *supervisor.Set, log zerolog.Logger, ended <-chan struct{}) {
	if r.orders == nil {
		return
	}
	signals, stop := r.orders()
	defer stop()
	var all sync.WaitGroup
	defer all.Wait()
	quietBySignal := false // and not by a command
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
				continue // it continues a stopped process, and does not end the quiet that a command began
			}
			quietBySignal = what == orderQuiet || quietBySignal && what != orderResume
			log.Info().Str("signal", s.String()).Str("order", string(what)).Msg("signal")
			carryOut(ctx, set, what, log, &all)
		case <-ended:
			return
		}
	}
}

// carryOut carries out an order. A slow one does not delay the next order.
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

// quick returns the function of an order that is carried out at once; nil for another
// order.
func quick(set *supervisor.Set, what order) func() error {
	scale := func(by int) func() error {
		return func() error { _, err := set.ScaleBy(by); return err }
	}
	quiet := func(on bool) func() error {
		return func() error { set.Quiet(on); return nil }
	}
	switch what {
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

// slow carries out an order that takes long. It returns when the set ends.
func slow(ctx context.Context, set *supervisor.Set, what order) error {
	ctx = context.WithoutCancel(ctx) // the set says why it ended
	if what == orderRoll {
		return set.Roll(ctx)
	}
	return set.Reload(ctx)
}
