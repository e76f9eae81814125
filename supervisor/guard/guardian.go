package guard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/internal/crashes"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/builtin"
	"github.com/stellarfw/stellar/worker/membership"
	"github.com/stellarfw/stellar/worker/timeline"
)

// MaxProcesses is the most children of a guardian.
const MaxProcesses = 128

// Settler hands over what a dead child's nodes owned. worker.Settler implements it.
type Settler interface {
	Settle(ctx context.Context, launch string, also []membership.Incarnation) (worker.Settled, error)
	// Warm makes the next Settle fast.
	Warm(ctx context.Context) error
	// Record records an event in the cluster's timeline; Serve writes it, until ctx ends.
	Record(e timeline.Event)
	Serve(ctx context.Context) error
}

// Config configures a [Guardian].
type Config struct {
	Processes int // how many children, at least 1
	Workers   int // nodes of each child at the start

	// Path is where the program lies. On Linux the children are the program that runs, also
	// if another one lies there by now.
	Path string
	Args []string // of each child; the first is the name
	// Environment of the children, NAME=VALUE. It must not have secrets.
	Environment []string
	// Secrets are more variables, which reach the children over their pipes.
	Secrets        map[string]string
	Stdout, Stderr *os.File // of the children
	// OwnEnvironment is that of the program which takes the guardian's place in an upgrade. It must not have
	// secrets either.
	OwnEnvironment []string
	// Leave ends, before an upgrade replaces this program, what the process serves beside the children,
	// and returns the files that the new program needs, by names of the caller's. back undoes that
	// if the program could not be replaced.
	Leave func() (files map[string]*os.File, back func())

	// Settler hands over what dead children owned. Nil: it is left until their leases have
	// run out.
	Settler Settler
	// Drain is how long a child may take to end when it is told to. After that it is killed.
	Drain time.Duration
	// ReadyTime is how long a child that is to take the place of another may take until all its
	// nodes run. Default 30 s.
	ReadyTime time.Duration

	// Backoff is the pause before a child is started again that has died. It doubles with
	// each death up to MaxBackoff, and starts over after a life of LongLife. Default
	// 100 ms, 30 s and 10 s.
	Backoff, MaxBackoff, LongLife time.Duration
	// CrashLimit is how many deaths within CrashWindow the guardian survives; one more stops it. Deaths
	// of children that had tasks do not count: such a task is put aside after three.
	// Default twice the number of processes, at least 4, in 30 s; negative for no limit.
	CrashLimit  int
	CrashWindow time.Duration

	// MaxMemory is how many bytes of memory a child may have resident. One that has more is
	// replaced: it drains, and starts again. 0 for no limit.
	MaxMemory int64

	Log zerolog.Logger
}

// ownPath returns the path of the program that runs.
func (c Config) ownPath() string { return cmp.Or(self, c.Path) }

func (c Config) withDefaults() Config {
	c.ReadyTime = cmp.Or(c.ReadyTime, 30*time.Second)
	c.LongLife = cmp.Or(c.LongLife, 10*time.Second)
	c.Backoff, c.MaxBackoff = cmp.Or(c.Backoff, 100*time.Millisecond), cmp.Or(c.MaxBackoff, 30*time.Second)
	c.CrashLimit, c.CrashWindow = cmp.Or(c.CrashLimit, max(2*c.Processes, 4)), cmp.Or(c.CrashWindow, 30*time.Second)
	return c
}

// ExitError is the end of a child for which the guardian ended, as no other life of it would be
// better: its configuration is wrong, or Redis was away at the start.
type ExitError struct {
	Slot int
	Code int    // the child's exit code
	Text string // what is wrong; "" if the log has it
}

func (e *ExitError) Error() string {
	return cmp.Or(e.Text, fmt.Sprintf("process %d ended with code %d", e.Slot, e.Code))
}

