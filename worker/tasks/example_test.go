package tasks_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/embedded"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// run starts two nodes of an app on a Redis of their own, and returns the API
// of one of them and a function that ends all.
func run(app *worker.App) (context.Context, *worker.API, func()) {
	server := embedded.New()
	set, err := supervisor.New(supervisor.Config{Workers: 2, Redis: server.Config()}, app, zerolog.Nop())
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- set.Serve(ctx) }()
	if err := set.AwaitReady(ctx); err != nil {
		panic(err)
	}
	return ctx, set.Nodes()[0].API(), func() {
		stop()
		if err := <-served; err != nil {
			panic(err)
		}
		_ = server.Close()
	}
}

type greeting struct{ Name string }

// greeter handles "greet", whose results are kept for a minute.
func greeter() *worker.App {
	app := worker.NewApp()
	tasks.Handle(app, tasks.Definition{Name: "greet", Retention: time.Minute}, func(ctx context.Context, in greeting) error {
		tasks.Tx(ctx).Result("Hello " + in.Name)
		return nil
	})
	return app
}

func ExampleClient_Enqueue() {
	ctx, api, stop := run(greeter())
	defer stop()
	receipt, err := api.Tasks.Enqueue(ctx, "greet", greeting{"Ada"}) // its definition has a retention
	fmt.Println(err)
	result, err := api.Tasks.Wait(ctx, receipt.ID)
	fmt.Println(string(result), err)
	// Output:
	// <nil>
	// "Hello Ada" <nil>
}

func ExampleClient_EnqueueAndWait() {
	ctx, api, stop := run(greeter())
	defer stop()
	result, err := api.Tasks.EnqueueAndWait(ctx, "greet", greeting{"Ada"}, tasks.Options{})
	fmt.Println(string(result), err)
	// Output: "Hello Ada" <nil>
}

func ExampleClient_EnqueueIn() {
	ctx, api, stop := run(greeter())
	defer stop()
	receipt, _ := api.Tasks.EnqueueIn(ctx, time.Hour, "greet", greeting{"Ada"})
	task, _ := api.Inspector.Get(ctx, receipt.ID)
	fmt.Println(task.State, task.Due.Sub(task.Enqueued))
	_ = api.Inspector.Reschedule(ctx, receipt.ID, time.Time{}) // now, then
	result, _ := api.Tasks.Wait(ctx, receipt.ID)
	fmt.Println(string(result))
	// Output:
	// delayed 1h0m0s
	// "Hello Ada"
}

func ExampleClient_EnqueueAt() {
	ctx, api, stop := run(greeter())
	defer stop()
	at := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	receipt, _ := api.Tasks.EnqueueAt(ctx, at, "greet", greeting{"everybody"})
	task, _ := api.Inspector.Get(ctx, receipt.ID)
	fmt.Println(task.State, task.Due.UTC())
	_, _ = api.Inspector.Cancel(ctx, receipt.ID, "too far away")
	_, err := api.Tasks.Wait(ctx, receipt.ID)
	fmt.Println(err != nil)
	// Output:
	// delayed 2100-01-01 00:00:00 +0000 UTC
	// true
}

func ExampleClient_EnqueueWith() {
	ctx, api, stop := run(greeter())
	defer stop()
	once := tasks.Options{ID: "order:17"} // the same order twice is one task
	for range 2 {
		receipt, _ := api.Tasks.EnqueueWith(ctx, "greet", greeting{"order 17"}, once)
		fmt.Println(receipt)
	}
	alone := tasks.Options{Unique: "rebuild", In: time.Minute} // while one waits or runs, no second
	first, _ := api.Tasks.EnqueueWith(ctx, "greet", greeting{"index"}, alone)
	second, _ := api.Tasks.EnqueueWith(ctx, "greet", greeting{"index"}, alone)
	fmt.Println(second.Duplicate, second.ID == first.ID)
	// Output:
	// {order:17 false}
	// {order:17 true}
	// true true
}

func ExampleClient_EnqueueMany() {
	ctx, api, stop := run(greeter())
	defer stop()
	var news []tasks.Request
	for i := range 1000 {
		news = append(news, tasks.Request{Name: "greet", Payload: greeting{fmt.Sprint("number ", i)}})
	}
	receipts, err := api.Tasks.EnqueueMany(ctx, news)
	fmt.Println(len(receipts), err)
	result, _ := api.Tasks.Wait(ctx, receipts[999].ID)
	fmt.Println(string(result))
	// Output:
	// 1000 <nil>
	// "Hello number 999"
}

