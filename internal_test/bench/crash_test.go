package bench

import (
	"context"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/redisbus/embedded"
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
// with twelve tasks that end with their context. Run it with -benchtime=1x.
func BenchmarkCrash(b *testing.B) {
	var t table
	for range taskRounds {
		inOwn(b, func(b *scope) { t.add("crash to next start", "real", crashing(b, redistest.Start(b).Config())) })
		inOwn(b, func(b *scope) {
			server := embedded.New()
			b.Cleanup(func() { _ = server.Close() })
			t.add("crash to next start", "embedded", crashing(b, server.Config()))
		})
	}
	t.report(b)
}

func crashing(b *scope, cfg link.Config) figures {
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
	must(b.B, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- set.Serve(ctx) }()
	must(b.B, set.AwaitReady(ctx))
	b.Cleanup(func() {
		cancel()
		must(b.B, <-done)
	})
	on := map[string]string{}
	started := func() begun {
		s := <-starts
		on[s.id] = s.node
		return s
	}
	for i := range 12 {
		_, err := set.Nodes()[i%4].API().Tasks.Enqueue(ctx, "long", i)
		must(b.B, err)
		started()
	}
	var took []time.Duration
	for range crashes {
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
		must(b.B, set.AwaitReady(ctx))
	}
	return latencies(took)
}
