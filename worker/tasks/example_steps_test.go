package tasks_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// A task charges a card and sends a parcel. It fails once in between, and does not charge again.
func ExampleStep() {
	app := worker.NewApp()
	failed := false
	tasks.HandleResult(app, tasks.Definition{Name: "ship", Backoff: time.Millisecond}, func(ctx context.Context, order string) (string, error) {
		receipt, err := tasks.Step(ctx, "charge", func(context.Context) (string, error) {
			fmt.Println("charged for", order)
			return "receipt 1", nil
		})
		if err != nil {
			return "", err
		}
		if err := tasks.Sleep(ctx, "cool-down", time.Millisecond); err != nil {
			return "", err
		}
		if !failed {
			failed = true
			return "", errors.New("the depot is closed")
		}
		parcel, err := tasks.Step(ctx, "send", func(context.Context) (int, error) { return 7, nil })
		return fmt.Sprintf("%s, parcel %d", receipt, parcel), err
	})
	ctx, api, stop := run(app)
	defer stop()
	result, err := api.Tasks.EnqueueAndWait(ctx, "ship", "order 17", tasks.Options{})
	fmt.Println(string(result), err)
	// Output:
	// charged for order 17
	// "receipt 1, parcel 7" <nil>
}

// A task over many rows goes on where its last checkpoint was.
func ExampleCheckpoint() {
	app := worker.NewApp()
	tasks.Handle(app, tasks.Definition{Name: "export", Backoff: time.Millisecond}, func(ctx context.Context, rows int) error {
		var next int
		found, err := tasks.Restore(ctx, &next)
		if err != nil {
			return err
		}
		for ; next < rows; next++ {
			if next == 2 && !found {
				return errors.New("the disk is full")
			}
			tasks.Tx(ctx).Push("rows", next)
			if err := tasks.Checkpoint(ctx, next+1); err != nil {
				return err
			}
		}
		return nil
	})
	ctx, api, stop := run(app)
	defer stop()
	_, err := api.Tasks.EnqueueAndWait(ctx, "export", 4, tasks.Options{})
	n, _ := api.Cache.Len(ctx, "rows")
	fmt.Println(n, "rows", err)
	// Output: 4 rows <nil>
}
