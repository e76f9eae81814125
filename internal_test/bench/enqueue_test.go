package bench

import (
	"encoding/json"
	"testing"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/worker/tasks"
)

// BenchmarkEnqueue is tasks that are enqueued and not run. The floor is a bare script that
// stores tasks and does nothing else.
func BenchmarkEnqueue(b *testing.B) {
	var trials []trial
	for _, c := range []struct {
		callers, nodes int
		goal           float64
	}{{1, 1, 1}, {8, 1, 1.5}, {8, 8, 1.5}, {64, 1, 3}, {64, 8, 3}} {
		work := "enqueue, " + callersAt(c.callers, c.nodes)
		tr := trial{name: callersAt(c.callers, c.nodes), rows: []row{{work: work, unit: "/s", goal: goal{c.goal, best}}}}
		if c.callers == 1 {
			tr.rows = append(tr.rows, row{work: "one enqueue's script, time in Redis", unit: "µs", lower: true, goal: goal{at: 14}})
		}
		tr.sides = []side{
			enqueueSide(tr, stellar, func(b *scope, cfg link.Config) func(int) error {
				return enqueuer(startSet(b, supervisor.Config{Workers: c.nodes, Queues: elsewhere, Redis: cfg}, func(json.RawMessage) {}), tasks.Options{})
			}, c.callers),
			enqueueSide(tr, "asynq", func(b *scope, cfg link.Config) func(int) error { return asynqEnqueuer(b, cfg) }, c.callers),
			bullmqSide("enqueue", bullmqArgs{Callers: c.callers}, tr.rows[1:]...),
			bullmqSide("enqueue", bullmqArgs{Callers: c.callers, Auto: true}, tr.rows[1:]...),
			enqueueSide(tr, bare, func(b *scope, cfg link.Config) func(int) error { return floorEnqueuer(b, cfg, c.callers) }, c.callers),
		}
		trials = append(trials, tr)
	}
	run(b, "Enqueue", append(trials, enqueueBulk())...)
}

// enqueueSide is one that enqueues through the function that start returns.
func enqueueSide(tr trial, name string, start func(b *scope, cfg link.Config) func(caller int) error, callers int) side {
	return side{name: name, run: func(b *scope) []float64 {
		cfg := redistest.Start(b).Config()
		c, enqueue := redistest.Client(b, cfg), start(b, cfg)
		before := usageOf(b, c)
		rate := calls(b, callers, enqueue)
		used := usageOf(b, c).since(before)
		return []float64{rate, used.scriptTime / used.scripts}[:len(tr.rows)]
	}}
}

func enqueueBulk() trial {
	n := sized(500_000)
	rate := func(b *scope, bulk func(b *scope, cfg link.Config) float64) []float64 {
		return []float64{float64(n) / bulk(b, redistest.Start(b).Config())}
	}
	return trial{
		name: "bulk", rows: []row{{work: "enqueue in bulk", unit: "/s", goal: goal{0.85, bare}}},
		sides: []side{
			{name: stellar, run: func(b *scope) []float64 {
				return rate(b, func(b *scope, cfg link.Config) float64 {
					return bulk(b, cfg, n, taskPayload, tasks.Options{}).Seconds()
				})
			}},
			{name: bare, run: func(b *scope) []float64 {
				return rate(b, func(b *scope, cfg link.Config) float64 { return floorBulk(b, floorClient(b, cfg), n).Seconds() })
			}},
			bullmqSide("bulk", bullmqArgs{Count: n / 5}),
		},
	}
}
