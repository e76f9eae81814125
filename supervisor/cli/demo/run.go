package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/membership"
	"github.com/stellarfw/stellar/worker/tasks"
)

// Errors of [Run].
var (
	// ErrDifferent reports that the sums of the cluster differ from those of the direct
	// count.
	ErrDifferent = errors.New("the sums differ")
	// ErrNoFiles reports that the tree has no regular text file.
	ErrNoFiles = errors.New("no regular text file found")
)

// Config configures [Run]: the tree to count and the set that counts it.
type Config struct {
	Dir string
	// Steps has one task count all files, with a checkpoint after each, and its own node crashed.
	Steps bool
	// CrashEvery is how often a random node is crashed; 0 for never.
	CrashEvery time.Duration
	// Set configures the set of nodes. Its namespace must be used by nothing else:
	// the demo removes all keys of that namespace at the end.
	Set supervisor.Config
	// Out receives the progress and the report. The progress is a bar if Terminal is
	// true, and lines of text otherwise.
	Out      io.Writer
	Terminal bool
	Log      zerolog.Logger // logger of the nodes
}

// The pauses before a crashed node starts again, the number of files that are enqueued
// at a time, and the interval at which the demo checks its progress.
const (
	backoff    = 20 * time.Millisecond
	maxBackoff = 50 * time.Millisecond
	chunk      = 250
	look       = 100 * time.Millisecond
	retention  = time.Hour
)

// demo is the state of one call of [Run].
type demo struct {
	cfg       Config
	set       *supervisor.Set
	redis     *redis.Client
	tasks     *tasks.Client
	inspector *tasks.Inspector
	shown     *progress

	mu      sync.Mutex
	files   []file
	skipped skipped
	listed  bool
	tree    whereabouts // with Config.Steps
	began   time.Time
	took    time.Duration
}

// Run counts the tree on the set and directly, and compares the sums. It returns nil if
// the sums are equal, [ErrDifferent] if not, and [ErrNoFiles] if there is nothing to
// count.
func Run(ctx context.Context, cfg Config) (err error) {
	if cfg.Dir, err = filepath.Abs(cfg.Dir); err != nil {
		return err
	}
	cfg.Set.Redis = cfg.Set.Redis.Sealed()
	cfg.Set.Backoff, cfg.Set.MaxBackoff, cfg.Set.CrashLimit = backoff, maxBackoff, -1
	d := &demo{cfg: cfg, shown: &progress{out: cfg.Out, terminal: cfg.Terminal}}
	app := worker.NewApp()
	if cfg.Steps {
		d.registerTree(app)
	} else {
		d.register(app)
	}
	if d.set, err = supervisor.New(cfg.Set, app, cfg.Log); err != nil {
		return err
	}
	if d.redis, err = link.OpenClient(cfg.Set.Redis, "stellar:demo"); err != nil {
		return err
	}
	defer d.redis.Close()
	d.tasks = tasks.NewClient(context.WithoutCancel(ctx), d.redis, cfg.Set.Redis.Keys(), &tasks.Registry{})
	d.inspector = tasks.NewInspector(d.redis, cfg.Set.Redis.Keys())
	defer d.tasks.Close() //nolint:contextcheck // it ends a context of its own
	if err = d.count(ctx); errors.Is(err, supervisor.ErrRedisUnavailable) {
		return err
	}
	if err == nil {
		err = d.compare(ctx)
	}
	return errors.Join(err, d.clean(context.WithoutCancel(ctx)))
}

// count runs the set until every file is counted.
func (d *demo) count(ctx context.Context) error {
	serving, stop := context.WithCancel(ctx)
	defer stop()
	working, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	ended := make(chan error, 1)
	go func() {
		err := d.set.Serve(serving)
		giveUp(errEnded)
		ended <- err
	}()
	err := d.work(working)
	d.shown.end()
	if err != nil {
		d.set.Hurry()
	}
	stop()
	if e := <-ended; e != nil && (err == nil || errors.Is(err, errEnded)) {
		err = e
	}
	return err
}

var errEnded = errors.New("the nodes have stopped before all was counted")

