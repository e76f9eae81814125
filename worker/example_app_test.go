package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/embedded"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// serve runs one node of an app on a Redis of its own while f uses its API.
func serve(app *worker.App, f func(ctx context.Context, api *worker.API)) {
	server := embedded.New()
	defer server.Close()
	set, err := supervisor.New(supervisor.Config{Workers: 1, Redis: server.Config()}, app, zerolog.Nop())
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- set.Serve(ctx) }()
	if err := set.AwaitReady(ctx); err != nil {
		fmt.Println(err)
	} else {
		f(ctx, set.Nodes()[0].API())
	}
	stop()
	if err := <-served; err != nil {
		fmt.Println(err)
	}
}

// What a program registers: a task, a method, a subscription and a hook. Each
// finds the node that it runs on in its context.
func ExampleApp() {
	app := worker.NewApp()
	app.OnStart(func(ctx context.Context) error {
		fmt.Println("started:", worker.FromContext(ctx).ID())
		return nil
	})
	tasks.Handle(app, tasks.Definition{Name: "price.change"}, func(ctx context.Context, eur float64) error {
		return worker.FromContext(ctx).Cache.Save(ctx, "price", eur, 0)
	})
	rpcregistry.Handle(app, "api.price", func(ctx context.Context, _ struct{}) (json.RawMessage, error) {
		entry, err := worker.FromContext(ctx).Cache.Load(ctx, "price")
		return entry.Value, err
	})
	heard := make(chan string, 1)
	app.Subscribe("priceChanged", func(_ context.Context, m redisbus.Message) { heard <- m.ServerID })

	serve(app, func(ctx context.Context, api *worker.API) {
		_, err := api.Tasks.EnqueueAndWait(ctx, "price.change", 9.5, tasks.Options{})
		fmt.Println("done:", err)
		price, err := rpcregistry.Do[float64](ctx, api.RPC, "api.price", nil, rpcregistry.All())
		fmt.Println("price:", price, err)
		fmt.Println("published:", api.Bus.Publish(ctx, "priceChanged", price))
		fmt.Println("heard from:", <-heard)
	})
	// Output:
	// started: stellar-worker-1
	// done: <nil>
	// price: 9.5 <nil>
	// published: <nil>
	// heard from: stellar-worker-1
}

// Middleware wraps the handlers of all tasks: here it writes down how each run ended.
func ExampleApp_Use() {
	app := worker.NewApp()
	var mu sync.Mutex
	app.Use(func(next tasks.Handler) tasks.Handler {
		return func(ctx context.Context, payload json.RawMessage) error {
			err := next(ctx, payload)
			mu.Lock()
			defer mu.Unlock()
			fmt.Printf("%s: %v\n", payload, err)
			return err
		}
	})
	tasks.Handle(app, tasks.Definition{Name: "check"}, func(_ context.Context, n int) error {
		if n < 0 {
			return tasks.Discard(errors.New("negative"))
		}
		return nil
	})
	serve(app, func(ctx context.Context, api *worker.API) {
		for _, n := range []int{1, -1} {
			_, _ = api.Tasks.EnqueueAndWait(ctx, "check", n, tasks.Options{})
		}
	})
	// Output:
	// 1: <nil>
	// -1: negative
}