// A task that follows another, and one that follows several.
func ExampleRequest() {
	ctx, api, stop := run(greeter())
	defer stop()
	receipts, _ := api.Tasks.EnqueueMany(ctx, []tasks.Request{
		{Name: "greet", Payload: greeting{"left"}, Options: tasks.Options{ID: "left"}},
		{Name: "greet", Payload: greeting{"right"}, Options: tasks.Options{ID: "right"},
			Then: []tasks.Request{{Name: "greet", Payload: greeting{"after right"}}}},
		{Name: "greet", Payload: greeting{"all"}, Options: tasks.Options{After: []string{"left", "right"}}},
	})
	result, _ := api.Tasks.Wait(ctx, receipts[3].ID)
	fmt.Println(string(result), receipts[2].ID)
	// Output: "Hello all" right.then.1
}

func ExampleTx() {
	app := greeter()
	tasks.Handle(app, tasks.Definition{Name: "welcome", MaxAttempts: 5, Retention: time.Minute}, func(ctx context.Context, in greeting) error {
		tx := tasks.Tx(ctx) // all of it with the completion, exactly once, or nothing
		tx.Save("welcomed:"+in.Name, true, time.Hour)
		tx.Increment("welcomes", 1)
		tx.Push("guests", in.Name)
		tx.EnqueueWith("greet", in, tasks.Options{ID: "greet:" + in.Name})
		tx.Publish("welcomed", in)
		return nil
	})
	ctx, api, stop := run(app)
	defer stop()
	receipt, _ := api.Tasks.Enqueue(ctx, "welcome", greeting{"Ada"})
	_, err := api.Tasks.Wait(ctx, receipt.ID)
	fmt.Println(err)
	result, _ := api.Tasks.Wait(ctx, "greet:Ada")
	fmt.Println(string(result))
	// Output:
	// <nil>
	// "Hello Ada"
}

type point struct{ X, Y int }

func ExampleHandleResult() {
	app := worker.NewApp()
	tasks.HandleResult(app, tasks.Definition{Name: "mirror"}, func(_ context.Context, in point) (point, error) {
		return point{X: -in.X, Y: in.Y}, nil
	})
	ctx, api, stop := run(app)
	defer stop()
	receipt, _ := api.Tasks.EnqueueWith(ctx, "mirror", point{1, 2}, tasks.Options{Await: true})
	fmt.Println(tasks.WaitFor[point](ctx, api.Tasks, receipt.ID))
	// Output: {-1 2} <nil>
}

func ExampleWaitFor() {
	ctx, api, stop := run(greeter())
	defer stop()
	receipt, _ := api.Tasks.Enqueue(ctx, "greet", greeting{"Ada"})
	text, err := tasks.WaitFor[string](ctx, api.Tasks, receipt.ID)
	fmt.Println(text, err)
	_, err = tasks.WaitFor[int](ctx, api.Tasks, receipt.ID)
	fmt.Println(err != nil) // it is a text
	// Output:
	// Hello Ada <nil>
	// true
}

func ExampleHandleBatch() {
	app := worker.NewApp()
	tasks.HandleBatch(app, tasks.Definition{Name: "greet", MaxAttempts: 1, Retention: time.Minute}, tasks.Batch{Max: 100, Wait: 10 * time.Millisecond},
		func(ctx context.Context, all []greeting) error {
			failed := tasks.BatchError{}
			for i, in := range all {
				if in.Name == "" {
					failed[i] = errors.New("nobody to greet")
				}
			}
			tasks.Tx(ctx).Increment("greeted", int64(len(all)-len(failed))) // commits with the tasks that succeeded
			return failed.Err()
		})
	ctx, api, stop := run(app)
	defer stop()
	receipts, _ := api.Tasks.EnqueueMany(ctx, []tasks.Request{
		{Name: "greet", Payload: greeting{"Ada"}}, {Name: "greet", Payload: greeting{}}, {Name: "greet", Payload: greeting{"Bob"}},
	})
	for _, r := range receipts {
		_, err := api.Tasks.Wait(ctx, r.ID)
		fmt.Println(errors.Is(err, tasks.ErrDead))
	}
	n, _ := cache.Get[int](ctx, api.Cache, "greeted")
	fmt.Println(n)
	// Output:
	// false
	// true
	// false
	// 2
}
