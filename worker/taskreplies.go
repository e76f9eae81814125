package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/worker/tasks"
)

// Bounds of the answers of api.tasks.*, in bytes of JSON and in tasks. A message
// of the bus has at most redisbus.MaxMessage, envelope and escapes included.
const (
	oneReply    = redisbus.MaxMessage / 2
	listReply   = redisbus.MaxMessage / 2
	listedTask  = 8 << 10
	listDefault = 100
	listMost    = 1000
)

// Task is a task in answers and in the output of commands.
type Task struct {
	tasks.Task

	Priority string `json:"priority"` // high, normal or low
	// Omitted are the fields that were left out because they would not fit into the answer.
	Omitted []string `json:"omitted,omitempty"`
}

// TaskList is what api.tasks.list answers.
type TaskList struct {
	Tasks []Task `json:"tasks"`
	More  bool   `json:"more"` // there are others: narrow the filter
}

// TaskExplanation is what api.tasks.explain answers.
type TaskExplanation struct {
	Task

	Why []string `json:"why"`
}

// TaskOf returns what answers tell of a task.
func TaskOf(t tasks.Task) Task {
	out := Task{Task: t, Priority: priorityName(t.Priority)}
	if len(t.Payload) > 0 && !json.Valid(t.Payload) { // somebody else wrote it
		out.Payload, out.Omitted = nil, []string{"payload"}
	}
	return out
}

// priorities are the names of the priorities.
var priorities = map[string]tasks.Priority{"high": tasks.High, "normal": tasks.Normal, "low": tasks.Low, "": tasks.Normal}

// ParsePriority returns the priority of a name; without one, the normal one.
func ParsePriority(name string) (tasks.Priority, error) {
	p, ok := priorities[name]
	if !ok {
		return p, fmt.Errorf("priority %.40q: use high, normal or low", name)
	}
	return p, nil
}

func priorityName(p tasks.Priority) string {
	switch {
	case p > tasks.Normal:
		return "high"
	case p < tasks.Normal:
		return "low"
	default:
		return "normal"
	}
}

// within returns the task in at most room bytes of JSON: without what is too long.
func (t Task) within(room int) Task {
	for _, part := range []struct {
		field string
		size  int
		leave func()
	}{
		{"payload", len(t.Payload), func() { t.Payload = nil }},
		{"result", len(t.Result), func() { t.Result = nil }},
		{"history", len(t.History), func() { t.History = nil }},
		{"after", len(t.After), func() { t.After = nil }},
		{"reason", 1, func() { t.Reason = nil }},
	} {
		if part.size > 0 && (part.size > room || t.size() > room) {
			part.leave()
			t.Omitted = append(t.Omitted, part.field)
		}
	}
	return t
}

func (t Task) size() int {
	text, err := json.Marshal(t)
	if err != nil {
		return redisbus.MaxMessage // the field that cannot be encoded goes
	}
	return len(text)
}

// list returns as many tasks as fit into an answer.
func list(ctx context.Context, i *tasks.Inspector, f tasks.Filter) (TaskList, error) {
	switch {
	case f.Limit == 0:
		f.Limit = listDefault
	case f.Limit > listMost:
		f.Limit = listMost
	}
	out, most, size := TaskList{Tasks: []Task{}}, f.Limit, 0
	f.Limit++
	for t, err := range i.List(ctx, f) {
		if err != nil {
			return TaskList{}, err
		}
		next := TaskOf(t).within(listedTask)
		if size += next.size() + 1; size > listReply || len(out.Tasks) == most {
			out.More = true
			break
		}
		out.Tasks = append(out.Tasks, next)
	}
	return out, nil
}

// Queue is a queue in answers and in the output of commands: its durations are in
// milliseconds.
type Queue struct {
	tasks.Queue

	Oldest float64 `json:"oldest"`
	Wait   float64 `json:"wait"`
	Run    float64 `json:"run"`
}

// QueueOf returns what answers tell of a queue.
func QueueOf(q tasks.Queue) Queue {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return Queue{q, ms(q.Oldest), ms(q.Wait), ms(q.Run)}
}

// QueueLimits changes an operator's limits of a queue: those that are nil stay as
// they are, 0 is none. Reset takes all of them back.
type QueueLimits struct {
	Queue       string `json:"queue"`
	Concurrency *int   `json:"concurrency,omitempty"`
	Tasks       *int   `json:"tasks,omitempty"`
	Bytes       *int64 `json:"bytes,omitempty"`
	Reset       bool   `json:"reset,omitempty"`
}

// Set changes the limits and returns those in effect.
func (l QueueLimits) Set(ctx context.Context, i *tasks.Inspector) (tasks.Limits, error) {
	given := l.Concurrency != nil || l.Tasks != nil || l.Bytes != nil
	switch {
	case l.Reset && given:
		return tasks.Limits{}, fmt.Errorf("%w: use reset or limits, not both", rpcregistry.ErrBadArguments)
	case l.Reset:
		return i.LimitQueue(ctx, l.Queue, nil)
	case !given:
		return tasks.Limits{}, fmt.Errorf("%w: say which limit of the queue: concurrency, tasks or bytes; or reset", rpcregistry.ErrBadArguments)
	}
	queues, err := i.Queues(ctx)
	if err != nil {
		return tasks.Limits{}, err
	}
	limits := tasks.Limits{}
	for _, q := range queues {
		if q.Name == l.Queue {
			limits = q.Limits
		}
	}
	if err := l.apply(&limits); err != nil {
		return tasks.Limits{}, err
	}
	return i.LimitQueue(ctx, l.Queue, &limits)
}

// apply changes the limits that are given.
func (l QueueLimits) apply(to *tasks.Limits) error {
	if l.Concurrency != nil {
		to.Concurrency = *l.Concurrency
	}
	if l.Tasks != nil {
		to.Tasks = *l.Tasks
	}
	if l.Bytes != nil {
		to.Bytes = *l.Bytes
	}
	if min(to.Concurrency, to.Tasks) < 0 || to.Bytes < 0 {
		return fmt.Errorf("%w: limits cannot be negative; 0 is none", rpcregistry.ErrBadArguments)
	}
	return nil
}
