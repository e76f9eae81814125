package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

const taskRounds = 3

// taskPayload is 100 bytes of JSON.
var taskPayload = json.RawMessage(`"` + strings.Repeat("x", 98) + `"`)

// taskSet is a running set of the project whose tasks call f.
type taskSet struct {
	set    *supervisor.Set
	client *tasks.Client
}

func startTasks(b *scope, cfg link.Config, nodes int, f func()) *taskSet {
	b.Helper()
	app := worker.NewApp()
	app.RegisterTask(tasks.Definition{Name: "noop"}, func(context.Context, json.RawMessage) error { f(); return nil })
	set, err := supervisor.New(supervisor.Config{Workers: nodes, Concurrency: 10, Redis: cfg}, app, zerolog.Nop())
	must(b.B, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- set.Serve(ctx) }()
	must(b.B, set.AwaitReady(ctx))
	s := &taskSet{set: set, client: taskClient(b, cfg)}
	b.Cleanup(func() {
		cancel()
		must(b.B, <-done)
	})
	return s
}

func taskClient(b *scope, cfg link.Config) *tasks.Client {
	b.Helper()
	c, err := link.OpenClient(cfg, "bench")
	must(b.B, err)
	client := tasks.NewClient(context.Background(), c, cfg.Keys(), &tasks.Registry{})
	b.Cleanup(func() {
		client.Close()
		_ = c.Close()
	})
	return client
}

func bulk(b *scope, c *tasks.Client, n int) time.Duration {
	b.Helper()
	news := make([]tasks.Request, n)
	for i := range news {
		news[i] = tasks.Request{Name: "noop", Payload: taskPayload}
	}
	start := time.Now()
	_, err := c.EnqueueMany(context.Background(), news)
	must(b.B, err)
	return time.Since(start)
}

// asynqSet is the peer: servers of ten workers each.
type asynqSet struct {
	client *asynq.Client
	start  func(servers int, f func()) (stop func())
}

func asynqOn(b *scope, cfg link.Config) *asynqSet {
	b.Helper()
	opt := asynq.RedisClientOpt{Network: "unix", Addr: strings.TrimPrefix(cfg.URL, "unix://"), PoolSize: 64}
	s := &asynqSet{client: asynq.NewClient(opt)}
	b.Cleanup(func() { _ = s.client.Close() })
	s.start = func(servers int, f func()) func() {
		var all []*asynq.Server
		for range servers {
			srv := asynq.NewServer(opt, asynq.Config{Concurrency: 10, LogLevel: asynq.FatalLevel})
			must(b.B, srv.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error { f(); return nil })))
			all = append(all, srv)
		}
		return func() {
			var wg sync.WaitGroup
			for _, srv := range all {
				wg.Go(srv.Shutdown)
			}
			wg.Wait()
		}
	}
	return s
}

// until counts n calls and returns how long they took from the first on.
type until struct {
	n     int64
	seen  atomic.Int64
	first atomic.Int64
	done  chan time.Time
}

func newUntil(n int) *until { return &until{n: int64(n), done: make(chan time.Time, 1)} }

func (u *until) call() {
	switch u.seen.Add(1) {
	case 1:
		u.first.Store(time.Now().UnixNano())
	case u.n:
		u.done <- time.Now()
	}
}

func (u *until) rate() figures {
	took := (<-u.done).Sub(time.Unix(0, u.first.Load()))
	return figures{rate: float64(u.n) / took.Seconds()}
}

// BenchmarkTasksProcess is tasks that do nothing, enqueued before, from the first
// handler's start to the last one's: 8 nodes of 10 slots beside 8 servers of 10.
// Run it with -benchtime=1x.
func BenchmarkTasksProcess(b *testing.B) {
	var t table
	for range taskRounds {
		t.add("process no-op tasks", "stellar", stellarProcess(b, 500_000))
		t.add("process no-op tasks", "asynq", asynqProcess(b, 51_200))
		t.add("same, appendfsync always", "stellar", stellarProcess(b, 300_000, "--appendonly", "yes", "--appendfsync", "always"))
	}
	t.report(b)
}

func stellarProcess(b *testing.B, n int, redis ...string) (f figures) {
	inOwn(b, func(b *scope) {
		cfg := redistest.Start(b, redis...).Config()
		client := taskClient(b, cfg)
		bulk(b, client, n)
		u := newUntil(n)
		s := startTasks(b, cfg, 8, u.call)
		f = u.rate()
		for { // every effect is committed, not only every handler run
			counts, err := s.set.Nodes()[0].API().Inspector.Counts(context.Background())
			must(b.B, err)
			if counts.Done == int64(n) {
				return
			}
			time.Sleep(time.Millisecond)
		}
	})
	return f
}

