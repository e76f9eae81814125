package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/worker/group"
	"github.com/stellarfw/stellar/worker/internal/queue"
	"github.com/stellarfw/stellar/worker/internal/runner"
	"github.com/stellarfw/stellar/worker/membership"
)

// DefaultConcurrency is the default of [NodeConfig].Concurrency.
const DefaultConcurrency = 10

// Defaults of a [NodeConfig].
const (
	DefaultPrefix = "stellar-worker"
	DefaultDrain  = 20 * time.Second
	DefaultGrace  = 3 * time.Second
)

// NodeConfig configures a node. Every zero value has a default.
type NodeConfig struct {
	Prefix string // of the node's id, see [CleanPrefix]; the lowest free number follows. Default [DefaultPrefix]
	ID     string // the exact id, instead of Prefix and a number
	Prefer string // an id with the prefix Prefix, taken if it is free: that of the previous life

	Concurrency int            // tasks at a time; default [DefaultConcurrency]
	Queues      []string       // that the node serves, the most urgent first; default those of the app
	Weights     map[string]int // of the queues, instead of their strict order: each claim draws an order in proportion
	Drain       time.Duration  // how long a stopping node waits for its handlers; default [DefaultDrain]
	Grace       time.Duration  // how long it waits for them after it has cancelled them; default [DefaultGrace]

	// Why the node is started, and when its last life crashed, for the observer. Default [StartFirst], never.
	Why       StartReason
	CrashedAt time.Time

	// Hurry, when set and closed, cuts the drain to a second.
	Hurry <-chan struct{}
}

func (c NodeConfig) withDefaults() NodeConfig {
	c.Prefix = cmp.Or(CleanPrefix(c.Prefix), DefaultPrefix)
	c.Concurrency = cmp.Or(c.Concurrency, DefaultConcurrency)
	c.Drain = cmp.Or(c.Drain, DefaultDrain)
	c.Grace = cmp.Or(c.Grace, DefaultGrace)
	return c
}

// CleanPrefix returns the prefix of nodes' ids without dashes at its end. A dash precedes the
// number in any case, so that "app-" means the same as "app", as in the original.
func CleanPrefix(prefix string) string { return strings.TrimRight(prefix, "-") }

// Reasons for the end of a life that somebody asked for.
var (
	// ErrStop: the node was stopped, such as by api.stop; it is not to be started again.
	ErrStop = errors.New("stopped by request")
	// ErrRestart: the node is to be started again, such as by api.restart.
	ErrRestart = errors.New("restarted by request")
	// ErrInjected is wrapped by the panic of [Node.Crash].
	ErrInjected = errors.New("crash on request")
)

// Node is one life of a worker. Make one with [Host.NewNode] and call
// [Node.Serve] once.
type Node struct {
	host *Host
	cfg  NodeConfig
	log  zerolog.Logger

	lease  *membership.Lease
	conns  *link.Connections
	api    *API
	runner *runner.Runner

	ends        chan error    // requests to end gracefully
	forGood     atomic.Bool   // a request was [ErrStop]
	crashes     chan error    // requests to crash
	aliveChecks chan struct{} // has capacity 1; the heartbeat puts an element in, loop takes it out
	checkedAt   time.Time     // when alive last found aliveChecks empty; only the heartbeat uses it
	began       time.Time
	over        time.Time // when the life ended, before the hand-over

	connected func()        // gives back the node's turn to join and connect
	started   func()        // tells the announcer that the node runs or has ended
	running   chan struct{} // closed when the node runs
	answered  chan struct{} // closed when the calls to the node have been answered

	mu    sync.Mutex
	state membership.State
	ended Ended
}

// Ended sums up a life that has ended.
type Ended struct {
	ID, Incarnation string
	Err             error    // nil after a graceful end
	Started, Done   int64    // handler starts, tasks that are done
	HandedOn        int      // tasks that went back to their queues
	Quarantined     int      // tasks put aside after too many crashes
	Running         []string // ids of the tasks whose handlers have not returned, and "start hook"
	Unsettled       bool     // the hand-over failed: others do it when the lease has run out
}

// NewNode returns a node. Its life begins with [Node.Serve].
func (h *Host) NewNode(cfg NodeConfig) *Node {
	return &Node{
		host: h, cfg: cfg.withDefaults(), log: h.log, began: time.Now(), state: membership.Starting,
		ends: make(chan error, 1), crashes: make(chan error, 1), running: make(chan struct{}), answered: make(chan struct{}),
		aliveChecks: make(chan struct{}, 1),
	}
}

// String names the node in the supervisor's log.
func (n *Node) String() string {
	if id := n.ID(); id != "" {
		return id
	}
	return "node"
}

// ID returns the node's id, "" before the node has joined.
func (n *Node) ID() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ended.ID
}

// State returns the state of the node's life.
func (n *Node) State() membership.State {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.state
}

// Running is closed when the node begins to run.
func (n *Node) Running() <-chan struct{} { return n.running }

// API returns the API that the node's handlers get, and nil unless the node runs or drains.
func (n *Node) API() *API {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.state != membership.Running && n.state != membership.Draining {
		return nil
	}
	return n.api
}

func (n *Node) taskRunner() *runner.Runner {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.runner
}

// Ended returns the summary of the life, after Serve has returned.
func (n *Node) Ended() Ended {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ended
}

// Stop ends the node gracefully. why is [ErrStop] or [ErrRestart]; Serve returns it. A
// Stop with ErrStop after one with ErrRestart still stops the node for good.
func (n *Node) Stop(why error) {
	if errors.Is(why, ErrStop) {
		n.forGood.Store(true)
	}
	select {
	case n.ends <- why:
	default:
	}
}

