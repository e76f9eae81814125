package bench

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// tenants is how many groups, or queues, have tasks.
const tenants = 64

// BenchmarkGroups is a backlog of many tenants: in one queue with a group for each, of which one task runs at a
// time, beside a queue for each with the same bound; and the same backlog in batches.
func BenchmarkGroups(b *testing.B) {
	const queues, plain = "a queue for each", "one by one"
	one := func(f func(b *scope) float64) func(b *scope) []float64 {
		return func(b *scope) []float64 { return []float64{f(b)} }
	}
	run(
		b, "Groups, rates and batches",
		trial{
			name: "groups", rows: []row{{work: "a backlog of 64 tenants, one task of each at a time", unit: "/s"}}, sides: []side{
				{name: stellar, run: one(func(b *scope) float64 { return backlogOf(b, true, nil) })},
				{name: queues, run: one(func(b *scope) float64 { return backlogOf(b, false, nil) })},
			},
		},
		trial{
			name: "batches", rows: []row{{work: "a backlog whose effect is one counter, in batches of 100", unit: "/s"}}, sides: []side{
				{name: stellar, run: one(func(b *scope) float64 {
					return backlogOf(b, false, &tasks.Batch{Max: 100, Wait: 10 * time.Millisecond})
				})},
				{name: plain, run: one(func(b *scope) float64 { return backlogOf(b, false, &tasks.Batch{Max: 1}) })},
			},
		},
		trial{
			name: "rate", rows: []row{
				{work: "starts at 200/s on 4 nodes, how late, median", unit: "ms", lower: true},
				{work: "the same, 99th percentile", unit: "ms", lower: true, goal: goal{at: 10}},
				{work: "starts beyond the bound of any 100 ms", lower: true},
			}, sides: []side{{name: stellar, run: lateStarts}},
		},
	)
}

// backlogOf is how many tasks per second run of a backlog of all tenants.
func backlogOf(b *scope, grouped bool, batch *tasks.Batch) float64 {
	b.Helper()
	ran := &tally{}
	app := worker.NewApp()
	if batch != nil {
		tasks.HandleBatch(app, tasks.Definition{Name: "work"}, *batch, func(ctx context.Context, in []int) error {
			tasks.Tx(ctx).Increment("sum", int64(len(in)))
			ran.n.Add(int64(len(in)))
			return nil
		})
	} else {
		tasks.Handle(app, tasks.Definition{Name: "work"}, func(context.Context, int) error { ran.ran(); return nil })
	}
	cfg := supervisor.Config{Workers: workers, Concurrency: slots, Redis: redistest.Start(b).Config()}
	if batch == nil && !grouped {
		cfg.Queues = nil
		for i := range tenants {
			cfg.Queues = append(cfg.Queues, queueOf(i))
			app.LimitQueue(queueOf(i), tasks.Limits{Concurrency: 1})
		}
	} else if grouped {
		app.LimitQueue(tasks.DefaultQueue, tasks.Limits{PerGroup: 1})
	}
	set := startApp(b, cfg, app)
	client := set.Nodes()[0].API().Tasks
	n := max(1000, sized(40_000))
	requests := make([]tasks.Request, n)
	for i := range requests {
		requests[i] = tasks.Request{Name: "work", Payload: i}
		switch tenant := i % tenants; {
		case grouped:
			requests[i].Options.Group = strconv.Itoa(tenant)
		case batch == nil:
			requests[i].Options.Queue = queueOf(tenant)
		}
	}
	from := time.Now()
	for some := range slices.Chunk(requests, 2000) {
		_, err := client.EnqueueMany(context.Background(), some)
		must(b, err)
	}
	await(b, "for the backlog", func() bool { return ran.n.Load() >= int64(n) })
	return float64(n) / time.Since(from).Seconds()
}

func queueOf(tenant int) string { return "tenant-" + strconv.Itoa(tenant) }

// lateStarts is how late tasks of a backlog start at a rate, and how many start too early.
func lateStarts(b *scope) []float64 {
	b.Helper()
	const rate = 200
	var mu sync.Mutex
	var starts []time.Time
	var over atomic.Bool
	app := worker.NewApp()
	tasks.Handle(app, tasks.Definition{Name: "work"}, func(context.Context, struct{}) error {
		if !over.Load() {
			mu.Lock()
			defer mu.Unlock()
			starts = append(starts, time.Now())
		}
		return nil
	})
	app.LimitQueue(tasks.DefaultQueue, tasks.Limits{Rate: tasks.Rate{Tasks: rate, Per: time.Second, Burst: 1}})
	set := startApp(b, supervisor.Config{Workers: 4, Concurrency: slots, Redis: redistest.Start(b).Config()}, app)
	requests := make([]tasks.Request, 10*rate)
	for i := range requests {
		requests[i] = tasks.Request{Name: "work", Payload: struct{}{}}
	}
	_, err := set.Nodes()[0].API().Tasks.EnqueueMany(context.Background(), requests)
	must(b, err)
	time.Sleep(lasting(3 * time.Second))
	over.Store(true)
	mu.Lock()
	defer mu.Unlock()
	if len(starts) < 10 {
		b.notef("hardly anything has started")
		return []float64{none, none, none}
	}
	slices.SortFunc(starts, time.Time.Compare)
	var late []float64
	beyond := 0
	for i, at := range starts {
		if i > 0 { // without a burst the next token comes so long after the one before was spent
			late = append(late, max(0, float64((at.Sub(starts[i-1])-time.Second/rate).Microseconds())/1000))
		}
		if j := i + 1 + rate/10; j < len(starts) && starts[j].Sub(at) < 95*time.Millisecond { // handlers start a moment after the claim
			beyond++
		}
	}
	slices.Sort(late)
	return []float64{late[len(late)/2], late[len(late)*99/100], float64(beyond)}
}
