package runner

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker/group"
	"github.com/stellarfw/stellar/worker/internal/queue"
	"github.com/stellarfw/stellar/worker/tasks"
)

// Config configures a [Runner].
type Config struct {
	Redis       *redis.Client // nothing else should use it
	Keys        link.Keys
	Incarnation string
	Fence       int64 // the incarnation's epoch
	Registry    *tasks.Registry
	Client      *tasks.Client // for follow-up tasks and progress
	Bus         queue.Bus     // for publishes
	// Cache is where transactions write. Default: the namespace's cache, in the native
	// layout.
	Cache *cache.Cache
	// Concurrency is how many tasks run at a time.
	Concurrency int
	// Queues are the queues to serve. Default: the registry's. The order is strict,
	// the most urgent first, unless there are Weights: then each claim draws the
	// order, in which a queue of weight 6 comes first twice as often as one of
	// weight 3. A queue without a weight has 1.
	Queues  []string
	Weights map[string]int
	// Solo is the process's lane for suspects. Default: a lane of the runner's own.
	Solo *Solo
	// Flow is how fast tasks come to the process. Default: to this runner.
	Flow *Flow
	// Defaults are those of the process's queues. Default: none.
	Defaults *Defaults
	// Turn, when set, waits until the node may end, or ctx ends; done lets the next one.
	Turn func(ctx context.Context) (done func(), err error)
	// Observer, when set, is notified of claims, commits and the ends of runs.
	Observer tasks.Observer
	// Reports logs failures of Redis. Default: the runner's own reports.
	Reports *link.Reports
	// Grace is how long a handler may take to return after its context has ended before a
	// warning says so. Default [DefaultGrace].
	Grace time.Duration
	// Warnings bounds the warnings of the process. Default: the runner's own.
	Warnings *Warnings
	Log      zerolog.Logger
}

// Runner claims tasks for one incarnation and runs their handlers.
type Runner struct {
	node     queue.Node
	session  *queue.Session
	client   *tasks.Client
	slots    int // how many tasks run at a time
	solo     *Solo
	flow     *Flow
	defaults *Defaults
	turn     func(context.Context) (func(), error)
	observer tasks.Observer // nil: none
	keys     link.Keys
	reports  *link.Reports
	grace    time.Duration
	warnings *Warnings
	log      zerolog.Logger
	woken    chan struct{}
	wakes    atomic.Uint64
	hints    link.Pace
	flush    chan struct{} // holds a value when unsent may have outcomes
	quiet    atomic.Bool
	handlers map[string]handled
	batched  []string        // names of tasks that are handled in batches
	over     context.Context //nolint:containedctx // ended: the context of runs that are over

	mu        sync.Mutex
	changed   sync.Cond // signals changes of the fields below
	backlog   backlog
	inHand    map[string]*run // claimed and not ended
	unsent    []*run          // ended and not committed
	sending   int
	claims    claimState
	wakesThen uint64 // wakes when the last claim began
	idling    bool   // Redis wakes the node for the next task
	flooded   bool   // the last claim got all that it asked for
	confined  bool   // see queue.Session.Confined
	tending   tending
	broken    []string // keys of a wrong type that the last claim passed over
	overdue   int      // handlers; see Overdue
	started   atomic.Int64
	done      atomic.Int64
}

// handled is how the node treats tasks of one name.
type handled struct {
	tasks.Definition

	batch  tasks.Batch   // Max is 0 for tasks that are handled alone
	handle tasks.Handler // with its middleware; nil if there is none
}

// New returns a runner that [Runner.Serve] starts.
func New(c Config) *Runner {
	if c.Solo == nil {
		c.Solo = &Solo{}
	}
	if c.Turn == nil {
		c.Turn = func(context.Context) (func(), error) { return func() {}, nil }
	}
	if c.Defaults == nil {
		c.Defaults = &Defaults{}
	}
	if c.Flow == nil {
		c.Flow = &Flow{}
	}
	if len(c.Queues) == 0 {
		c.Queues = c.Registry.Queues()
	}
	if c.Cache == nil {
		c.Cache = cache.New(cache.Config{Client: c.Redis, Keys: c.Keys})
	}
	if c.Reports == nil {
		c.Reports = link.NewReports(c.Log)
	}
	if c.Warnings == nil {
		c.Warnings = &Warnings{}
	}
	r := &Runner{
		node:   queue.Node{Incarnation: c.Incarnation, Fence: c.Fence, Cache: c.Cache, Bus: c.Bus},
		client: c.Client, slots: c.Concurrency, solo: c.Solo, flow: c.Flow, defaults: c.Defaults, turn: c.Turn, observer: c.Observer,
		keys: c.Keys, reports: c.Reports,
		grace: cmp.Or(c.Grace, DefaultGrace), warnings: c.Warnings, log: c.Log,
		woken:    make(chan struct{}, 1),
		flush:    make(chan struct{}, 1),
		inHand:   map[string]*run{},
		handlers: map[string]handled{},
	}
	r.changed.L = &r.mu
	r.backlog.gathered, r.backlog.numbers = map[string]*gathering{}, map[string]uint64{}
	r.backlog.returned = map[string]bool{}
	for _, name := range c.Registry.Names() {
		definition, _ := c.Registry.Definition(name)
		batch, _ := c.Registry.Batch(name)
		r.handlers[name] = handled{definition, batch, c.Registry.Handler(name)}
		if batch.Max > 0 {
			r.batched = append(r.batched, name)
		}
	}
	r.session = queue.NewSession(queue.SessionConfig{
		Redis: c.Redis, Keys: c.Keys, Incarnation: c.Incarnation, Queues: c.Queues, Weights: c.Weights, Cache: c.Cache,
		Reports: c.Reports,
		Handles: func(name string) bool { _, ok := r.handlers[name]; return ok },
	})
	return r
}