// Guardian starts children and looks after them. Make one with [New] and call [Guardian.Serve] once.
type Guardian struct {
	cfg     Config
	log     zerolog.Logger
	starter *starter
	slots   []*slot
	taken   bool // from a guardian before
	// children is the way to the pages of the children. The host of a URL is a slot: see toSlot.
	children http.RoundTripper
	renewing chan struct{} // has capacity 1; taken while a child is replaced because of its memory

	hurry    chan struct{}
	hurryOne sync.Once
	settling sync.WaitGroup
	telling  sync.Mutex // the children of the operation

	operations sync.WaitGroup // under way: one at most
	dismissed  sync.WaitGroup // lives that were to take another's place

	mu        sync.Mutex
	owed      []*life // that have died, and were not yet settled
	began     time.Time
	serving   context.Context //nolint:containedctx // ends when the guardian stops; nil before the start
	stop      context.CancelFunc
	operation builtin.Operation
	by        string // who asked for the operation
	worked    bool   // a child was ready: from now on Redis is waited for
	deaths    crashes.Window
	report    Report
	fatal     error
}

// New returns a guardian that has not started.
func New(cfg Config) *Guardian {
	g := &Guardian{cfg: cfg.withDefaults(), log: cfg.Log, starter: newStarter(), hurry: make(chan struct{})}
	g.children, g.renewing = g.transport(), make(chan struct{}, 1)
	g.deaths.Length = g.cfg.CrashWindow
	for i := range cfg.Processes {
		g.slots = append(g.slots, newSlot(g, i))
	}
	return g
}

// Take returns a guardian that takes the place of the one that has left the inheritance, and goes on with
// its children; without one it is [New].
func Take(cfg Config, i *Inheritance) (*Guardian, error) {
	g := New(cfg)
	if i == nil {
		return g, nil
	}
	g.taken = true
	err := g.take(i)
	return g, err
}

// Serve runs the children until ctx ends and they have drained, or until they have ended because
// all their nodes were stopped by request. The error is nil after a clean stop, or wraps one of
// supervisor.ErrFlapping, supervisor.ErrDrainDeadline and [ExitError].
func (g *Guardian) Serve(ctx context.Context) error {
	if err := adopt(); err != nil {
		g.log.Warn().Err(err).Msg("the programs of a child that dies cannot be found")
	}
	serving, stop := context.WithCancel(ctx)
	defer stop()
	g.mu.Lock()
	g.serving, g.stop = serving, stop
	if !g.taken {
		g.began = time.Now()
	}
	g.mu.Unlock()
	go g.starter.serve()
	defer g.starter.close()
	reaping, reaped := context.WithCancel(context.WithoutCancel(ctx))
	var background sync.WaitGroup
	background.Go(func() { reapAll(reaping) })
	background.Go(func() { g.keepWarm(reaping) })
	if g.cfg.Settler != nil {
		background.Go(func() { _ = g.cfg.Settler.Serve(reaping) })
	}

	// What is settled after the end of a child may wait for Redis, but not for ever.
	settling, settled := context.WithCancel(context.WithoutCancel(ctx))
	defer settled()
	var slots sync.WaitGroup
	if g.taken {
		g.goOn(settling)
	}
	for _, s := range g.slots {
		if s.number >= g.cfg.Processes {
			slots.Go(func() { s.end(settling) })
			continue
		}
		slots.Go(func() { s.serve(serving, settling) })
		if s.number == 0 && len(g.slots) > 1 {
			s.awaitFirst(serving) // what is wrong with the program is said once
		}
	}
	slots.Wait()
	g.mu.Lock() // no operation begins any more
	stop()
	g.mu.Unlock()
	g.operations.Wait()
	g.dismissed.Wait()
	enough := time.AfterFunc(lastSettling, settled)
	g.settling.Wait()
	enough.Stop()
	reaped()
	background.Wait()
	return g.finish()
}

// lastSettling is how long a guardian whose children have all ended still tries to hand over what
// they owned. After that their leases run out.
const lastSettling = 5 * time.Second

// reapInterval is how often processes are reaped that have lost their parents below the guardian.
const reapInterval = 5 * time.Second

func reapAll(ctx context.Context) {
	var dead map[int]bool
	for link.Sleep(ctx, reapInterval) == nil {
		dead = reapOrphans(dead)
	}
}

// warmInterval is how often the guardian makes sure that it can settle fast.
const warmInterval = 10 * time.Second

