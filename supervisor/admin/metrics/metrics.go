package metrics

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/builtin"
	"github.com/stellarfw/stellar/worker/tasks"
)

// Config configures [New].
type Config struct {
	// Log is told once of each label with too many values.
	Log zerolog.Logger
	// Age is how old the figures of the cluster may be. Default tasks.DefaultSnapshotAge.
	Age time.Duration
}

// Set is the node set whose state is shown; supervisor.Set implements it.
type Set interface {
	Ready() (ready, want int)
	Nodes() []*worker.Node
	Status() builtin.SetStatus
	Pool() link.Pool
	Inspector() *tasks.Inspector
}

// Metrics has the metrics of a process. It is a worker.Observer and a prometheus.Collector. Make one with [New].
type Metrics struct {
	worker.Unobserved

	cfg    Config
	descs  map[string]*prometheus.Desc
	kinds  map[string]Metric
	limits *limits

	byTask               *children[taskCounts] // task, queue
	runs                 *children[histogram]  // task
	waits                *children[histogram]  // queue
	batches              *children[histogram]  // task
	steps, ends, overdue *children[atomic.Uint64]
	enqueues             *histogram
	enqueueBatches       *histogram
	claims, commits      *histogram
	commitBatches        *histogram
	takeOvers            *children[takeOverCounts] // why
	ticks                *children[atomic.Uint64]
	lateness             *children[histogram]

	starts, crashes *children[atomic.Uint64]
	recovery        *histogram
	redisErrors     *children[atomic.Uint64]
	commands        *children[histogram] // op
	calls, methods  *children[histogram] // method, code
	sent, received  atomic.Uint64
	drops, gaps     *children[atomic.Uint64]
	cacheOps        *children[atomic.Uint64]
	cacheTimes      *children[histogram]
	near            *children[atomic.Uint64]
	lockWaits       *histogram
	lockHolds       *histogram
	locksLost       atomic.Uint64
	scrapeErrors    *children[atomic.Uint64]

	mu  sync.Mutex
	ctx context.Context //nolint:containedctx // the scrapes' own have none
	set Set
}

// taskCounts are the counts of one task and queue.
type taskCounts struct {
	run, wait *histogram
	outcomes  [len(outcomes)]atomic.Uint64
	results   [len(results)]atomic.Uint64
}

// outcomes of runs, those of most runs first.
var outcomes = [...]tasks.Outcome{
	tasks.RunDone, tasks.RunFailed, tasks.RunSnoozed, tasks.RunPanicked, tasks.RunTimeout, tasks.RunDeadline, tasks.RunThrottled,
	tasks.RunDiscarded, tasks.RunCancelled, tasks.RunRefused, tasks.RunFenced, tasks.RunReturned, tasks.RunAbandoned,
}

var results = [...]tasks.EnqueueResult{
	tasks.EnqueueAccepted, tasks.EnqueueDuplicate, tasks.EnqueueFull, tasks.EnqueueRefused, tasks.EnqueueUnknown,
}

type takeOverCounts struct {
	times, tasks atomic.Uint64
	took         *histogram
}

// New returns the metrics of a process. Give it to the set as its Observer, and [Metrics.Hook] to its connections.
func New(cfg Config) *Metrics {
	m := &Metrics{cfg: cfg, descs: map[string]*prometheus.Desc{}, kinds: map[string]Metric{}}
	for _, t := range table {
		m.kinds[t.Name], m.descs[t.Name] = t, prometheus.NewDesc(t.Name, t.help(), t.Labels, nil)
	}
	l := &limits{log: cfg.Log, seen: map[string]map[string]struct{}{}}
	m.limits = l
	long := func(key) *histogram { return newHistogram(taskSeconds) }
	short := func(key) *histogram { return newHistogram(shortSeconds) }
	sizes := func(key) *histogram { return newHistogram(batchTasks) }
	counter := func(labels ...string) *children[atomic.Uint64] {
		return newChildren(l, func(key) *atomic.Uint64 { return &atomic.Uint64{} }, labels...)
	}
	m.runs, m.waits, m.batches = newChildren(l, long, byTask), newChildren(l, long, byQueue), newChildren(l, sizes, byTask)
	m.byTask = newChildren(l, func(of key) *taskCounts {
		return &taskCounts{run: m.runs.of(key{of[0]}), wait: m.waits.of(key{of[1]})}
	}, byTask, byQueue)
	m.steps, m.ends, m.overdue = counter(byTask), counter(byQueue), counter(byTask)
	m.enqueues, m.claims, m.commits = short(key{}), short(key{}), short(key{})
	m.enqueueBatches, m.commitBatches = sizes(key{}), sizes(key{})
	m.takeOvers = newChildren(l, func(key) *takeOverCounts { return &takeOverCounts{took: newHistogram(shortSeconds)} })
	m.ticks, m.lateness = counter(byPeriodic), newChildren(l, long, byPeriodic)
	m.starts, m.crashes, m.recovery = counter(), counter(), long(key{})
	m.redisErrors, m.commands = counter("cause"), newChildren(l, short, byOp)
	m.calls, m.methods = newChildren(l, short, byMethod), newChildren(l, short, byMethod)
	m.drops, m.gaps, m.near = counter(), counter(), counter()
	m.cacheOps, m.cacheTimes = counter(), newChildren(l, short)
	m.lockWaits, m.lockHolds = short(key{}), long(key{})
	m.scrapeErrors = counter()
	for _, part := range append(tasks.SnapshotParts(), snapshotPart) {
		m.scrapeErrors.of(key{string(part)}) // so that a rule over it has a value before the first error
	}
	return m
}

// snapshotPart is the label of scrapes that had no snapshot at all.
const snapshotPart tasks.SnapshotPart = "snapshot"

// Watch has the state of a set, and of its cluster, in the metrics until ctx ends.
func (m *Metrics) Watch(ctx context.Context, set Set) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ctx, m.set = ctx, set
}

func (m *Metrics) watched() (context.Context, Set) { //nolint:ireturn // the program's own
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ctx, m.set
}
