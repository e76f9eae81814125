package bench

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/worker/tasks"
)

// BenchmarkScaleNodes is what a task costs Redis while 64 callers, spread over the nodes of
// one process, enqueue tasks that run at once. Commands inside scripts count; so do the
// heartbeats.
func BenchmarkScaleNodes(b *testing.B) {
	var trials []trial
	for _, n := range []int{1, 2, 4, 8, 16, 32, 64} {
		of := func(what string) string { return counted(n, "node") + ": " + what }
		trials = append(trials, trial{name: strconv.Itoa(n), rows: []row{
			{work: of("tasks"), unit: "/s"},
			{work: of("commands for a task"), lower: true, goal: goal{at: 10}},
			{work: of("time in scripts for a task"), unit: "µs", lower: true, goal: goal{at: 30}},
			{work: of("CPU of Redis for a task"), unit: "µs", lower: true},
		}, sides: append([]side{{name: stellar, run: func(b *scope) []float64 {
			cfg, ran := redistest.Start(b).Config(), &tally{}
			set := startSet(b, supervisor.Config{Workers: n, Redis: cfg}, func(json.RawMessage) { ran.ran() })
			return usedBy(b, redistest.Client(b, cfg), enqueuer(set, tasks.Options{}), ran)
		}}}, asynqSides(func(b *scope, c asynq.Config) []float64 {
			cfg, ran := redistest.Start(b).Config(), &tally{}
			startAsynq(b, cfg, n, c, func([]byte) { ran.ran() })
			return usedBy(b, redistest.Client(b, cfg), asynqEnqueuer(b, cfg), ran)
		}, asynqSettings[:2]...)...)})
	}
	run(b, "Scale: nodes", trials...)
}

// usedBy is the rate of a flow of 64 callers, and what each of its tasks costs Redis.
func usedBy(b *scope, c redis.UniversalClient, enqueue func(caller int) error, ran *tally) []float64 {
	b.Helper()
	flowFor(b, 64, lasting(300*time.Millisecond), enqueue, ran)
	before := usageOf(b, c)
	n, took := flowFor(b, 64, lasting(1500*time.Millisecond), enqueue, ran)
	used, each := usageOf(b, c).since(before), float64(n)
	return []float64{each / took.Seconds(), used.commands / each, used.scriptTime / each, used.cpu / each}
}

// BenchmarkScaleStored is the longest script of an operator's look at a queue that holds
// many tasks.
func BenchmarkScaleStored(b *testing.B) {
	var trials []trial
	for _, n := range []int{1000, 100_000, 1_000_000} {
		of := func(what string) string { return counted(n, "stored task") + ": longest script of " + what }
		trials = append(trials, trial{name: strconv.Itoa(n), rows: []row{
			{work: of("limit --bytes"), unit: "µs", lower: true, goal: goal{at: 5000}},
			{work: of("show"), unit: "µs", lower: true, goal: goal{at: 1000}},
			{work: of("explain"), unit: "µs", lower: true, goal: goal{at: 1000}},
		}, sides: []side{{name: stellar, run: func(b *scope) []float64 { return storedLooks(b, sized(n)) }}}})
	}
	run(b, "Scale: stored tasks", trials...)
}

func storedLooks(b *scope, n int) []float64 {
	b.Helper()
	cfg := redistest.Start(b).Config()
	c := redistest.Client(b, cfg)
	bulk(b, cfg, n/2, taskPayload, tasks.Options{})
	const middle = "in-the-middle"
	_, err := taskClient(b, cfg).EnqueueWith(context.Background(), "work", taskPayload, tasks.Options{ID: middle})
	must(b, err)
	bulk(b, cfg, n-n/2, taskPayload, tasks.Options{})
	inspector := tasks.NewInspector(c, cfg.Keys())
	look := func(what string, f func(ctx context.Context) error) float64 {
		return slowest(b, c, slices.Max, func() {
			if err := f(briefly(b)); err != nil {
				b.notef("%s with %d stored tasks: %s", what, n, err)
			}
		})
	}
	limit := func(queue string) func(ctx context.Context) error {
		return func(ctx context.Context) error {
			_, err := inspector.LimitQueue(ctx, queue, &tasks.Limits{Bytes: 1 << 40})
			return err
		}
	}
	show := func(ctx context.Context) error { _, err := inspector.Get(ctx, middle); return err }
	explain := func(ctx context.Context) error { _, err := inspector.Explain(ctx, middle); return err }
	for _, once := range []func(ctx context.Context) error{limit("another"), show, explain} {
		_ = once(briefly(b)) // so that Redis has compiled the scripts; a failure shows below
	}
	return []float64{look("limit --bytes", limit(tasks.DefaultQueue)), look("show", show), look("explain", explain)}
}

