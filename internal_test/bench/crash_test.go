package bench

import (
	"context"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// crashes is how many nodes are crashed in a round.
const crashes = 200

// begun is one start of a task's handler.
type begun struct {
	id, node string
	at       time.Time
}

// BenchmarkCrash is the time from the crash of a node, which its supervisor sees,
// to the next start of each task that it had in hand: four nodes of ten slots
// with twelve tasks that end with their context.
func BenchmarkCrash(b *testing.B) {
	crashTrial := func(redis string, start func(b *scope) link.Config) trial {
		return trial{name: redis, rows: []row{
			{work: "crash to next start, " + redis + " Redis, p50", unit: "µs", lower: true},
			{work: "crash to next start, " + redis + " Redis, p99", unit: "µs", lower: true, goal: goal{at: 50_000}},
		}, sides: []side{{name: stellar, run: func(b *scope) []float64 { return crashing(b, start(b)) }}}}
	}
	run(b, "Crash", crashTrial("real", func(b *scope) link.Config { return redistest.Start(b).Config() }),
		crashTrial("embedded", func(b *scope) link.Config { return redistest.Embedded(b).Config() }))
}

func crashing(b *scope, cfg link.Config) []float64 {
	b.Helper()
	starts := make(chan begun, 100)
	app := worker.NewApp()
	tasks.Handle(app, tasks.Definition{Name: "long"}, func(ctx context.Context, _ int) error {
		info := tasks.InfoOf(ctx)
		starts <- begun{info.ID, worker.FromContext(ctx).ID(), time.Now()}
		<-ctx.Done()
		return context.Cause(ctx)
	})
	set, err := supervisor.New(supervisor.Config{
		Workers: 4, Redis: cfg, CrashLimit: -1, Backoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond, Drain: time.Second,
	}, app, zerolog.Nop())
	must(b, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- set.Serve(ctx) }()
	must(b, set.AwaitReady(ctx))
	b.Cleanup(func() {
		cancel()
		must(b, <-done)
	})
	on := map[string]string{}
	started := func() begun {
		s := <-starts
		on[s.id] = s.node
		return s
	}
	for i := range 12 {
		_, err := set.Nodes()[i%4].API().Tasks.Enqueue(ctx, "long", i)
		must(b, err)
		started()
	}
	var took []time.Duration
	for range sized(crashes) {
		var victim string
		for _, victim = range on { // any that has some
			break
		}
		has := 0
		for _, node := range on {
			if node == victim {
				has++
			}
		}
		at := time.Now()
		set.Node(victim).Crash("drill")
		for range has {
			took = append(took, started().at.Sub(at))
		}
		must(b, set.AwaitReady(ctx))
	}
	return quantiles(took)
}