func asynqProcess(b *testing.B, n int) (f figures) {
	inOwn(b, func(b *scope) {
		s := asynqOn(b, redistest.Start(b).Config())
		each(b, 64, n, func() error {
			_, err := s.client.Enqueue(asynq.NewTask("noop", taskPayload))
			return err
		})
		u := newUntil(n)
		stop := s.start(8, u.call)
		f = u.rate()
		stop()
	})
	return f
}

// scope is a benchmark whose cleanups run when the scope ends.
type scope struct {
	*testing.B
	cleanups []func()
}

func (s *scope) Cleanup(f func()) { s.cleanups = append(s.cleanups, f) }

// inOwn runs f so that what it started ends with it.
func inOwn(b *testing.B, f func(b *scope)) {
	b.Helper()
	s := &scope{B: b}
	f(s)
	for i := len(s.cleanups) - 1; i >= 0; i-- {
		s.cleanups[i]()
	}
}

// each calls f n times from that many callers and returns how many calls a second that was.
func each(b *scope, callers, n int, f func() error) figures {
	b.Helper()
	var wg sync.WaitGroup
	start := time.Now()
	for range callers {
		wg.Go(func() {
			for range n / callers {
				if err := f(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return figures{rate: float64(n/callers*callers) / time.Since(start).Seconds()}
}

// BenchmarkTasksEnqueue is producers alone. The floor is a bare script that stores
// tasks and does nothing else. Run it with -benchtime=1x.
func BenchmarkTasksEnqueue(b *testing.B) {
	var t table
	for range taskRounds {
		inOwn(b, func(b *scope) {
			cfg := redistest.Start(b).Config()
			client, peer := taskClient(b, cfg), asynqOn(b, cfg)
			ctx := context.Background()
			ours := func() error { _, err := client.Enqueue(ctx, "noop", taskPayload); return err }
			theirs := func() error { _, err := peer.client.Enqueue(asynq.NewTask("noop", taskPayload)); return err }
			for _, callers := range []int{1, 8, 64} {
				work := fmt.Sprintf("enqueue, %d callers", callers)
				t.add(work, "stellar", each(b, callers, 3000*min(callers, 30), ours))
				t.add(work, "asynq", each(b, callers, 3000*min(callers, 10), theirs))
			}
		})
		inOwn(b, func(b *scope) { t.add("enqueue, 64 callers", "floor", floorCallers(b, 64, 90_000)) })
		inOwn(b, func(b *scope) {
			took := bulk(b, taskClient(b, redistest.Start(b).Config()), 500_000)
			t.add("enqueue in bulk", "stellar", figures{rate: 500_000 / took.Seconds()})
		})
		inOwn(b, func(b *scope) { t.add("enqueue in bulk", "floor", floorBulk(b, 500_000)) })
	}
	t.report(b)
}

// BenchmarkTasksLatency is the time from an enqueue on an idle queue to the start
// of the handler, and how late delayed tasks start. Run it with -benchtime=1x.
func BenchmarkTasksLatency(b *testing.B) {
	var t table
	for range taskRounds {
		inOwn(b, func(b *scope) {
			cfg := redistest.Start(b).Config()
			ran := make(chan time.Time, 1)
			s := startTasks(b, cfg, 8, func() { ran <- time.Now() })
			ctx := context.Background()
			took := make([]time.Duration, 1000)
			for i := range took {
				time.Sleep(2 * time.Millisecond) // idle again
				start := time.Now()
				_, err := s.client.Enqueue(ctx, "noop", taskPayload)
				must(b.B, err)
				took[i] = (<-ran).Sub(start)
			}
			t.add("enqueue to start, idle", "stellar", latencies(took))
			late := make([]time.Duration, 200)
			for i := range late {
				due := time.Now().Add(20 * time.Millisecond)
				_, err := s.client.EnqueueAt(ctx, due, "noop", taskPayload)
				must(b.B, err)
				late[i] = (<-ran).Sub(due)
			}
			t.add("lateness of delayed", "stellar", latencies(late))
		})
		inOwn(b, func(b *scope) {
			ran := make(chan time.Time, 1)
			s := asynqOn(b, redistest.Start(b).Config())
			stop := s.start(8, func() { ran <- time.Now() })
			defer stop()
			took := make([]time.Duration, 10)
			for i := range took {
				start := time.Now()
				_, err := s.client.Enqueue(asynq.NewTask("noop", taskPayload))
				must(b.B, err)
				took[i] = (<-ran).Sub(start)
			}
			t.add("enqueue to start, idle", "asynq", latencies(took))
		})
	}
	t.report(b)
}
