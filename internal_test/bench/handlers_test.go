package bench

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/worker/tasks"
)

// workers is how many nodes, or servers of a peer, run tasks where a row does not say.
const workers = 8

// Handlers of mixed length, in ms: most are short. The second mixture keeps so few tasks
// per second in the slots that neither the CPU nor Redis decides how long a task waits.
var (
	mixed     = []int{1, 1, 1, 1, 1, 1, 1, 1, 10, 50}
	mixedSlow = []int{10, 10, 10, 10, 10, 10, 10, 10, 50, 200}
)

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
	few := min(n, 60_000)                      // for the peers, which run fewer
	share := func(b *scope, ran *tally, n int) []float64 { return []float64{ran.during(b, n) / ideal(takes)} }
	return trial{name: strings.TrimPrefix(work, "backlog, "), rows: []row{{work: work, goal: g}}, sides: []side{
		{name: stellar, run: func(b *scope) []float64 {
			cfg, ran := redistest.Start(b).Config(), &tally{}
			bulk(b, cfg, n, taskPayload, tasks.Options{})
			startSet(b, supervisor.Config{Workers: workers, Redis: cfg}, func(json.RawMessage) { nap(takes); ran.ran() })
			return share(b, ran, n)
		}},
		{name: "asynq", run: func(b *scope) []float64 {
			cfg, ran := redistest.Start(b).Config(), &tally{}
			asynqBulk(b, cfg, few, taskPayload)
			startAsynq(b, cfg, workers, asynq.Config{}, func([]byte) { nap(takes); ran.ran() })
			return share(b, ran, few)
		}},
		{name: "BullMQ", run: func(b *scope) []float64 {
			rate := bullmqOn(b, redistest.Start(b).Config(), "handlers", bullmqArgs{Workers: workers, Takes: takes, Count: few})
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
			return share(b, ran, 1<<40)
		}},
	}}
}

// mixedWait is how long tasks wait while half of the slots are free: a task that waits
// behind a long one waits for nothing.
func mixedWait() trial {
	const work = "enqueue to start, handlers of 10, 50 and 200 ms, half of the slots free"
	return trial{name: "wait", rows: []row{
		{work: work + ", p50", unit: "µs", lower: true}, {work: work + ", p99", unit: "µs", lower: true},
	}, sides: append([]side{{name: stellar, run: func(b *scope) []float64 {
		w := &waits{}
		set := startSet(b, supervisor.Config{Workers: workers, Redis: redistest.Start(b).Config()}, func(payload json.RawMessage) {
			w.began(payload)
			nap(mixedSlow)
		})
		nodes := set.Nodes()
		return w.steady(b, ideal(mixedSlow)/2, func(i int, payload json.RawMessage) error {
			_, err := nodes[i%len(nodes)].API().Tasks.Enqueue(b.Context(), "work", payload)
			return err
		})
	}}}, asynqSides(func(b *scope, c asynq.Config) []float64 {
		cfg, w := redistest.Start(b).Config(), &waits{}
		client := asynqClient(b, cfg)
		startAsynq(b, cfg, workers, c, func(payload []byte) {
			w.began(payload)
			nap(mixedSlow)
		})
		return w.steady(b, ideal(mixedSlow)/2, func(_ int, payload json.RawMessage) error {
			_, err := client.Enqueue(asynq.NewTask("work", payload))
			return err
		})
	}, asynqEager)...)}
}
