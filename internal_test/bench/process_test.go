package bench

import (
	"encoding/json"
	"testing"

	"github.com/hibiken/asynq"

	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/worker/tasks"
)

// BenchmarkProcess is tasks that do nothing, enqueued before, from the first handler's
// start to the last one's.
func BenchmarkProcess(b *testing.B) {
	run(b, "Process a backlog of tasks that do nothing",
		trial{name: "process", rows: []row{{work: "process no-op tasks", unit: "/s"}}, sides: []side{
			{name: stellar, run: func(b *scope) []float64 { return processStellar(b, sized(400_000), 100) }},
			{name: "asynq", run: func(b *scope) []float64 { return processAsynq(b, sized(30_000), 100) }},
			bullmqSide("process", bullmqArgs{Workers: workers, Count: sized(30_000)}),
			bullmqSide("process", bullmqArgs{Workers: 1, Slots: workers * slots, Auto: true, Count: sized(30_000)}),
			{name: bare, run: func(b *scope) []float64 {
				n, ran, cfg := sized(300_000), &tally{}, redistest.Start(b).Config()
				floorBulk(b, floorClient(b, cfg), n)
				startFloor(b, cfg, ran.ran)
				return []float64{ran.rate(b, n)}
			}},
		}},
		trial{name: "always", rows: []row{{work: "same, appendfsync always", unit: "/s"}}, sides: []side{
			{name: stellar, run: func(b *scope) []float64 {
				return processStellar(b, sized(200_000), 100, "--appendonly", "yes", "--appendfsync", "always")
			}},
			{name: "asynq", run: func(b *scope) []float64 {
				return processAsynq(b, sized(10_000), 100, "--appendonly", "yes", "--appendfsync", "always")
			}},
		}})
}

func processStellar(b *scope, n, bytes int, redis ...string) []float64 {
	b.Helper()
	cfg, ran := redistest.Start(b, redis...).Config(), &tally{}
	bulk(b, cfg, n, payloadOf(bytes), tasks.Options{})
	startSet(b, supervisor.Config{Workers: workers, Redis: cfg}, func(json.RawMessage) { ran.ran() })
	return []float64{ran.rate(b, n)}
}

func processAsynq(b *scope, n, bytes int, redis ...string) []float64 {
	b.Helper()
	cfg, ran := redistest.Start(b, redis...).Config(), &tally{}
	asynqBulk(b, cfg, n, payloadOf(bytes))
	startAsynq(b, cfg, workers, asynq.Config{}, func([]byte) { ran.ran() })
	return []float64{ran.rate(b, n)}
}
