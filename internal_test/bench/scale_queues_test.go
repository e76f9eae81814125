package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// BenchmarkScaleQueues is a set of 8 nodes that serve many queues, each of them used before.
func BenchmarkScaleQueues(b *testing.B) {
	var trials []trial
	for _, n := range []int{1, 10, 100, 1000} {
		of := func(what string) string { return counted(n, "queue") + ": " + what }
		trials = append(trials, trial{name: strconv.Itoa(n), slow: true, rows: []row{
			{work: of("idle pick-up, p50"), unit: "µs", lower: true},
			{work: of("slowest script of a pick-up (an empty claim is among them)"), unit: "µs", lower: true, goal: goal{at: 100}},
			{work: of("slowest script at rest (a mover's look is among them)"), unit: "µs", lower: true, goal: goal{at: 100}},
			{work: of("lateness of 250 delayed tasks/s, p50"), unit: "µs", lower: true, goal: goal{at: 3000}},
			{work: of("lateness of 250 delayed tasks/s, p99"), unit: "µs", lower: true, goal: goal{at: 8000}},
			{work: of("Redis's part of a core meanwhile"), unit: "%", lower: true, goal: goal{at: 15}},
		}, sides: []side{{name: stellar, run: func(b *scope) []float64 { return queuesSet(b, n) }}}})
	}
	few := row{work: "idle pick-up, p50, 1,000 queues of 1 queue", unit: "µs", lower: true, goal: goal{1.2, "1 queue"}}
	trials = append(trials, trial{name: "1000 of 1", rows: []row{few}, sides: []side{
		{name: stellar, run: func(b *scope) []float64 { return queuesPickup(b, 1000) }},
		{name: "1 queue", run: func(b *scope) []float64 { return queuesPickup(b, 1) }},
	}})
	run(b, "Scale: queues", trials...)
}

// queuesOn starts a set that serves n queues and returns the configuration of its Redis.
func queuesOn(b *scope, n int, f func(payload json.RawMessage)) (*supervisor.Set, link.Config) {
	b.Helper()
	cfg := redistest.Start(b).Config()
	useQueues(b, cfg, n)
	return startSet(b, supervisor.Config{Workers: workers, Queues: queueNames(n), Redis: cfg}, f), cfg
}

// toQueues enqueues the ith task from a node in its turn to a queue in its turn.
func toQueues(set *supervisor.Set, n int) func(i int) error {
	nodes := set.Nodes()
	return func(i int) error {
		o := tasks.Options{Queue: "q" + strconv.Itoa(i*7%n)}
		_, err := nodes[i%len(nodes)].API().Tasks.EnqueueWith(context.Background(), "work", taskPayload, o)
		return err
	}
}

func queuesPickup(b *scope, n int) []float64 {
	b.Helper()
	ran := make(chan time.Time, 1)
	set, _ := queuesOn(b, n, func(json.RawMessage) { ran <- time.Now() })
	return pickup(b, toQueues(set, n), ran)[:1]
}

func queuesSet(b *scope, n int) (figures []float64) {
	b.Helper()
	ran, w := make(chan time.Time, 1), &waits{}
	set, cfg := queuesOn(b, n, func(payload json.RawMessage) {
		if payload[0] == '"' {
			ran <- time.Now()
		} else {
			w.began(payload)
		}
	})
	c := redistest.Client(b, cfg)
	figures = pickup(b, toQueues(set, n), ran)[:1]
	atPickup := slowest(b, c, median, func() { pickup(b, toQueues(set, n), ran) })
	atRest := slowest(b, c, median, func() { time.Sleep(lasting(6 * time.Second)) }) // longer than between a mover's looks
	must(b, c.ConfigSet(b.Context(), "slowlog-log-slower-than", "-1").Err())
	before, nodes := usageOf(b, c), set.Nodes()
	sent := paced(b, delayedPerSecond, func(i int) error {
		return enqueueDelayed(nodes[i%len(nodes)].API().Tasks, i*7%n)
	})
	late := w.quantiles(b, sent)
	core := usageOf(b, c).since(before).cpu / micros(time.Since(before.at))
	return append(figures, atPickup, atRest, late[0], late[1], 100*core)
}

// enqueueDelayed enqueues a task that is due after the delay.
func enqueueDelayed(c *tasks.Client, queue int) error {
	due := time.Now().Add(delay)
	_, err := c.EnqueueWith(context.Background(), "work", payloadAt(due), tasks.Options{Queue: "q" + strconv.Itoa(queue), At: due})
	return err
}