// work enqueues all files and crashes nodes until all tasks are done.
func (d *demo) work(ctx context.Context) error {
	if err := d.set.AwaitReady(ctx); err != nil {
		return causeOr(ctx, err)
	}
	d.began = time.Now()
	working, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var group sync.WaitGroup
	enqueue := d.enqueue
	if d.cfg.Steps {
		enqueue = d.enqueueTree
	}
	group.Go(func() {
		if err := enqueue(working); err != nil {
			stop(err)
		}
	})
	group.Go(func() { d.crash(working) })
	err := d.await(working)
	d.took = time.Since(d.began)
	if err != nil {
		err = causeOr(working, err)
	}
	stop(nil)
	group.Wait()
	return err
}

func causeOr(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// enqueue enqueues a task for every file. The nodes start to work before the tree is
// listed completely.
func (d *demo) enqueue(ctx context.Context) error {
	skipped, err := list(ctx, d.cfg.Dir, chunk, func(files []file) error {
		d.mu.Lock()
		first := len(d.files)
		d.files = append(d.files, files...) // the handlers look for them there
		d.mu.Unlock()
		news := make([]tasks.Request, len(files))
		for i := range files {
			news[i] = tasks.Request{Name: TaskName, Payload: Input{first + i}, Options: tasks.Options{Retention: retention}}
		}
		receipts, err := d.tasks.EnqueueMany(ctx, news)
		if err != nil {
			return err
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		for i, r := range receipts {
			d.files[first+i].task = r.ID
		}
		return nil
	})
	if err != nil {
		return err
	}
	return d.allListed(skipped)
}

// allListed notes that no more files come.
func (d *demo) allListed(skipped skipped) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.files) == 0 {
		return fmt.Errorf("%w under %s", ErrNoFiles, d.cfg.Dir)
	}
	d.skipped, d.listed = skipped, true
	return nil
}

// crash crashes a running node every CrashEvery until ctx ends: a random one or, with
// Config.Steps, the one that runs the task, unless that has not got on.
func (d *demo) crash(ctx context.Context) {
	if d.cfg.CrashEvery <= 0 {
		return
	}
	for link.Sleep(ctx, d.cfg.CrashEvery) == nil {
		var running []*worker.Node
		at := d.whereabouts()
		for _, n := range d.set.Nodes() {
			if n.State() == membership.Running && (!d.cfg.Steps || at.node == n.ID() && at.run >= leastProgress) {
				running = append(running, n)
			}
		}
		if len(running) > 0 {
			running[rand.N(len(running))].Crash("demo") //nolint:gosec // any node will do
		}
	}
}

// patience is how long fewer tasks than files may be counted, with none of them left to
// run, before the missing tasks are taken for lost. A task that moves between two states
// is for a moment counted in neither.
const patience = 3 * time.Second

// state returns how far the demo is.
func (d *demo) state(counts tasks.Counts) state {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := state{
		done: counts.Done + counts.Dead, total: len(d.files), listed: d.listed,
		crashes: d.set.Report().Crashes, took: time.Since(d.began),
	}
	if d.cfg.Steps && s.done == 0 { // its only task
		s.done = int64(d.tree.file)
	} else if d.cfg.Steps {
		s.done = int64(s.total)
	}
	return s
}

// await shows the progress until every task is done or dead. It also returns nil if
// tasks are lost, which the comparison of the sums will show.
func (d *demo) await(ctx context.Context) error {
	var empty time.Time
	for {
		counts, err := d.inspector.Counts(ctx)
		if err == nil {
			s := d.state(counts)
			d.shown.show(s)
			left := counts.Pending + counts.Delayed + counts.Active
			if s.listed && left == 0 && s.done >= int64(s.total) {
				return nil
			}
			if !s.listed || left > 0 {
				empty = time.Time{}
			} else if empty.IsZero() {
				empty = time.Now()
			} else if time.Since(empty) > patience {
				return nil // tasks are lost: the sums will differ
			}
		} else if ctx.Err() == nil {
			d.shown.note(cluster.Printable(fmt.Sprintf("waiting for Redis: %v", err)))
		}
		if err := link.Sleep(ctx, look); err != nil {
			return err
		}
	}
}
