package bench

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/worker/tasks"
)

// BenchmarkFlow is tasks that are enqueued one by one and run at once, on nodes or servers
// of 10 slots in one process.
func BenchmarkFlow(b *testing.B) {
	var trials []trial
	for _, c := range []struct {
		callers, nodes int
		goal           float64
	}{{1, 8, 1.2}, {8, 8, 2}, {64, 8, 4}, {64, 1, 0}} {
		work := "flow, " + callersAt(c.callers, c.nodes)
		trials = append(trials, trial{
			name: callersAt(c.callers, c.nodes), rows: []row{{work: work, unit: "/s", goal: goal{c.goal, best}}}, sides: flowSides(c.callers, c.nodes),
		})
	}
	run(b, "Flow: enqueue and run at once", append(trials, flowSpread())...)
}

// flowSpread compares 64 nodes with one, too.
func flowSpread() trial {
	const one = "1 node"
	tr := trial{
		name: callersAt(64, 64),
		rows: []row{
			{work: "flow, " + callersAt(64, 64), unit: "/s", goal: goal{4, best}},
			{work: "64 callers at 64 nodes, of the same at 1", unit: "/s", goal: goal{0.9, one}},
		},
	}
	for _, s := range flowSides(64, 64) {
		tr.sides = append(tr.sides, side{name: s.name, run: func(b *scope) []float64 {
			rate := s.run(b)[0]
			if s.name == stellar {
				return []float64{rate, rate}
			}
			return []float64{rate, none}
		}})
	}
	tr.sides = append(tr.sides, side{name: one, run: func(b *scope) []float64 { return []float64{none, flowStellar(b, 64, 1)} }})
	return tr
}

func flowSides(callers, nodes int) []side {
	sides := []side{{name: stellar, run: func(b *scope) []float64 { return []float64{flowStellar(b, callers, nodes)} }}}
	sides = append(sides, asynqSides(func(b *scope, c asynq.Config) []float64 {
		cfg, ran := redistest.Start(b).Config(), &tally{}
		startAsynq(b, cfg, nodes, c, func([]byte) { ran.ran() })
		return []float64{flow(b, callers, asynqEnqueuer(b, cfg), ran)}
	}, asynqSettings...)...)
	return append(sides,
		bullmqSide("flow", bullmqArgs{Callers: callers, Workers: nodes}),
		side{name: bare, run: func(b *scope) []float64 {
			ran := &tally{}
			return []float64{flow(b, callers, floorEnqueuer(b, floorOn(b, ran.ran), callers), ran)}
		}})
}

func flowStellar(b *scope, callers, nodes int) float64 {
	ran := &tally{}
	set := startSet(b, supervisor.Config{Workers: nodes, Redis: redistest.Start(b).Config()}, func(json.RawMessage) { ran.ran() })
	return flow(b, callers, enqueuer(set, tasks.Options{}), ran)
}

// flow is how many tasks run per second, from the first enqueue until all ran, where each
// caller enqueues one task after the other's enqueue has returned.
func flow(b *scope, callers int, enqueue func(caller int) error, ran *tally) float64 {
	b.Helper()
	n, took := flowFor(b, callers, lasting(200*time.Millisecond), enqueue, ran)
	if n > 0 {
		n, took = flowFor(b, callers, lasting(1500*time.Millisecond), enqueue, ran)
	}
	return float64(n) / took.Seconds()
}

// flowFor lets the callers enqueue for d, and returns how many tasks ran and how long
// that took in all.
func flowFor(b *scope, callers int, d time.Duration, enqueue func(caller int) error, ran *tally) (int64, time.Duration) {
	b.Helper()
	before, start := ran.n.Load(), time.Now()
	n, _ := callFor(b, callers, d, enqueue)
	await(b, "for the last task of a flow", func() bool { return ran.n.Load()-before >= n })
	return ran.n.Load() - before, time.Since(start)
}
