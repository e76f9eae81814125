package bench

import (
	"context"
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

// BenchmarkSteps is tasks that take steps, and tasks that store checkpoints with a counter. The
// floor is as many goroutines that store the same bytes with a bare HSET.
func BenchmarkSteps(b *testing.B) {
	var trials []trial
	for _, n := range []int{1, 64} {
		of := "1 task"
		if n > 1 {
			of = strconv.Itoa(n) + " tasks at once"
		}
		for _, kind := range []struct {
			name string
			one  func(ctx context.Context, i int) error
		}{{"steps", oneStep}, {"checkpoints with a counter", oneCheckpoint}} {
			work := kind.name + ", " + of
			trials = append(trials, trial{name: work, rows: []row{{work: work, unit: "/s"}}, sides: []side{
				{name: stellar, run: func(b *scope) []float64 { return []float64{stepsOf(b, n, kind.one)} }},
				{name: bare, run: func(b *scope) []float64 { return []float64{bareSteps(b, n)} }},
			}})
		}
	}
	run(b, "Durable steps", trials...)
}

func oneStep(ctx context.Context, i int) error {
	_, err := tasks.Step(ctx, strconv.Itoa(i), func(context.Context) (int, error) { return i, nil })
	return err
}

func oneCheckpoint(ctx context.Context, i int) error {
	tasks.Tx(ctx).Increment("rows", 1)
	return tasks.Checkpoint(ctx, i)
}

// stepsOf is how many steps per second n tasks at once take, each of which takes as many as a
// task may; another takes its place then.
func stepsOf(b *scope, n int, one func(ctx context.Context, i int) error) float64 {
	b.Helper()
	var steps atomic.Int64
	var over atomic.Bool
	app := worker.NewApp()
	tasks.Handle(app, tasks.Definition{Name: "work"}, func(ctx context.Context, _ struct{}) error {
		for i := range tasks.MaxSteps {
			if over.Load() {
				return nil
			}
			if err := one(ctx, i); err != nil {
				return err
			}
			steps.Add(1)
		}
		tasks.Tx(ctx).Enqueue("work", struct{}{})
		return nil
	})
	set := startApp(b, supervisor.Config{Workers: workers, Concurrency: slots, Redis: redistest.Start(b).Config()}, app)
	for range n {
		_, err := set.Nodes()[0].API().Tasks.Enqueue(context.Background(), "work", struct{}{})
		must(b, err)
	}
	return perSecond(b, &steps, &over)
}

func bareSteps(b *scope, n int) float64 {
	b.Helper()
	var steps atomic.Int64
	var over atomic.Bool
	c := redistest.Client(b, redistest.Start(b).Config())
	var group sync.WaitGroup
	for task := range n {
		group.Go(func() {
			for i := 0; !over.Load(); i++ {
				if err := c.HSet(context.Background(), "steps:"+strconv.Itoa(task), strconv.Itoa(i%tasks.MaxSteps), "1|1790000000000|1").Err(); err != nil {
					return
				}
				steps.Add(1)
			}
		})
	}
	defer group.Wait()
	return perSecond(b, &steps, &over)
}

// perSecond is how many there are per second, a moment after the first until over.
func perSecond(b *scope, n *atomic.Int64, over *atomic.Bool) float64 {
	b.Helper()
	defer over.Store(true)
	await(b, "for the first step", func() bool { return n.Load() > 0 })
	time.Sleep(lasting(300 * time.Millisecond))
	from, start := n.Load(), time.Now()
	time.Sleep(lasting(1500 * time.Millisecond))
	return float64(n.Load()-from) / time.Since(start).Seconds()
}
