package bench

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/worker/tasks"
)

// BenchmarkScaleMemory is what tasks of 100 bytes take of Redis's memory.
func BenchmarkScaleMemory(b *testing.B) {
	queued := memoryTrial("bytes of a queued task", goal{at: 220}, 100_000, func(b *scope, cfg link.Config, n int) {
		bulk(b, cfg, n, taskPayload, tasks.Options{})
	}, func(b *scope, cfg link.Config, n int) {
		asynqBulk(b, cfg, n, taskPayload)
	})
	queued.sides = append(queued.sides, side{name: "BullMQ", run: func(b *scope) []float64 {
		n, cfg, rate := sized(100_000), redistest.Start(b).Config(), none
		bytes := bytesEach(b, redistest.Client(b, cfg), n, func() { rate = bullmqOn(b, cfg, "bulk", bullmqArgs{Count: n})[0] })
		if math.IsNaN(rate) {
			bytes = none
		}
		return []float64{bytes}
	}}, side{name: bare, run: func(b *scope) []float64 {
		n, c := sized(100_000), floorClient(b, redistest.Start(b).Config())
		return []float64{bytesEach(b, c, n, func() { floorBulk(b, c, n) })}
	}})
	kept := memoryTrial("bytes of a done task with retention", goal{at: 300}, 50_000, func(b *scope, cfg link.Config, n int) {
		ran := &tally{}
		bulk(b, cfg, n, taskPayload, tasks.Options{Retention: time.Hour})
		set := startSet(b, supervisor.Config{Workers: workers, Redis: cfg}, func(json.RawMessage) { ran.ran() })
		await(b, "for the end of tasks", func() bool {
			counts, err := set.Nodes()[0].API().Inspector.Counts(b.Context())
			must(b, err)
			return counts.Done >= int64(n)
		})
	}, func(b *scope, cfg link.Config, n int) {
		ran := &tally{}
		asynqBulk(b, cfg, n, taskPayload, asynq.Retention(time.Hour))
		startAsynq(b, cfg, workers, asynq.Config{}, func([]byte) { ran.ran() })
		await(b, "for the end of tasks", func() bool { return ran.n.Load() >= int64(n) })
	})
	run(b, "Scale: memory in Redis", queued, kept)
}

// memoryTrial measures what the functions, which store n tasks, add to Redis's memory.
func memoryTrial(work string, g goal, n int, ours, asynqs func(b *scope, cfg link.Config, n int)) trial {
	n = sized(n)
	of := func(store func(b *scope, cfg link.Config, n int)) func(b *scope) []float64 {
		return func(b *scope) []float64 {
			cfg := redistest.Start(b).Config()
			c := redistest.Client(b, cfg)
			return []float64{bytesEach(b, c, n, func() {
				inOwn(b.B, b.table, b.side, func(b *scope) { store(b, cfg, n) }) // without what connections take
			})}
		}
	}
	return trial{name: work, rows: []row{{work: work, unit: "bytes", lower: true, goal: g}}, sides: []side{{name: stellar, run: of(ours)}, {name: "asynq", run: of(asynqs)}}}
}

// BenchmarkRest is what 100 nodes, or servers of a peer, cost while there is nothing to do.
func BenchmarkRest(b *testing.B) {
	const nodes = 100
	run(b, "100 nodes at rest", trial{name: "rest", slow: true, rows: []row{
		{work: "commands of 100 nodes at rest", unit: "/s", lower: true, goal: goal{at: 60}},
		{work: "CPU of 100 nodes at rest", unit: "s/min", lower: true, goal: goal{at: 0.3}},
	}, sides: []side{
		{name: stellar, run: func(b *scope) []float64 {
			cfg := redistest.Start(b).Config()
			startSet(b, supervisor.Config{Workers: nodes, Redis: cfg}, func(json.RawMessage) {})
			return atRest(b, redistest.Client(b, cfg))
		}},
		{name: "asynq", run: func(b *scope) []float64 {
			cfg := redistest.Start(b).Config()
			startAsynq(b, cfg, nodes, asynq.Config{}, func([]byte) {})
			return atRest(b, redistest.Client(b, cfg))
		}},
		bullmqSide("rest", bullmqArgs{
			Workers: nodes, Warm: millis(lasting(8 * time.Second)), MS: millis(lasting(20 * time.Second)),
		}),
	}})
}

// atRest is how many commands per second and how much CPU of this process, in s/min,
// are spent once the cost of the start is over.
func atRest(b *scope, c redis.UniversalClient) []float64 {
	b.Helper()
	time.Sleep(lasting(8 * time.Second))
	commands := infoOf(b, c, "stats", "total_commands_processed")
	began, cpu := time.Now(), cpuTime()
	time.Sleep(lasting(20 * time.Second))
	took := time.Since(began).Seconds()
	cpu, commands = cpuTime()-cpu, infoOf(b, c, "stats", "total_commands_processed")-commands
	return []float64{commands / took, cpu.Seconds() * 60 / took}
}

// bytesEach is what f adds to Redis's memory for each of n tasks.
func bytesEach(b *scope, c redis.UniversalClient, n int, f func()) float64 {
	b.Helper()
	before := infoOf(b, c, "memory", "used_memory")
	f()
	return (infoOf(b, c, "memory", "used_memory") - before) / float64(n)
}
