package bench

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/worker/tasks"
)

// BenchmarkLatency is the time from an enqueue on an idle queue to the start of the
// handler, and how late delayed tasks start.
func BenchmarkLatency(b *testing.B) {
	run(b, "Latency", pickupTrial(), delayedTrial())
}

func pickupTrial() trial {
	return trial{name: "idle pick-up", rows: []row{
		{work: "enqueue to start, idle, 50 ms apart, p50", unit: "µs", lower: true, goal: goal{at: 600}},
		{work: "enqueue to start, idle, 50 ms apart, p99", unit: "µs", lower: true, goal: goal{at: 1200}},
	}, sides: append(append([]side{{name: stellar, run: func(b *scope) []float64 {
		ran := make(chan time.Time, 1)
		set := startSet(b, supervisor.Config{Workers: workers, Redis: redistest.Start(b).Config()}, func(json.RawMessage) { ran <- time.Now() })
		return pickup(b, enqueuer(set, tasks.Options{}), ran)
	}}}, asynqSides(func(b *scope, c asynq.Config) []float64 {
		cfg, ran := redistest.Start(b).Config(), make(chan time.Time, 1)
		startAsynq(b, cfg, workers, c, func([]byte) { ran <- time.Now() })
		return pickup(b, asynqEnqueuer(b, cfg), ran)
	}, asynqEager)...),
		bullmqSide("pickup", bullmqArgs{Workers: workers, Count: sized(100)}),
		side{name: bare, run: func(b *scope) []float64 {
			ran := make(chan time.Time, 1)
			return pickup(b, floorEnqueuer(b, floorOn(b, func() { ran <- time.Now() }), 1), ran)
		}})}
}

// pickup enqueues one task every 50 ms and measures how long its handler takes to start.
func pickup(b *scope, enqueue func(caller int) error, ran <-chan time.Time) []float64 {
	b.Helper()
	took := make([]time.Duration, sized(100))
	for i := range took {
		time.Sleep(50 * time.Millisecond) // idle again
		start := time.Now()
		must(b, enqueue(i))
		select {
		case at := <-ran:
			took[i] = at.Sub(start)
		case <-time.After(patience):
			b.notef("an idle queue's task did not start for %s", patience)
			return []float64{none, none}
		}
	}
	return quantiles(took)
}

// delayedPerSecond is how many delayed tasks are enqueued per second.
const delayedPerSecond = 250

// delay of the delayed tasks.
const delay = time.Second

func delayedTrial() trial {
	return trial{name: "lateness", rows: []row{
		{work: "lateness of 250 delayed tasks/s, p50", unit: "µs", lower: true, goal: goal{at: 3000}},
		{work: "lateness of 250 delayed tasks/s, p99", unit: "µs", lower: true, goal: goal{at: 8000}},
	}, sides: append(append([]side{{name: stellar, run: func(b *scope) []float64 {
		w := &waits{}
		set := startSet(b, supervisor.Config{Workers: workers, Redis: redistest.Start(b).Config()}, func(p json.RawMessage) { w.began(p) })
		nodes := set.Nodes()
		sent := paced(b, delayedPerSecond, func(i int) error {
			due := time.Now().Add(delay)
			_, err := nodes[i%len(nodes)].API().Tasks.EnqueueAt(context.Background(), due, "work", payloadAt(due))
			return err
		})
		return w.quantiles(b, sent)
	}}}, asynqSides(asynqLateness, asynqSettings[0], asynqEager)...),
		bullmqSide("delayed", bullmqArgs{Workers: workers, Rate: delayedPerSecond, MS: millis(lasting(pacedFor))}))}
}

// asynqLateness counts from the whole second: asynq keeps no more of the time at which a
// task is due.
func asynqLateness(b *scope, c asynq.Config) []float64 {
	cfg, w := redistest.Start(b).Config(), &waits{}
	client := asynqClient(b, cfg)
	startAsynq(b, cfg, workers, c, func(p []byte) { w.began(p) })
	sent := paced(b, delayedPerSecond, func(int) error {
		due := time.Now().Add(delay)
		_, err := client.Enqueue(asynq.NewTask("work", payloadAt(due.Truncate(time.Second))), asynq.ProcessAt(due))
		return err
	})
	return w.quantiles(b, sent)
}
