package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/supervisor/cli/service"
	"github.com/stellarfw/stellar/worker/builtin"
)

// statusInterval is how often the attendant checks the number of ready nodes.
const statusInterval = time.Second

const draining = "draining"

// attended is a set, or the guardian of several.
type attended interface {
	Ready() (ready, want int)
	AwaitReady(ctx context.Context) error
}

// operated is a guardian, whose operations replace processes.
type operated interface{ Operation() builtin.Operation }

// attendant writes the pidfile of a set that runs as a service, and reports the state
// of the set to the service manager.
type attendant struct {
	pidFile  string
	set      attended
	log      zerolog.Logger
	notifier service.Notifier
	watchdog time.Duration // interval of the watchdog messages; 0 for none

	operation int  // the last operation of a guardian that was seen
	reloading bool // it is under way, and the service manager knows

	lastStatus string
	remove     func() error  // removes the pidfile
	failed     error         // why the pidfile could not be written, which stops the set
	stop       func(error)   // cancels the context of the set
	over       chan struct{} // closed when the set has ended
	done       chan struct{}
}

// attend starts an attendant of the set. The caller must run the set under the returned
// context, which is cancelled if the pidfile cannot be written.
func attend(
	ctx context.Context, pidFile string, manager config.Manager, set attended, log zerolog.Logger,
) (*attendant, context.Context, error) {
	a := &attendant{
		pidFile: pidFile, set: set, log: log, notifier: manager.Notifier, watchdog: manager.Watchdog / 2,
		remove: func() error { return nil },
	}
	if pidFile != "" {
		if err := service.CheckPIDFile(pidFile); err != nil {
			return nil, nil, config.Invalidf("%w", err)
		}
	}
	if g, ok := set.(operated); ok {
		a.operation = g.Operation().Number // a guardian's that ran another program in this process
	}
	ctx, stop := context.WithCancelCause(ctx)
	a.stop, a.over, a.done = stop, make(chan struct{}), make(chan struct{})
	go a.serve(ctx)
	return a, ctx, nil
}

// end stops the attendant after the set has returned err, and removes the pidfile. It
// returns err, or the error for which the attendant stopped the set.
func (a *attendant) end(err error) error {
	close(a.over)
	<-a.done
	a.stop(nil)
	if removed := a.remove(); removed != nil {
		a.log.Warn().Err(removed).Msg("the pidfile stays")
	}
	if a.failed != nil {
		return a.failed
	}
	return err
}

// serve notifies the service manager until the set has ended.
func (a *attendant) serve(ctx context.Context) {
	defer close(a.done)
	ready := make(chan struct{})
	waiting, waited := context.WithCancel(ctx)
	defer func() { waited(); <-ready }()
	go func() {
		defer close(ready)
		_ = a.set.AwaitReady(waiting)
	}()
	look := time.NewTicker(statusInterval)
	defer look.Stop()
	alive := make(<-chan time.Time)
	if a.watchdog > 0 {
		ticker := time.NewTicker(a.watchdog)
		defer ticker.Stop()
		alive = ticker.C
	}
	a.notifyStatus("starting")
	becameReady, stopping := ready, ctx.Done()
	phase := "starting"
	for {
		select {
		case <-becameReady:
			becameReady = nil
			if ctx.Err() == nil {
				phase = "running"
				a.running(phase)
			}
		case <-stopping:
			stopping = nil
			phase = draining
			a.notify(service.Stopping)
			a.notifyStatus(phase)
		case <-a.over:
			if stopping != nil { // the set ended by itself
				a.notify(service.Stopping)
			}
			a.notify(service.Status("stopped"))
			return
		case <-look.C:
			a.notifyStatus(phase)
			a.notifyOperation()
		case <-alive:
			a.notifyStatus(phase) // this call blocks if the set hangs, so that no watchdog message follows
			a.notify(service.Alive)
		}
	}
}

// running writes the pidfile and reports readiness. serve calls it once, when all nodes
// are ready for the first time.
func (a *attendant) running(phase string) {
	if a.pidFile != "" {
		remove, err := service.WritePIDFile(a.pidFile)
		if err != nil {
			a.failed = config.Invalidf("%w", err)
			a.stop(err)
			return
		}
		a.remove = remove
	}
	a.notify(service.Ready)
	a.notifyStatus(phase)
}

// notifyStatus sends the phase and the number of ready nodes to the service manager, if
// either has changed.
func (a *attendant) notifyStatus(phase string) {
	ready, want := a.set.Ready()
	text := fmt.Sprintf("%s: %d of %s ready", phase, ready, link.Count(want, "node"))
	if phase == draining {
		text = phase // while the set drains, the number of ready nodes falls anyway
	}
	if text != a.lastStatus {
		a.lastStatus = text
		a.notify(service.Status(text))
	}
}

// notifyOperation tells the service manager of the operations of a guardian.
func (a *attendant) notifyOperation() {
	g, ok := a.set.(operated)
	if !ok {
		return
	}
	o := g.Operation()
	if o.Number > a.operation {
		a.operation, a.reloading = o.Number, true
		a.notify(service.Reloading())
	}
	if a.reloading && o.Ended {
		a.reloading = false
		a.notify(service.Ready)
	}
}

func (a *attendant) notify(words ...string) {
	if err := a.notifier.Send(words...); err != nil {
		a.log.Warn().Err(err).Msg("the service manager was not told")
	}
}
