package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/guard"
)

// attach makes the process the child of the guardian that has started it, if one has. Then it has the
// secrets of its guardian's environment, and receives the signals that are for its set from the
// guardian.
func attach(p *Process) (*guarded, error) {
	if p.family == nil {
		return nil, nil //nolint:nilnil // there is no guardian
	}
	value, ok := os.LookupEnv(guard.Variable) // not p.Env, which the program may have made narrower
	if !ok {
		return nil, nil //nolint:nilnil // there is no guardian
	}
	at, err := guard.Attach(value)
	if err != nil {
		return nil, err
	}
	child := &guarded{Child: at}
	child.limit.Store(int64(stopLimit))
	_ = os.Unsetenv(guard.Variable) // for the programs that this process starts
	for name, secret := range child.Secrets() {
		if err := os.Setenv(name, secret); err != nil {
			return nil, err
		}
	}
	signals := make(chan os.Signal, 3)
	go child.passSignals(p.Signals, signals)
	p.Signals, p.Orders = signals, nil
	for s := range orders { // these are the guardian's; and the kernel sends HUP when the guardian has died
		signal.Notify(make(chan os.Signal, 1), s)
	}
	return child, nil
}

// guarded is a child process's way to its guardian.
type guarded struct {
	*guard.Child

	env   atomic.Pointer[cluster.Env]
	limit atomic.Int64 // how long the process may go on without a guardian, a time.Duration
}

// stopLimit is how long a child may go on that has lost its guardian before its configuration says
// how long its drain may take.
const stopLimit = time.Minute

// passSignals passes on to the child what ends it: signals of others than the guardian, the guardian's
// words, and the guardian's end, which counts as the first signal, or as the third after the second.
// If the process goes on long after its guardian has ended, whatever it hangs in, it is killed.
func (c *guarded) passSignals(from <-chan os.Signal, to chan<- os.Signal) {
	stops, told := c.Stops(), 0
	for {
		select {
		case s := <-from:
			to <- s
			told++
		case n := <-stops:
			for ; told < n; told++ {
				to <- syscall.SIGTERM
			}
		case <-c.Lost():
			time.AfterFunc(time.Duration(c.limit.Load()), c.killSelf)
			if told != 1 { // otherwise it is draining
				to <- syscall.SIGTERM
			}
			return
		}
	}
}

// boundMemory has the garbage collected early in a child that is replaced when it has more than so many bytes, so
// that only memory which is in use counts. GOMEMLIMIT wins.
func boundMemory(most int64) {
	if _, chosen := os.LookupEnv("GOMEMLIMIT"); most > 0 && !chosen {
		debug.SetMemoryLimit(most / 10 * 9)
	}
}

// serveGuarded runs the set of a child.
func (r *runner) serveGuarded(ctx context.Context, set *supervisor.Set, cfg supervisor.Config, log zerolog.Logger) error {
	if r.child.BeginsQuiet() {
		set.Quiet(true)
	}
	ended := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() { r.child.Tell(ctx, set, ended) })
	all.Go(func() { r.obeyGuardian(ctx, set, ended) })
	all.Go(func() {
		select {
		case <-r.hurry:
			set.Hurry()
		case <-ended:
		}
	})
	r.child.limit.Store(int64(stopTime(cfg.Drain, cfg.Grace)))
	all.Go(func() {
		select {
		case <-r.child.Lost():
			if err := r.child.Why(); err != nil {
				log.Error().Err(err).Msg("the guardian is not understood: stopping")
			} else {
				log.Warn().Msg("the guardian has ended: stopping")
			}
		case <-ended:
		}
	})
	err := set.Serve(ctx)
	close(ended)
	all.Wait()
	report := set.Report()
	r.report.Store(&report)
	if errors.Is(err, supervisor.ErrRedisUnavailable) || errors.Is(err, context.Canceled) {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it was stopped before it began to work
		}
	}
	return r.env.ExplainPassword(err)
}

func (c *guarded) killSelf() {
	if e := c.env.Load(); e != nil {
		e.AbandonData()
	}
	if self, err := os.FindProcess(os.Getpid()); err == nil {
		_ = self.Kill()
	}
}

// obeyGuardian carries out the guardian's orders until ended is closed.
func (r *runner) obeyGuardian(ctx context.Context, set *supervisor.Set, ended <-chan struct{}) {
	var all sync.WaitGroup
	defer all.Wait()
	words := map[string]order{}
	for what, word := range guardianOrders {
		words[word] = what
	}
	for {
		o, ok := r.child.NextOrder(ended)
		if !ok {
			return
		}
		all.Go(func() {
			what, known := words[o.What]
			do := quick(set, what)
			switch {
			case o.What == guard.Scale:
				do = func() error { return set.Resize(o.Workers) }
			case !known:
				do = func() error { return fmt.Errorf("this process does not know the order %q", o.What) }
			case do == nil:
				do = func() error { return slow(ctx, set, what) }
			}
			r.child.Done(ctx, o.Number, do(), set)
		})
	}
}

// leave tells the guardian how this process ends, and returns its exit code. The guardian tells of
// the error.
func (r *runner) leave(ctx context.Context, err error) int {
	r.env.CloseLog()
	e := guard.End{Code: exitCode(err)}
	_, e.Asked = errors.AsType[*interruptedError](context.Cause(ctx))
	if report := r.report.Load(); report != nil {
		e.Report = *report
	}
	if err != nil {
		e.Error = err.Error()
	}
	r.child.End(e)
	return e.Code
}
