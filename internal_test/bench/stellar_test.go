package bench

import (
	"context"
	"encoding/json"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// slots is how many tasks a node, or a server of a peer, runs at a time.
const slots = 10

// taskPayload is 100 bytes of JSON.
var taskPayload = json.RawMessage(`"` + strings.Repeat("x", 98) + `"`)

// elsewhere is a queue that gets no tasks: nodes that serve nothing else only enqueue.
var elsewhere = []string{"elsewhere"}

// startSet starts a set whose tasks call f, and returns it when all of its nodes run.
func startSet(b *scope, c supervisor.Config, f func(payload json.RawMessage)) *supervisor.Set {
	b.Helper()
	app := worker.NewApp()
	app.RegisterTask(tasks.Definition{Name: "work"}, func(_ context.Context, payload json.RawMessage) error {
		f(payload)
		return nil
	})
	c.Concurrency = slots
	return startApp(b, c, app)
}

func startApp(b *scope, c supervisor.Config, app *worker.App) *supervisor.Set {
	b.Helper()
	set, err := supervisor.New(c, app, zerolog.Nop())
	must(b, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- set.Serve(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.notef("a set did not end well: %s", err)
		}
	})
	if err := set.AwaitReady(briefly(b)); err != nil {
		ready, want := set.Ready()
		b.notef("%d of %d nodes ran after %s", ready, want, patience)
	}
	return set
}

// enqueuer enqueues one task from each caller's node: the callers are spread over the set's nodes.
func enqueuer(set *supervisor.Set, o tasks.Options) func(caller int) error {
	nodes := set.Nodes()
	return func(caller int) error {
		_, err := nodes[caller%len(nodes)].API().Tasks.EnqueueWith(context.Background(), "work", taskPayload, o)
		return err
	}
}

// taskClient is the client of a program that is no node.
func taskClient(b *scope, cfg link.Config) *tasks.Client {
	b.Helper()
	c, err := link.OpenClient(cfg, "bench")
	must(b, err)
	client := tasks.NewClient(context.Background(), c, cfg.Keys(), &tasks.Registry{})
	b.Cleanup(func() {
		client.Close()
		_ = c.Close()
	})
	return client
}

// bulk enqueues n tasks in one call, and returns how long it took.
func bulk(b *scope, cfg link.Config, n int, payload json.RawMessage, o tasks.Options) time.Duration {
	b.Helper()
	news := make([]tasks.Request, n)
	for i := range news {
		news[i] = tasks.Request{Name: "work", Payload: payload, Options: o}
	}
	client := taskClient(b, cfg)
	start := time.Now()
	_, err := client.EnqueueMany(context.Background(), news)
	must(b, err)
	return time.Since(start)
}

// tally counts runs of handlers.
type tally struct {
	n     atomic.Int64
	first atomic.Int64 // ns
}

func (t *tally) ran() {
	if t.n.Add(1) == 1 {
		t.first.Store(time.Now().UnixNano())
	}
}

// rate waits for n runs, and returns the runs per second from the first to the last.
func (t *tally) rate(b *scope, n int) float64 {
	await(b, "for the end of a backlog", func() bool { return t.n.Load() >= int64(n) })
	return float64(t.n.Load()-1) / time.Since(time.Unix(0, t.first.Load())).Seconds()
}

// during is how many runs there are per second while a backlog lasts, from 300 ms after
// the first run on.
func (t *tally) during(b *scope, backlog int) float64 {
	await(b, "for the first run", func() bool { return t.n.Load() > 0 })
	time.Sleep(lasting(300 * time.Millisecond))
	from, start := t.n.Load(), time.Now()
	if from >= int64(backlog) {
		b.notef("%s: the backlog was too short", b.side)
		return none
	}
	for time.Since(start) < lasting(1500*time.Millisecond) && t.n.Load() < int64(backlog) {
		time.Sleep(time.Millisecond)
	}
	return float64(t.n.Load()-from) / time.Since(start).Seconds()
}
