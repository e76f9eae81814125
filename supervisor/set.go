package supervisor

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"github.com/thejerf/suture/v4"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/supervisor/internal/crashes"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/builtin"
	"github.com/stellarfw/stellar/worker/membership"
	"github.com/stellarfw/stellar/worker/tasks"
	"github.com/stellarfw/stellar/worker/timeline"
)

// Errors of [Set.Serve].
var (
	// ErrRedisUnavailable: Redis did not answer within StartTimeout.
	ErrRedisUnavailable = errors.New("redis is not reachable")
	// ErrFlapping: the nodes crashed more often than CrashLimit within CrashWindow.
	ErrFlapping = errors.New("flapping: the nodes crash again and again")
	// ErrDrainDeadline: some handlers did not return in time, or some nodes were not handed
	// over. [Set.Report] names their tasks and the nodes; other processes take over when the
	// leases have run out.
	ErrDrainDeadline = errors.New("drain deadline exceeded")
)

// Set is the nodes of one process. Make one with [New] and call [Set.Serve] once.
type Set struct {
	cfg  Config
	host *worker.Host
	log  zerolog.Logger

	served   atomic.Bool
	hurry    chan struct{}
	hurryOne sync.Once

	background sync.WaitGroup // operations that were started by api.set.*

	mu        sync.Mutex
	began     time.Time
	serving   context.Context //nolint:containedctx // ends when the set stops; nil before the start
	stop      context.CancelFunc
	nodes     *suture.Supervisor
	slots     []*slot
	made      int // number of slots made since the set began
	crashes   crashes.Window
	history   history
	operation builtin.Operation
	by        string // who asked for the operation
	report    Report
	fatal     error
}

