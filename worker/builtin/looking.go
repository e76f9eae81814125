package builtin

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/worker/tasks"
)

// Bounds of the responses of api.tasks.*. A message of the bus has at most
// redisbus.MaxMessage bytes, envelope and escapes included.
const (
	oneReply    = redisbus.MaxMessage / 2 // bytes of JSON of a single task
	listReply   = redisbus.MaxMessage / 2 // bytes of JSON of a list
	listedTask  = 8 << 10                 // bytes of JSON of a task in a list
	listDefault = 100                     // tasks in a list without a limit
	listMost    = 1000                    // tasks in any list
)

// TaskList is the response of api.tasks.list. A task that is too long for the response
// lacks the fields that its Omitted names.
type TaskList struct {
	Tasks []tasks.Task `json:"tasks"`
	More  bool         `json:"more"` // there are more tasks: narrow the filter
}

// taskID are the arguments of methods about one task.
type taskID struct {
	ID string `json:"id"`
}

// taskHistory are the arguments of api.tasks.history.
type taskHistory struct {
	Since time.Time     `json:"since,omitempty"` // default: an hour ago
	Until time.Time     `json:"until,omitempty"` // default: now
	Queue string        `json:"queue,omitempty"`
	Name  string        `json:"name,omitempty"`
	Step  time.Duration `json:"step,omitempty"`
	// Together joins all queues and names into one.
	Together bool `json:"together,omitempty"`
}

// read returns the points, which must fit into a response.
func (h taskHistory) read(ctx context.Context, i *tasks.Inspector) ([]tasks.HistoryPoint, error) {
	if h.Since.IsZero() {
		h.Since = time.Now().Add(-time.Hour)
	}
	points, err := i.History(ctx, h.Since, h.Until, tasks.HistoryFilter{Queue: h.Queue, Name: h.Name, Step: h.Step, Together: h.Together})
	if text, encoding := json.Marshal(points); err == nil && (encoding != nil || len(text) > listReply) {
		return nil, fmt.Errorf("%w: that are %d points: ask for a shorter time, one name, a longer step, or all together",
			rpcregistry.ErrTooLarge, len(points))
	}
	return points, err
}

// registerLooking adds the methods that show tasks and change nothing.
func registerLooking(r rpcregistry.Registrar, i *tasks.Inspector) {
	handleTask(r, "counts", func(ctx context.Context, _ none) (tasks.Counts, error) { return i.Counts(ctx) })
	handleTask(r, "get", func(ctx context.Context, in taskID) (tasks.Task, error) {
		t, err := i.Get(ctx, in.ID)
		return fit(t, oneReply), err
	})
	handleTask(r, "explain", func(ctx context.Context, in taskID) (tasks.Explanation, error) {
		e, err := i.Explain(ctx, in.ID)
		e.Task = fit(e.Task, oneReply)
		return e, err
	})
	handleTask(r, "history", func(ctx context.Context, in taskHistory) ([]tasks.HistoryPoint, error) {
		return in.read(ctx, i)
	})
	handleTask(r, "list", func(ctx context.Context, f tasks.Filter) (TaskList, error) { return list(ctx, i, f) })
}

// list returns as many tasks as fit into a response.
func list(ctx context.Context, i *tasks.Inspector, f tasks.Filter) (TaskList, error) {
	out, most, size := TaskList{Tasks: []tasks.Task{}}, min(f.Limit, listMost), 0
	if most == 0 {
		most = listDefault
	}
	if most > 0 { // the inspector refuses a negative limit
		f.Limit = most + 1
	}
	for t, err := range i.List(ctx, f) {
		if err != nil {
			return TaskList{}, err
		}
		next := fit(t, listedTask)
		if size += sizeOf(next) + 1; size > listReply || len(out.Tasks) == most {
			out.More = true
			break
		}
		out.Tasks = append(out.Tasks, next)
	}
	return out, nil
}

// fit returns the task in at most room bytes of JSON. It omits fields that are too long, and
// names them in Omitted.
func fit(t tasks.Task, room int) tasks.Task {
	for _, part := range []struct {
		field string
		size  int
		omit  func()
	}{
		{"payload", len(t.Payload), func() { t.Payload = nil }},
		{"result", len(t.Result), func() { t.Result = nil }},
		{"steps", len(t.Steps), func() { t.Steps = nil }},
		{"history", len(t.History), func() { t.History = nil }},
		{"after", len(t.After), func() { t.After = nil }},
		{"meta", len(t.Meta), func() { t.Meta = nil }},
		{"reason", 1, func() { t.Reason = nil }},
	} {
		if part.size > 0 && (part.size > room || sizeOf(t) > room) {
			part.omit()
			t.Omitted = append(t.Omitted, part.field)
		}
	}
	return t
}

// sizeOf returns the size of the task's JSON in bytes.
func sizeOf(t tasks.Task) int {
	text, err := json.Marshal(t)
	if err != nil {
		return redisbus.MaxMessage // larger than any room, so that fit omits the field that cannot be encoded
	}
	return len(text)
}