// Wake makes an idle runner claim. Call it when the node is named on [link.Keys.Wake].
func (r *Runner) Wake() {
	r.wakes.Add(1)
	select {
	case r.woken <- struct{}{}:
	default:
	}
}

// Hint is [Runner.Wake] for a message, which anybody may have sent.
func (r *Runner) Hint() { r.hints.Do(r.Wake) }

// Cancel ends the context of a task's handler with [tasks.ErrCancelled], if the handler
// runs here. Redis, which holds the request to cancel, decides at the commit whether the
// task is cancelled. A task that is gathered for a batch is left out of it.
func (r *Runner) Cancel(id string) {
	r.mu.Lock()
	x := r.inHand[id]
	gathered := x != nil && r.ungather(x)
	running := x != nil && x.started && !x.returned
	if running {
		x.cancelled = true
	}
	r.mu.Unlock()
	switch {
	case gathered:
		x.End(queue.Back, nil)
		r.ended(x)
	case running && x.first != nil:
		x.first.stop(tasks.ErrCancelled)
	case running:
		x.stop(tasks.ErrCancelled)
	}
}

// Counts returns how many runs have started, and how many were committed as done, since
// the runner was made.
func (r *Runner) Counts() (started, done int64) { return r.started.Load(), r.done.Load() }

// InHand returns how many handlers run.
func (r *Runner) InHand() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.backlog.active
}

// Serve claims and runs tasks until ctx ends, then waits for the running handlers and
// their commits. When work ends, the handlers' contexts end too and Serve returns
// without waiting for the handlers; [Runner.Remains] returns the tasks that are left.
// An error of Serve is a reason to end the incarnation.
func (r *Runner) Serve(ctx, work context.Context) error {
	var over context.CancelFunc
	r.over, over = context.WithCancel(context.WithoutCancel(work))
	over()
	g := group.New(work)
	g.Go("task commits", r.commitAll)
	g.Go("task claims", func(work context.Context) error {
		err := r.claimAll(ctx, work)
		r.endClaims()
		for _, key := range r.broken {
			r.reports.Ended(claiming + key)
		}
		r.giveBack()
		if done, late := r.turn(work); late == nil { // else work has ended
			r.resign(work, err == nil && ctx.Err() != nil && work.Err() == nil && r.holds())
			done()
		}
		if err != nil || work.Err() != nil {
			return err
		}
		if r.drained(work) {
			g.Stop()
		}
		return nil
	})
	err := g.Wait()
	r.mu.Lock()
	left := r.unsent
	r.unsent = nil
	r.mu.Unlock()
	r.observeLost(err, left...)
	return err
}

// holds reports whether tasks are in hand.
func (r *Runner) holds() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.inHand) > 0
}

// resign removes this node from the idle nodes that Redis wakes, and wakes another node in
// case this one was woken and did not claim.
func (r *Runner) resign(ctx context.Context, asked bool) {
	if err := r.session.Resign(ctx, asked); err != nil && ctx.Err() == nil {
		r.log.Debug().Err(err).Msg("not resigned: the movers wake another node")
	}
}

// drained waits until no task is in hand and all outcomes are committed. It returns false
// when work ends first.
func (r *Runner) drained(work context.Context) bool {
	stop := context.AfterFunc(work, r.broadcast)
	defer stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.inHand)+len(r.unsent)+r.sending > 0 && work.Err() == nil {
		r.changed.Wait()
	}
	return work.Err() == nil
}

func (r *Runner) broadcast() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changed.Broadcast()
}

// abandoned notes that the handler of a run returned after its node had ended. The task
// stays in hand, and the take-over of the incarnation returns it to its queue.
func (r *Runner) abandoned(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if x := r.inHand[id]; x != nil {
		x.returned = true
		x.stopAlarm()
	}
	r.changed.Broadcast()
}

// Remains returns the started tasks that are in hand after Serve has returned, for
// [queue.Store.TakeOver]. Set suspicious when the runs may have caused the node's end:
// then all these tasks are suspects.
func (r *Runner) Remains(suspicious bool) queue.Remains {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out queue.Remains
	for id, x := range r.inHand {
		if !x.started {
			continue // not started: the take-over returns it to its queue
		}
		if suspicious {
			out.Suspects = append(out.Suspects, id)
		}
		if !x.returned {
			out.Running = append(out.Running, id)
		}
	}
	slices.Sort(out.Suspects)
	slices.Sort(out.Running)
	return out
}

// Await waits until every handler has returned or ctx ends. It reports whether all have.
func (r *Runner) Await(ctx context.Context) bool {
	stop := context.AfterFunc(ctx, r.broadcast)
	defer stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		running := 0
		for _, x := range r.inHand {
			if x.started && !x.returned {
				running++
			}
		}
		if running == 0 || ctx.Err() != nil {
			return running == 0
		}
		r.changed.Wait()
	}
}

// both returns a context that ends when a or b ends.
func both(a, b context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(a)
	stop := context.AfterFunc(b, func() { cancel(context.Cause(b)) })
	return ctx, func() { stop(); cancel(context.Canceled) }
}