// New returns a set that has not started. Its error reports everything that is wrong with
// the configuration and the app, as far as that can be checked without Redis.
func New(cfg Config, app *worker.App, log zerolog.Logger) (*Set, error) {
	cfg = cfg.withDefaults()
	if app == nil {
		app = worker.NewApp()
	}
	if err := errors.Join(cfg.validate(), app.Err()); err != nil {
		return nil, err
	}
	cfg.Redis = cfg.Redis.Sealed()
	s := &Set{cfg: cfg, log: log, hurry: make(chan struct{}), history: history{}, crashes: crashes.Window{Length: cfg.CrashWindow}}
	var err error
	s.host, err = worker.NewHost(worker.HostConfig{
		Redis: cfg.Redis, App: app, Times: cfg.Times, Cache: cfg.Cache, ZombieLimit: cfg.ZombieLimit, Set: controls{Set: s},
		Observer: cfg.Observer, Program: cfg.Program, Version: cfg.Version, Guarded: cfg.Guarded, Log: log,
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// String names the set in a supervisor's log.
func (s *Set) String() string { return "stellar" }

// Serve runs the set until ctx ends or every node was stopped by api.stop, and returns when
// every node has drained. The error is nil after a clean stop, or wraps one of
// [ErrRedisUnavailable], [ErrFlapping], [ErrDrainDeadline], membership.ErrIDTaken (another
// live node has the exact id of the set) and link.ErrLayout (the namespace's data has a
// layout that the program does not know).
//
// Serve is a suture.Service. It can be called once only: its errors also wrap
// suture.ErrDoNotRestart, so that a supervisor above the set does not start it again, and a
// second call returns an error at once.
func (s *Set) Serve(ctx context.Context) error {
	if s.served.Swap(true) {
		return permanentError{errServed}
	}
	if err := s.serve(ctx); err != nil {
		return permanentError{err}
	}
	return nil
}

var errServed = errors.New("a set is served once: make a new one")

// permanentError is an error after which a supervisor must not start the set again.
type permanentError struct{ error }

func (f permanentError) Unwrap() []error { return []error{f.error, suture.ErrDoNotRestart} }

func (s *Set) serve(ctx context.Context) error {
	began := time.Now()
	if err := s.open(ctx); err != nil {
		return errors.Join(err, s.host.Close(0))
	}
	// The host outlives the nodes: they drain under its heartbeat.
	hosting, stopHost := context.WithCancel(context.WithoutCancel(ctx))
	host := s.supervise("host")
	host.Add(s.host)
	hosted := host.ServeBackground(hosting)

	serving, stop := context.WithCancel(ctx)
	context.AfterFunc(serving, s.host.HoldAnnouncements)
	s.mu.Lock()
	s.began, s.serving, s.stop = began, serving, stop
	s.nodes = s.supervise("nodes")
	for range s.cfg.Workers {
		s.add(worker.StartFirst)
	}
	s.mu.Unlock()
	s.log.Info().Int("workers", s.cfg.Workers).Str("redis", s.cfg.Redis.Address()).
		Str("namespace", s.cfg.Redis.Keys().Namespace()).Msg("set is starting")
	err := s.nodes.Serve(serving)
	if serving.Err() == nil {
		s.log.Error().Err(err).Msg("the supervisor tree ended by itself")
	}
	s.mu.Lock()
	stop()
	s.mu.Unlock()
	s.background.Wait()

	stopHost()
	<-hosted //nolint:errcheck // it is the end of the host's own context
	return errors.Join(s.finish(began), s.host.Close(0))
}

// open waits for Redis, at most for StartTimeout.
func (s *Set) open(ctx context.Context) error {
	opening, cancel := context.WithTimeout(ctx, s.cfg.StartTimeout)
	defer cancel()
	if err := s.host.Open(opening); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !link.IsOutage(err) { // Redis answered, and waiting for it does not help
			return err
		}
		return fmt.Errorf("%w: %w", ErrRedisUnavailable, err)
	}
	return nil
}

// supervise returns a supervisor of the tree. It never pauses after failures, because each
// slot does so by itself: the crashes of a node must not delay the restart of another.
func (s *Set) supervise(name string) *suture.Supervisor {
	return suture.New(name, suture.Spec{
		EventHook:        s.event,
		FailureThreshold: math.Inf(1),
		// The slots bound their own ends; suture must not give up before them.
		Timeout: s.cfg.Drain + 4*s.cfg.Grace + time.Minute,
		// A slot that has ended for good ends its own supervisor, and not the whole tree.
		DontPropagateTermination: true,
	})
}

// add puts one more node under its own supervisor. The caller holds s.mu.
func (s *Set) add(why worker.StartReason) *slot {
	s.made++
	x := newSlot(s.serving, s, s.made, why)
	s.slots = append(s.slots, x)
	own := s.supervise(x.String())
	own.Add(x)
	s.nodes.Add(own)
	return x
}

// event logs the events of suture. The slots log crashes themselves.
func (s *Set) event(e suture.Event) {
	switch e := e.(type) {
	case suture.EventStopTimeout:
		s.log.Error().Str("service", e.ServiceName).Msg("did not stop in time")
	case suture.EventServicePanic:
		s.log.Error().Str("service", e.ServiceName).Str("panic", e.PanicMsg).Str("stack", e.Stacktrace).Msg("panic in the supervisor tree")
	default:
		s.log.Trace().Str("event", e.String()).Msg("supervisor")
	}
}

// crashed records a crash and reports whether the set is flapping; then it stops the set.
func (s *Set) crashed(node string, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report.Crashes++
	limit := s.cfg.CrashLimit
	if limit == 0 {
		limit = max(2*s.staying(), 4)
	}
	if !s.crashes.Add(node, err.Error(), limit) {
		return false
	}
	if s.fatal == nil {
		s.host.Record(timeline.Event{Kind: timeline.Flapping, Text: link.Count(s.crashes.Len(), "crash") + " of nodes: the set ends"})
		s.fatal = fmt.Errorf("%w: %s in %s: %s", ErrFlapping, link.Count(s.crashes.Len(), "crash"), s.cfg.CrashWindow, &s.crashes)
		s.stop()
	}
	return true
}

// giveUp stops the set because of an error that would end every further life too.
func (s *Set) giveUp(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fatal == nil {
		s.fatal = err
	}
	s.stop()
}

// removeSlot removes a slot that has ended for good. The set ends with its last slot if that
// slot's node was stopped by request (stopped), but not if the set was scaled to 0.
func (s *Set) removeSlot(gone *slot, stopped bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slots = slices.DeleteFunc(s.slots, func(x *slot) bool { return x == gone })
	if stopped && s.staying() == 0 {
		s.stop()
	}
}

// Hurry shortens the present or next drain of the nodes to a second.
func (s *Set) Hurry() { s.hurryOne.Do(func() { close(s.hurry) }) }

// Nodes returns the nodes that have an id, in whatever state, sorted by id.
func (s *Set) Nodes() []*worker.Node {
	s.mu.Lock()
	slots := slices.Clone(s.slots)
	s.mu.Unlock()
	var nodes []*worker.Node
	for _, x := range slots {
		if n := x.current(); n != nil && n.ID() != "" {
			nodes = append(nodes, n)
		}
	}
	slices.SortFunc(nodes, func(a, b *worker.Node) int { return membership.CompareIDs(a.ID(), b.ID()) })
	return nodes
}

// Node returns the node with that id, in whatever state, or nil.
func (s *Set) Node(id string) *worker.Node {
	for _, n := range s.Nodes() {
		if n.ID() == id {
			return n
		}
	}
	return nil
}

// Ready returns how many nodes run, and how many should run. While Redis is away no node
// counts as running; quiet nodes do.
func (s *Set) Ready() (ready, want int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.serving == nil {
		return 0, s.cfg.Workers
	}
	reachable := s.host.Reachable()
	for _, x := range s.slots {
		if x.leaving() {
			continue
		}
		want++
		if reachable && x.running() != nil {
			ready++
		}
	}
	return ready, want
}

// AwaitReady waits until every node runs, or ctx ends.
func (s *Set) AwaitReady(ctx context.Context) error {
	for {
		if ready, want := s.Ready(); ready == want && s.opened() {
			return nil
		}
		ready, want := s.Ready()
		pause := 5*time.Millisecond + time.Duration(want)*20*time.Microsecond // looking at a thousand nodes takes a while
		if err := link.Sleep(ctx, pause); err != nil {
			return fmt.Errorf("%d of %s ready: %w", ready, link.Count(want, "node"), err)
		}
	}
}

func (s *Set) opened() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.serving != nil
}

// Pool returns the sockets of the set's connections to Redis.
func (s *Set) Pool() link.Pool {
	p := s.host.Pool()
	for _, n := range s.Nodes() {
		more := n.Pool()
		p.Used, p.Idle, p.Timeouts = p.Used+more.Used, p.Idle+more.Idle, p.Timeouts+more.Timeouts
	}
	return p
}

// Inspector returns an inspector of the namespace's tasks and queues. It works from [Set.Serve] on until
// that has returned.
func (s *Set) Inspector() *tasks.Inspector { return s.host.Inspector() }

// Directory lists the members of the cluster.
func (s *Set) Directory() membership.Directory { return s.host.Directory() }
