package bench

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/worker/tasks"
)

// workers is how many nodes, or servers of a peer, run tasks where a row does not say.
const workers = 8

// mixed are handlers of mixed length, in ms: most are short.
var mixed = []int{1, 1, 1, 1, 1, 1, 1, 1, 10, 50}

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

// BenchmarkHandlers is handlers that take time. A backlog of them is compared with the
// ideal, which is the slots divided by the time; the floor is as many goroutines that do
// nothing but sleep for that time.
func BenchmarkHandlers(b *testing.B) {
	var trials []trial
	for _, c := range []struct {
		takes int
		goal  float64
	}{{1, 0.8}, {5, 0.85}, {20, 0.95}} {
		trials = append(trials, backlogTrial(fmt.Sprintf("backlog, handlers of %d ms", c.takes), []int{c.takes}, goal{at: c.goal}))
	}
	trials = append(trials, backlogTrial("backlog, handlers of 1, 10 and 50 ms", mixed, goal{at: 0.85}), mixedWait())
	run(b, "Handlers that take time: share of the ideal, and how long a task waits for a free slot", trials...)
}

// nap sleeps for one of the times, in ms.
func nap(takes []int) {
	time.Sleep(time.Duration(takes[rand.IntN(len(takes))]) * time.Millisecond)
}

// ideal is how many handlers per second all slots run.
func ideal(takes []int) float64 {
	sum := 0
	for _, ms := range takes {
		sum += ms
	}
	return workers * slots * 1000 * float64(len(takes)) / float64(sum)
}

func backlogTrial(work string, takes []int, g goal) trial {
	n := max(2000, sized(int(3*ideal(takes)))) // lasts for longer than the measurement
	share := func(b *scope, ran *tally) []float64 { return []float64{ran.during(b, n) / ideal(takes)} }
	return trial{name: strings.TrimPrefix(work, "backlog, "), rows: []row{{work: work, goal: g}}, sides: []side{
		{name: stellar, run: func(b *scope) []float64 {
			cfg, ran := redistest.Start(b).Config(), &tally{}
			bulk(b, cfg, n, taskPayload, tasks.Options{})
			startSet(b, supervisor.Config{Workers: workers, Redis: cfg}, func(json.RawMessage) { nap(takes); ran.ran() })
			return share(b, ran)
		}},
		{name: "asynq", run: func(b *scope) []float64 {
			cfg, ran := redistest.Start(b).Config(), &tally{}
			asynqBulk(b, cfg, n, taskPayload)
			startAsynq(b, cfg, workers, asynq.Config{}, func([]byte) { nap(takes); ran.ran() })
			return share(b, ran)
		}},
		{name: "BullMQ", run: func(b *scope) []float64 {
			rate := bullmqOn(b, redistest.Start(b).Config(), "handlers", bullmqArgs{Workers: workers, Takes: takes, Count: n})
			return []float64{rate[0] / ideal(takes)}
		}},
		{name: bare, run: func(b *scope) []float64 {
			ran, stop := &tally{}, make(chan struct{})
			var all sync.WaitGroup
			defer all.Wait()
			defer close(stop)
			for range workers * slots {
				all.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
							nap(takes)
							ran.ran()
						}
					}
				})
			}
			return []float64{ran.during(b, 1<<40) / ideal(takes)}
		}},
	}}
}

// mixedWait is how long tasks wait while half of the slots are free: a task that waits
// behind a long one waits for nothing.
func mixedWait() trial {
	const work = "enqueue to start, mixed handlers, half of the slots free"
	return trial{name: "wait", rows: []row{
		{work: work + ", p50", unit: "µs", lower: true}, {work: work + ", p99", unit: "µs", lower: true},
	}, sides: append([]side{{name: stellar, run: func(b *scope) []float64 {
		w := &waits{}
		set := startSet(b, supervisor.Config{Workers: workers, Redis: redistest.Start(b).Config()}, func(payload json.RawMessage) {
			w.began(payload)
			nap(mixed)
		})
		nodes := set.Nodes()
		return w.steady(b, ideal(mixed)/2, func(i int, payload json.RawMessage) error {
			_, err := nodes[i%len(nodes)].API().Tasks.Enqueue(b.Context(), "work", payload)
			return err
		})
	}}}, asynqSides(func(b *scope, c asynq.Config) []float64 {
		cfg, w := redistest.Start(b).Config(), &waits{}
		client := asynqClient(b, cfg)
		startAsynq(b, cfg, workers, c, func(payload []byte) {
			w.began(payload)
			nap(mixed)
		})
		return w.steady(b, ideal(mixed)/2, func(_ int, payload json.RawMessage) error {
			_, err := client.Enqueue(asynq.NewTask("work", payload))
			return err
		})
	}, asynqEager)...)}
}

// waits collects how long after the time in its payload each task began.
type waits struct {
	mu   sync.Mutex
	took []time.Duration
}

// payloadAt is a time in ns.
func payloadAt(at time.Time) json.RawMessage {
	text, _ := json.Marshal(at.UnixNano())
	return text
}

func (w *waits) began(payload []byte) {
	now := time.Now()
	var at int64
	if json.Unmarshal(payload, &at) != nil {
		return // a task of another purpose
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.took = append(w.took, now.Sub(time.Unix(0, at)))
}

func (w *waits) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.took)
}

// quantiles are the p50 and p99 in µs; tasks that never began count as long as the
// patience.
func (w *waits) quantiles(b *scope, sent int) []float64 {
	b.Helper()
	await(b, "for tasks that wait", func() bool { return w.count() >= sent })
	w.mu.Lock()
	defer w.mu.Unlock()
	took := slices.Clone(w.took)
	for len(took) < sent {
		took = append(took, patience)
	}
	return quantiles(took)
}

// steady sends so many tasks per second, however long each takes, for a while.
func (w *waits) steady(b *scope, perSecond float64, enqueue func(i int, payload json.RawMessage) error) []float64 {
	b.Helper()
	sent := paced(b, perSecond, func(i int) error { return enqueue(i, payloadAt(time.Now())) })
	return w.quantiles(b, sent)
}

// pacedFor is for how long tasks come at a rate.
const pacedFor = 4 * time.Second

// paced calls f so many times per second for a while, each call on a goroutine of its
// own, and returns how many calls succeeded.
func paced(b *scope, perSecond float64, f func(i int) error) int {
	b.Helper()
	var all sync.WaitGroup
	var sent atomic.Int64
	start, n := time.Now(), 0
	for time.Since(start) < lasting(pacedFor) {
		for due := int(time.Since(start).Seconds() * perSecond); n < due; n++ {
			i := n
			all.Go(func() {
				if !b.failed(f(i)) {
					sent.Add(1)
				}
			})
		}
		time.Sleep(time.Millisecond)
	}
	all.Wait()
	return int(sent.Load())
}