// BenchmarkScaleProcesses is delayed tasks that processes of one node each enqueue and run
// together. A Redis that cannot keep up runs few scripts for each task, and late: the
// lateness belongs to the number.
func BenchmarkScaleProcesses(b *testing.B) {
	var trials []trial
	for _, c := range []struct{ processes, queues, perSecond int }{{1, 10, 50}, {4, 10, 50}, {16, 10, 50}, {16, 1000, 250}} {
		name := fmt.Sprintf("%s, %s, %d delayed tasks/s", counted(c.processes, "process"), counted(c.queues, "queue"), c.perSecond)
		trials = append(trials, trial{name: name, slow: true, rows: []row{
			{work: name + ": scripts for each", lower: true, goal: goal{at: 4}},
			{work: name + ": lateness, p50", unit: "µs", lower: true, goal: goal{at: 3000}},
			{work: name + ": lateness, p99", unit: "µs", lower: true, goal: goal{at: 8000}},
		}, sides: []side{{name: stellar, run: func(b *scope) []float64 { return processes(b, c.processes, c.queues, c.perSecond) }}}})
	}
	run(b, "Scale: processes", trials...)
}

// delayedRun is what a child with delayed tasks did.
type delayedRun struct {
	Sent int
	Late []time.Duration
}

func processes(b *scope, n, queues, perSecond int) []float64 {
	b.Helper()
	cfg := redistest.Start(b).Config()
	useQueues(b, cfg, queues)
	var all []*child
	for i := range n {
		all = append(all, startChild(b, job{
			URL: cfg.URL, Nodes: 1, Queues: queues, PerSecond: (perSecond + n - 1) / n, Number: i, Lasting: lasting(pacedFor),
		}))
	}
	for _, c := range all {
		if !c.ready(b) {
			return []float64{none, none, none}
		}
	}
	time.Sleep(lasting(2 * time.Second)) // what a start costs is over
	c := redistest.Client(b, cfg)
	before := usageOf(b, c)
	for _, c := range all {
		c.step()
	}
	inspector := tasks.NewInspector(c, cfg.Keys())
	time.Sleep(lasting(pacedFor) + delay)
	await(b, "for delayed tasks of processes", func() bool {
		time.Sleep(50 * time.Millisecond) // the look costs a script
		counts, err := inspector.Counts(b.Context())
		must(b, err)
		return counts.Delayed+counts.Pending+counts.Active == 0
	})
	used := usageOf(b, c).since(before)
	sent, late := 0, []time.Duration(nil)
	for _, c := range all {
		var r delayedRun
		c.step()
		if !c.results(b, &r) {
			return []float64{none, none, none}
		}
		sent, late = sent+r.Sent, append(late, r.Late...)
	}
	for len(late) < sent {
		late = append(late, patience)
	}
	return append([]float64{used.scripts / float64(sent)}, quantiles(late)...)
}

// childDelayed runs a set of one node and enqueues delayed tasks.
func childDelayed(j job) error {
	w := &waits{}
	app := worker.NewApp()
	app.RegisterTask(tasks.Definition{Name: "work"}, func(_ context.Context, payload json.RawMessage) error {
		w.began(payload)
		return nil
	})
	set, err := supervisor.New(supervisor.Config{
		Workers: 1, Concurrency: slots, Queues: queueNames(j.Queues), Redis: link.Config{URL: j.URL},
	}, app, zerolog.Nop())
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- set.Serve(ctx) }()
	patient, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := set.AwaitReady(patient); err != nil {
		return err
	}
	fmt.Println("ready")
	if err := awaitStep(); err != nil {
		return err
	}
	client, sent := set.Nodes()[0].API().Tasks, 0
	for start := time.Now(); time.Since(start) < j.Lasting; sent++ {
		time.Sleep(time.Until(start.Add(time.Duration(sent) * time.Second / time.Duration(j.PerSecond))))
		if err := enqueueDelayed(client, (j.Number*131+sent*7)%j.Queues); err != nil {
			return err
		}
	}
	if err := awaitStep(); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := json.NewEncoder(os.Stdout).Encode(delayedRun{sent, w.took}); err != nil {
		return err
	}
	stop()
	return <-done
}
