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
	tasks.Handle(app, tasks.Definition{Name: "sum", Retention: time.Minute}, func(ctx context.Context, in []int) error {
		sum := 0
		for _, n := range in {
			sum += n
		}
		tasks.Tx(ctx).Result(sum)
		return nil
	})
	redis, stopNodes := startNodes(app) // elsewhere, in other processes
	defer stopNodes()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client, err := worker.Connect(ctx, redis, app)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close() //nolint:errcheck // there is nobody to tell

	receipt, err := client.Tasks.Enqueue(ctx, "sum", []int{1, 2, 3})
	if err != nil {
		fmt.Println(err)
		return
	}
	sum, err := client.Tasks.Wait(ctx, receipt.ID)
	fmt.Println(string(sum), err)
	status, err := rpcregistry.Do[worker.Status](ctx, client.RPC, "api.status", nil, rpcregistry.Node("stellar-worker-1"))
	fmt.Println(status.State, err)
	// Output:
	// 6 <nil>
	// running <nil>
}

// startNodes starts two nodes on a Redis of their own.
func startNodes(app *worker.App) (link.Config, func()) {
	server := embedded.New()
	set, err := supervisor.New(supervisor.Config{Workers: 2, Redis: server.Config()}, app, zerolog.Nop())
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { _ = set.Serve(ctx); close(done) }()
	if err := set.AwaitReady(ctx); err != nil {
		panic(err)
	}
	return server.Config(), func() { stop(); <-done; _ = server.Close() }
}