func (g *Guardian) keepWarm(ctx context.Context) {
	for pause := time.Second; g.cfg.Settler != nil && link.Sleep(ctx, pause) == nil; pause = warmInterval {
		warming, cancel := context.WithTimeout(ctx, warmInterval)
		if err := g.cfg.Settler.Warm(warming); err != nil {
			g.log.Debug().Err(err).Msg("Redis does not answer the guardian")
		}
		cancel()
	}
}

// finish completes the report and returns the error of Serve.
func (g *Guardian) finish() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.report.Uptime = time.Since(g.began)
	err := g.fatal
	if len(g.report.Running) > 0 || len(g.report.Unsettled) > 0 {
		late := append(slices.Clone(g.report.Running), g.report.Unsettled...)
		err = errors.Join(err, fmt.Errorf("%w: %s", supervisor.ErrDrainDeadline, strings.Join(late, ", ")))
	}
	return err
}

// giveUp stops all children for the first error of which it is told.
func (g *Guardian) giveUp(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fatal == nil {
		g.fatal = err
	}
	g.stop()
}

// late notes that a child did not end in time, or not cleanly, when it was told to.
func (g *Guardian) late(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fatal == nil {
		g.fatal = err
	}
}

// died records the death of a child and reports whether the children are flapping. A death that is explained by
// the tasks which the child had does not count for that.
func (g *Guardian) died(slot int, how string, explained bool) bool {
	g.mu.Lock()
	g.report.Deaths++
	g.mu.Unlock()
	return !explained && g.failed(slot, how)
}

// failed records that a child could not go on, and reports whether the children are flapping; then it stops
// all.
func (g *Guardian) failed(slot int, how string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.deaths.Add(fmt.Sprintf("process %d", slot), how, g.cfg.CrashLimit) {
		return false
	}
	if g.fatal == nil {
		g.record(timeline.Event{Kind: timeline.Flapping, Text: link.Count(g.deaths.Len(), "death") + " of processes: the guardian ends"})
		g.fatal = fmt.Errorf("%w: %s of processes in %s: %s", supervisor.ErrFlapping, link.Count(g.deaths.Len(), "death"),
			g.cfg.CrashWindow, &g.deaths)
		g.stop()
	}
	return true
}

// record records an event in the timeline, if the guardian has one.
func (g *Guardian) record(e timeline.Event) {
	if g.cfg.Settler != nil {
		g.cfg.Settler.Record(e)
	}
}

// Hurry has the children stop within a second.
func (g *Guardian) Hurry() { g.hurryOne.Do(func() { close(g.hurry) }) }

// Report returns the report of the lives that have ended so far.
func (g *Guardian) Report() Report {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.report
}

// Ready returns how many nodes of all children run, and how many should run.
func (g *Guardian) Ready() (ready, want int) {
	s := g.Status()
	return s.Ready, s.Workers
}

// Status sums up what the children have told of their sets.
func (g *Guardian) Status() builtin.SetStatus { return g.sum().Status() }

func (g *Guardian) sum() builtin.SetSum {
	g.mu.Lock()
	began := g.began
	g.mu.Unlock()
	host, _ := os.Hostname()
	sum := builtin.SetSum{
		Process: membership.Process{Host: host, PID: os.Getpid()}, Healthy: true, Redis: true, Quiet: true,
		Uptime: time.Since(began).Milliseconds(),
	}
	for _, s := range g.slots {
		one, retired := s.state()
		if retired {
			continue
		}
		sum.Ready += one.Ready
		sum.Workers += one.Workers
		sum.Leaving += one.Leaving
		sum.Processes++
		sum.Crashes += one.Report.Crashes
		sum.Healthy, sum.Redis, sum.Quiet = sum.Healthy && one.Healthy, sum.Redis && one.Redis, sum.Quiet && one.Quiet
	}
	return sum
}

// Nodes returns nil: the nodes are those of the children.
func (g *Guardian) Nodes() []*worker.Node { return nil }

// AwaitReady waits until all nodes of all children run, or ctx ends.
func (g *Guardian) AwaitReady(ctx context.Context) error {
	for {
		ready, want := g.Ready()
		told := true
		for _, s := range g.slots {
			told = told && s.hasTold()
		}
		if told && ready >= want {
			return nil
		}
		if err := link.Sleep(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("%d of %s ready: %w", ready, link.Count(want, "node"), err)
		}
	}
}