// Crash makes the node's own loop panic with [ErrInjected] and the reason, for tests,
// demonstrations and drills. The crash does not count against the tasks in hand.
func (n *Node) Crash(reason string) {
	select {
	case n.crashes <- fmt.Errorf("%w: %s", ErrInjected, reason):
	default:
	}
}

// Serve runs the node's life: it joins, works until ctx ends, drains and leaves. It returns
// nil after a graceful end, [ErrStop] or [ErrRestart] after [Node.Stop], and otherwise the
// error that ended the life. When Serve returns, everything that the node owned has been
// handed over, except for the tasks in [Ended].Running, and unless [Ended].Unsettled is
// true.
func (n *Node) Serve(ctx context.Context) error {
	err := n.serve(ctx)
	n.observeEnd(err)
	return err
}

func (n *Node) serve(ctx context.Context) error {
	n.started = n.host.announcer.start()
	defer n.started()
	var err error
	n.connected, err = n.host.starts.take(ctx)
	defer n.connected()
	if err == nil {
		err = n.join(ctx)
	}
	if err != nil {
		if ctx.Err() != nil {
			n.enter(ctx, membership.Stopped)
			return nil // it was stopped while it waited for Redis
		}
		n.enter(ctx, membership.Crashed)
		return err
	}
	base := group.New(n.lease.Context())
	var why error
	base.Go("life", func(context.Context) error {
		var err error
		why, err = n.live(ctx, base)
		return err
	})
	<-base.Context().Done()
	n.over = time.Now()
	n.connected()
	n.started()
	if cause := context.Cause(base.Context()); !errors.Is(cause, context.Canceled) {
		n.enter(ctx, membership.Crashed)
	}
	n.awaitAnswers(context.Cause(base.Context()))
	n.handOver(ctx, context.Cause(base.Context()))
	err = base.Wait()
	n.close()
	err = n.endError(err)
	n.mu.Lock()
	n.ended.Err = err
	n.mu.Unlock()
	if err != nil {
		return err
	}
	n.enter(ctx, membership.Stopped)
	if errors.Is(why, ErrRestart) && n.forGood.Load() {
		return ErrStop
	}
	return why
}

// endError returns the error of the node's end. It is a [membership.ErrLeaseLost] also if the
// task runner found out first, because Redis refused a commit (fenced) or has lost commits
// that it had accepted (rolled back), and if something else failed because of it.
func (n *Node) endError(err error) error {
	if errors.Is(err, queue.ErrFenced) || errors.Is(err, queue.ErrRolledBack) {
		return fmt.Errorf("%w: %w", membership.ErrLeaseLost, err)
	}
	cause := context.Cause(n.lease.Context())
	if !errors.Is(cause, membership.ErrLeaseLost) {
		return err
	}
	if _, panicked := errors.AsType[*group.PanicError](err); panicked {
		return err
	}
	if err == nil || errors.Is(err, membership.ErrLeaseLost) {
		return cause
	}
	return fmt.Errorf("%w: %w", cause, err) // such as a request to Redis that the end of the lease cut off
}

// join waits for Redis and takes an id.
func (n *Node) join(ctx context.Context) error {
	process := n.host.process
	process.Slots = n.cfg.Concurrency
	lease, err := n.host.keeper.Join(ctx, membership.JoinRequest{
		Prefix: n.cfg.Prefix, ID: n.cfg.ID, Prefer: n.cfg.Prefer, Process: process, Alive: n.alive,
	})
	if err != nil {
		return err
	}
	n.lease = lease
	n.log = n.host.log.With().Str("node", lease.Incarnation.ID).Logger()
	n.mu.Lock()
	n.ended.ID, n.ended.Incarnation = lease.Incarnation.ID, lease.Incarnation.String()
	n.state = membership.Joining
	n.mu.Unlock()
	return nil
}

// enter changes the state, and writes Running to Redis as well.
func (n *Node) enter(ctx context.Context, s membership.State) {
	if s == membership.Running {
		n.publish(ctx, s) // first: a caller of State must find the state on Redis too
	}
	n.mu.Lock()
	n.state = s
	n.mu.Unlock()
}

// publish writes the state into the node's member record. After a failure the record keeps
// the old state until the next change.
func (n *Node) publish(ctx context.Context, s membership.State) {
	if err := n.host.directory.SetState(ctx, n.lease.Incarnation, s); err != nil && ctx.Err() == nil {
		n.log.Debug().Err(err).Msg("state not written")
	}
}

// stuckAfter is how long the node's loop may take to answer the heartbeat. After that time the
// heartbeat does not renew the lease any more.
const stuckAfter = 5 * time.Second

// loop answers the heartbeat, so that the lease is renewed, and handles the requests to end
// or to crash: it calls stop when the node has to end.
func (n *Node) loop(ctx context.Context, stop context.CancelCauseFunc) error {
	for {
		select {
		case <-n.aliveChecks:
		case why := <-n.ends:
			stop(why)
		case reason := <-n.crashes:
			panic(reason)
		case <-ctx.Done():
			return nil
		}
	}
}

// alive reports whether the node's loop runs: whether it has taken the element that the
// heartbeat put into aliveChecks the last time, at most stuckAfter ago. The heartbeat calls it for all
// nodes of the process at the same moment, so that an idle node needs no timer that wakes
// the process.
func (n *Node) alive() bool {
	select {
	case n.aliveChecks <- struct{}{}:
		n.checkedAt = time.Now()
		return true
	default:
		return time.Since(n.checkedAt) < stuckAfter
	}
}

// identity returns the node's identity on the bus.
func (n *Node) identity() redisbus.Identity {
	return redisbus.Identity{ID: n.lease.Incarnation.ID, Incarnation: n.lease.Incarnation.String()}
}

var _ rpcregistry.Members = membership.Directory{}
