package builtin

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/worker/tasks"
)

// Arguments of the methods of api.tasks.* in this file.
type (
	taskCancel struct {
		ID string `json:"id"`
		By string `json:"by,omitempty"` // who cancels, or why; shown with the task
	}
	taskCancelled struct {
		Running bool `json:"running"` // it runs, and is told to end
	}
	taskReschedule struct {
		ID string        `json:"id"`
		In time.Duration `json:"in,omitempty"`
		At time.Time     `json:"at,omitzero"` // without In and At: now
	}
	taskRerun struct {
		ID   string `json:"id"`
		Step string `json:"step,omitempty"` // without it: from the beginning
	}
	taskEdit struct {
		ID       string          `json:"id"`
		Payload  json.RawMessage `json:"payload,omitempty"`
		Queue    string          `json:"queue,omitempty"`
		Group    *string         `json:"group,omitempty"`
		Priority *tasks.Priority `json:"priority,omitempty"`
	}
	taskBulk struct {
		tasks.Filter

		By string `json:"by,omitempty"` // of a cancellation: who cancels, or why
	}
)

// registerMending adds the methods that change stored tasks.
func registerMending(r rpcregistry.Registrar, i *tasks.Inspector) {
	handleTask(r, "cancel", func(ctx context.Context, in taskCancel) (taskCancelled, error) {
		running, err := i.Cancel(ctx, in.ID, in.By)
		return taskCancelled{running}, err
	})
	handleTask(r, "delete", func(ctx context.Context, in taskID) (none, error) { return none{}, i.Delete(ctx, in.ID) })
	handleTask(r, "retry", func(ctx context.Context, in taskID) (none, error) { return none{}, i.Retry(ctx, in.ID) })
	handleTask(r, "rerun", func(ctx context.Context, in taskRerun) (none, error) { return none{}, i.Rerun(ctx, in.ID, in.Step) })
	handleTask(r, "reschedule", func(ctx context.Context, in taskReschedule) (none, error) {
		switch {
		case in.In > 0 && !in.At.IsZero():
			return none{}, fmt.Errorf("%w: use in or at, not both", rpcregistry.ErrBadArguments)
		case in.In > 0:
			return none{}, i.RescheduleIn(ctx, in.ID, in.In)
		default:
			return none{}, i.Reschedule(ctx, in.ID, in.At)
		}
	})
	handleTask(r, "edit", func(ctx context.Context, in taskEdit) (none, error) {
		e := tasks.Edit{Queue: in.Queue, Group: in.Group, Priority: in.Priority}
		if in.Payload != nil {
			e.Payload = in.Payload
		}
		return none{}, i.Edit(ctx, in.ID, e)
	})
	handleBulk(r, "cancelAll", i.CancelAll)
	handleBulk(r, "deleteAll", func(ctx context.Context, f tasks.Filter, _ string) (int, error) { return i.DeleteAll(ctx, f) })
	handleBulk(r, "retryAll", func(ctx context.Context, f tasks.Filter, _ string) (int, error) { return i.RetryAll(ctx, f) })
}

// handleBulk registers a method that changes all tasks that a filter selects.
func handleBulk(r rpcregistry.Registrar, name string, do func(ctx context.Context, f tasks.Filter, by string) (int, error)) {
	handleTask(r, name, func(ctx context.Context, in taskBulk) (int, error) { return do(ctx, in.Filter, in.By) })
}
