package cli

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/cli/service"
)

// lookAt is how often the service manager is told how many nodes run.
const lookAt = time.Second

const draining = "draining"

// attendant looks after a set on behalf of those who run it as a service: it
// keeps the pidfile and tells the service manager how the set is.
type attendant struct {
	pidFile  string
	set      *supervisor.Set
	log      zerolog.Logger
	notifier service.Notifier
	watchdog time.Duration // how often to say that the set is alive; 0 for never

	told   string        // the last status
	remove func() error  // the pidfile
	failed error         // what the set must not run without
	stop   func(error)   // of the set
	over   chan struct{} // closed when the set has ended
	done   chan struct{}
}

// attend begins to look after the set. The set has to run under the context that
// it returns: it ends when the pidfile cannot be written.
func (p *program) attend(ctx context.Context, set *supervisor.Set, log zerolog.Logger) (*attendant, context.Context, error) {
	a := &attendant{pidFile: p.pidFile, set: set, log: log, remove: func() error { return nil }}
	if p.pidFile != "" {
		if err := service.CheckPIDFile(p.pidFile); err != nil {
			return nil, nil, configf("%w", err)
		}
	}
	socket, _ := p.input.env("NOTIFY_SOCKET")
	usec, _ := p.input.env("WATCHDOG_USEC")
	pid, _ := p.input.env("WATCHDOG_PID")
	var err error
	if a.notifier, err = service.NewNotifier(socket); err != nil {
		return nil, nil, configf("NOTIFY_SOCKET: %w", err)
	}
	every, err := service.Watchdog(usec, pid, os.Getpid())
	if err != nil {
		return nil, nil, configf("%w", err)
	}
	if a.notifier.Active() {
		a.watchdog = every / 2
	}
	ctx, stop := context.WithCancelCause(ctx)
	a.stop, a.over, a.done = stop, make(chan struct{}), make(chan struct{})
	go a.serve(ctx)
	return a, ctx, nil
}

// end says that the set has ended, with that error. The error is that, or why
// the attendant ended it.
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

// serve attends the set until it has ended.
func (a *attendant) serve(ctx context.Context) {
	defer close(a.done)
	ready := make(chan struct{})
	waiting, waited := context.WithCancel(ctx)
	defer func() { waited(); <-ready }()
	go func() {
		defer close(ready)
		_ = a.set.AwaitReady(waiting)
	}()
	look := time.NewTicker(lookAt)
	defer look.Stop()
	alive := make(<-chan time.Time)
	if a.watchdog > 0 {
		ticker := time.NewTicker(a.watchdog)
		defer ticker.Stop()
		alive = ticker.C
	}
	a.status("starting")
	came, stopping := ready, ctx.Done()
	phase := "starting"
	for {
		select {
		case <-came:
			came = nil
			if ctx.Err() == nil {
				phase = "running"
				a.running(phase)
			}
		case <-stopping:
			stopping = nil
			phase = draining
			a.tell(service.Stopping)
			a.status(phase)
		case <-a.over:
			if stopping != nil { // it ended by itself
				a.tell(service.Stopping)
			}
			a.tell(service.Status("stopped"))
			return
		case <-look.C:
			a.status(phase)
		case <-alive:
			a.status(phase) // it asks the set: one that is stuck keeps silence
			a.tell(service.Alive)
		}
	}
}

// running is what there is to do when all nodes run for the first time.
func (a *attendant) running(phase string) {
	if a.pidFile != "" {
		remove, err := service.WritePIDFile(a.pidFile)
		if err != nil {
			a.failed = configf("%w", err)
			a.stop(err)
			return
		}
		a.remove = remove
	}
	a.tell(service.Ready)
	a.status(phase)
}

// status tells how many nodes run, when that has changed.
func (a *attendant) status(phase string) {
	ready, want := a.set.Ready()
	text := fmt.Sprintf("%s: %d of %d nodes ready", phase, ready, want)
	if phase == draining {
		text = phase // its nodes are on their way out
	}
	if text != a.told {
		a.told = text
		a.tell(service.Status(text))
	}
}

func (a *attendant) tell(words ...string) {
	if err := a.notifier.Send(words...); err != nil {
		a.log.Warn().Err(err).Msg("the service manager was not told")
	}
}