// payloadOf is JSON of so many bytes.
func payloadOf(bytes int) json.RawMessage {
	return json.RawMessage(`"` + strings.Repeat("x", bytes-2) + `"`)
}

// BenchmarkScalePayload is enqueue and process by the size of the payload.
func BenchmarkScalePayload(b *testing.B) {
	var trials []trial
	for _, size := range []int{100, 10_000, 100_000, 1_000_000} {
		n := max(10, sized(max(60, min(2000, 20_000_000/size))))
		of := func(what string) string { return "payload of " + counted(size, "byte") + ": " + what }
		enqueue, process := row{work: of("enqueue, p50"), unit: "µs", lower: true}, row{work: of("process"), unit: "/s"}
		if size >= 100_000 {
			enqueue.goal, process.goal = goal{0.83, best}, goal{1.2, best}
		}
		trials = append(trials, trial{name: strconv.Itoa(size), rows: []row{enqueue, process}, sides: []side{
			{name: stellar, run: func(b *scope) []float64 {
				cfg := redistest.Start(b).Config()
				client, payload := taskClient(b, cfg), payloadOf(size)
				p50 := quantiles(repeated(b, n, func(int) error {
					_, err := client.Enqueue(context.Background(), "work", payload)
					return err
				}))[0]
				return []float64{p50, processStellar(b, n, size)[0]}
			}},
			{name: "asynq", run: func(b *scope) []float64 {
				client, payload := asynqClient(b, redistest.Start(b).Config()), payloadOf(size)
				p50 := quantiles(repeated(b, n, func(int) error {
					_, err := client.Enqueue(asynq.NewTask("work", payload))
					return err
				}))[0]
				return []float64{p50, processAsynq(b, n, size)[0]}
			}},
			{name: bare, run: func(b *scope) []float64 { // a SET
				c, payload := floorClient(b, redistest.Start(b).Config()), []byte(payloadOf(size))
				p50 := quantiles(repeated(b, n, func(i int) error {
					return c.Set(context.Background(), "task:"+strconv.Itoa(i), payload, 0).Err()
				}))[0]
				return []float64{p50, none}
			}},
		}})
	}
	run(b, "Scale: payload", trials...)
}

// BenchmarkScaleRest is a set of many nodes that serve many queues, with nothing to do.
func BenchmarkScaleRest(b *testing.B) {
	var trials []trial
	for _, c := range []struct{ nodes, queues int }{{10, 1000}, {100, 1000}, {1000, 1}, {1000, 1000}} {
		work := counted(c.nodes, "node") + " with " + counted(c.queues, "queue") + " at rest"
		trials = append(trials, trial{name: work, slow: true, rows: []row{
			{work: work + ": commands", unit: "/s", lower: true, goal: goal{at: 300}},
			{work: work + ": until all run", unit: "s", lower: true},
		}, sides: []side{{name: stellar, run: func(b *scope) []float64 {
			costs := costsOf(b, sized(c.nodes), sized(c.queues))
			return []float64{costs.Commands, costs.Start}
		}}}})
	}
	run(b, "Scale: nodes at rest", trials...)
}

func queueNames(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = "q" + strconv.Itoa(i)
	}
	return all
}

// useQueues makes queues known: each gets a task, which is deleted.
func useQueues(b *scope, cfg link.Config, n int) {
	b.Helper()
	var requests []tasks.Request
	for _, q := range queueNames(n) {
		requests = append(requests, tasks.Request{Name: "work", Payload: taskPayload, Options: tasks.Options{Queue: q}})
	}
	receipts, err := taskClient(b, cfg).EnqueueMany(context.Background(), requests)
	must(b, err)
	inspector := tasks.NewInspector(redistest.Client(b, cfg), cfg.Keys())
	for _, r := range receipts {
		must(b, inspector.Delete(context.Background(), r.ID))
	}
}
