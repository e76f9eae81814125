package supervisor_test

import (
	"context"
	"fmt"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/redisbus/embedded"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// A program with a set of two nodes. Its context decides when the set ends: here
// that is when the only task is done.
func ExampleSet_Serve() {
	redis := embedded.New() // or link.Config{URL: "redis://…"}
	defer redis.Close()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()

	app := worker.NewApp()
	tasks.Handle(app, tasks.Definition{Name: "greet"}, func(_ context.Context, name string) error {
		fmt.Println("Hello", name)
		stop()
		return nil
	})
	app.OnStart(func(ctx context.Context) error {
		once := tasks.Options{ID: "first"} // each node enqueues it; it is one task
		_, err := worker.FromContext(ctx).Tasks.EnqueueWith(ctx, "greet", "Ada", once)
		return err
	})
	set, err := supervisor.New(supervisor.Config{Workers: 2, Redis: redis.Config()}, app, zerolog.Nop())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(set.Serve(ctx)) // returns when every node has drained
	// Output:
	// Hello Ada
	// <nil>
}

// Everything that is wrong with a configuration and an app is reported at once.
func ExampleNew() {
	app := worker.NewApp()
	app.Periodic("report", tasks.Cron("every day", nil))
	_, err := supervisor.New(supervisor.Config{Workers: -5, Redis: link.Config{URL: "redis://127.0.0.1:6379/0"}}, app, zerolog.Nop())
	fmt.Println(err)
	// Output:
	// workers: -5 is not between 0 and 5000
	// periodic task report: schedule "every day": expected exactly 5 fields, found 2: [every day]: use five fields such as "0 6 * * *", or @daily
}

// A set changes its size while it runs.
func ExampleSet_Scale() {
	redis := embedded.New()
	defer redis.Close()
	set, err := supervisor.New(supervisor.Config{Workers: 1, Redis: redis.Config()}, worker.NewApp(), zerolog.Nop())
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- set.Serve(ctx) }()
	if err := set.AwaitReady(ctx); err != nil {
		fmt.Println(err)
	}

	fmt.Println(set.Scale(ctx, 3)) // returns when all three run
	for _, node := range set.Nodes() {
		fmt.Println(node.ID(), node.State())
	}
	stop()
	fmt.Println(<-served)
	// Output:
	// <nil>
	// stellar-worker-1 running
	// stellar-worker-2 running
	// stellar-worker-3 running
	// <nil>
}
