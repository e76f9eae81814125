package worker_test

import (
	"context"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/redisbus/embedded"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// A web server enqueues a task, waits for its result and calls a node. It is no
// node itself.
func ExampleConnect() {
	app := worker.NewApp()
	tasks.Handle(app, tasks.Definition{Name: "sum"}, func(ctx context.Context, in []int) error {
		sum := 0
		for _, n := range in {
			sum += n
		}
		tasks.Tx(ctx).Result(sum)
		return nil
	})
	rpcregistry.Handle(app, "api.greet", func(ctx context.Context, name string) (string, error) {
		return worker.FromContext(ctx).ID() + " greets " + name, nil
	})
	redis, stop := startNodes(app) // in other processes, in earnest
	defer stop()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client, err := worker.Connect(ctx, redis, app)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	sum, err := client.Tasks.EnqueueAndWait(ctx, "sum", []int{1, 2, 3}, tasks.Options{})
	fmt.Println(string(sum), err)
	greeting, err := rpcregistry.Do[string](ctx, client.RPC, "api.greet", "you", rpcregistry.Node("stellar-worker-1"))
	fmt.Println(greeting, err)
	// Output:
	// 6 <nil>
	// stellar-worker-1 greets you <nil>
}

// startNodes starts two nodes on a Redis of their own.
func startNodes(app *worker.App) (at link.Config, stop func()) {
	server := embedded.New()
	set, err := supervisor.New(supervisor.Config{Workers: 2, Redis: server.Config()}, app, zerolog.Nop())
	if err != nil {
		panic(err)
	}
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- set.Serve(ctx) }()
	if err := set.AwaitReady(ctx); err != nil {
		panic(err)
	}
	return server.Config(), func() {
		end()
		if err := <-ended; err != nil {
			panic(err)
		}
		_ = server.Close()
	}
}
