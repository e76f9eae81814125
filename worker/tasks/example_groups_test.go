package tasks_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// The steps of an order run one after the other, and those of other orders meanwhile.
func ExampleOptions_group() {
	app := worker.NewApp()
	var mu sync.Mutex
	seen := map[string][]string{}
	var all sync.WaitGroup
	tasks.Handle(app, tasks.Definition{Name: "order"}, func(ctx context.Context, step string) error {
		defer all.Done()
		mu.Lock()
		defer mu.Unlock()
		seen[tasks.InfoOf(ctx).Group] = append(seen[tasks.InfoOf(ctx).Group], step)
		return nil
	})
	app.LimitQueue(tasks.DefaultQueue, tasks.Limits{PerGroup: 1})

	ctx, api, stop := run(app)
	defer stop()
	for _, step := range []string{"charge", "pack", "ship"} {
		for _, order := range []string{"order:17", "order:18"} {
			all.Add(1)
			if _, err := api.Tasks.EnqueueWith(ctx, "order", step, tasks.Options{Group: order}); err != nil {
				panic(err)
			}
		}
	}
	all.Wait()
	fmt.Println(seen["order:17"])
	fmt.Println(seen["order:18"])
	// Output:
	// [charge pack ship]
	// [charge pack ship]
}

// At most two mails at once, and then one every 50 ms.
func ExampleRate() {
	app := worker.NewApp()
	began := make(chan time.Time, 10)
	tasks.Handle(app, tasks.Definition{Name: "mail", Queue: "mails"}, func(context.Context, string) error { began <- time.Now(); return nil })

	ctx, api, stop := run(app)
	defer stop()
	if _, err := api.Inspector.LimitQueue(ctx, "mails", &tasks.Limits{Rate: tasks.Rate{Tasks: 20, Per: time.Second, Burst: 2}}); err != nil {
		panic(err)
	}
	for range 6 {
		if _, err := api.Tasks.Enqueue(ctx, "mail", "ada"); err != nil {
			panic(err)
		}
	}
	first := <-began
	var last time.Time
	for range 5 {
		last = <-began
	}
	fmt.Println(last.Sub(first) > 190*time.Millisecond)
	// Output: true
}
