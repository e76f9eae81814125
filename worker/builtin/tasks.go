package builtin

import (
	"context"
	"encoding/json"
	"time"

	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/worker/tasks"
)

// Definition says how a node treats tasks of one name. It is an item in the response of
// api.tasks.definitions.
type Definition struct {
	Name      string `json:"name"`
	Queue     string `json:"queue"`
	Retention int64  `json:"retentionMs"`      // of the result, in milliseconds; 0 for none
	OnDead    string `json:"onDead,omitempty"` // the task that is enqueued when one of this name is dead
}

// Arguments of the methods of api.tasks.* in this file.
type (
	taskEnqueue struct {
		Name    string          `json:"name"`
		Payload json.RawMessage `json:"payload,omitempty"`
		tasks.Options
	}
	taskEnqueueIn struct {
		In      time.Duration   `json:"in"`
		Name    string          `json:"name"`
		Payload json.RawMessage `json:"payload,omitempty"`
		Queue   string          `json:"queue,omitempty"`
	}
	taskEnqueueAt struct {
		At      time.Time       `json:"at"`
		Name    string          `json:"name"`
		Payload json.RawMessage `json:"payload,omitempty"`
		Queue   string          `json:"queue,omitempty"`
	}
	taskWait struct {
		ID      string        `json:"id"`
		Timeout time.Duration `json:"timeout,omitempty"` // 0 for as long as the caller waits
	}
)

// taskResult is the response of api.tasks.wait. Done is false if the timeout in the
// arguments was over before the task had ended.
type taskResult struct {
	Done   bool            `json:"done"`
	Result json.RawMessage `json:"result,omitempty"`
}

// registerTasks adds the methods with which programs enqueue tasks and wait for them.
func registerTasks(r rpcregistry.Registrar, c *tasks.Client, handled *tasks.Registry) {
	handleTask(r, "enqueue", func(ctx context.Context, in taskEnqueue) (tasks.Receipt, error) { return in.enqueue(ctx, c) })
	// The order of these arguments is the original's; api.tasks.enqueue has in and at as options.
	handleTask(r, "enqueueIn", func(ctx context.Context, in taskEnqueueIn) (tasks.Receipt, error) {
		return taskEnqueue{in.Name, in.Payload, tasks.Options{In: in.In, Queue: in.Queue}}.enqueue(ctx, c)
	})
	handleTask(r, "enqueueAt", func(ctx context.Context, in taskEnqueueAt) (tasks.Receipt, error) {
		return taskEnqueue{in.Name, in.Payload, tasks.Options{At: in.At, Queue: in.Queue}}.enqueue(ctx, c)
	})
	// A caller that waits for a task which it enqueued says so with the option await.
	handleTask(r, "wait", func(ctx context.Context, in taskWait) (taskResult, error) {
		waiting := ctx
		if in.Timeout > 0 {
			var cancel context.CancelFunc
			waiting, cancel = context.WithTimeout(ctx, in.Timeout)
			defer cancel()
		}
		result, err := c.Wait(waiting, in.ID)
		if err != nil && waiting.Err() != nil && ctx.Err() == nil {
			return taskResult{}, nil // the task has not ended yet
		}
		return taskResult{err == nil, result}, err
	})
	handleTask(r, "handled", func(context.Context, none) ([]string, error) { return handled.Names(), nil })
	handleTask(r, "definitions", func(context.Context, none) ([]Definition, error) {
		all := []Definition{}
		for _, name := range handled.Names() {
			d, _ := handled.Definition(name)
			retention := (d.Retention + time.Millisecond - 1).Milliseconds() // rounded up: 0 stands for none
			all = append(all, Definition{Name: name, Queue: d.Queue, Retention: retention, OnDead: d.OnDead})
		}
		return all, nil
	})
}

func (t taskEnqueue) enqueue(ctx context.Context, c *tasks.Client) (tasks.Receipt, error) {
	if t.Payload == nil {
		t.Payload = json.RawMessage("null")
	}
	return c.EnqueueWith(ctx, t.Name, t.Payload, t.Options)
}
