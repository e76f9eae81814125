package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/worker/tasks"
)

// What calls of api.tasks.* end with, beside the codes of rpcregistry.
const (
	// ErrTaskNotFound is tasks.ErrNotFound, of a periodic task too.
	ErrTaskNotFound rpcregistry.Code = "not_found"
	// ErrTaskQueueFull is tasks.ErrQueueFull.
	ErrTaskQueueFull rpcregistry.Code = "queue_full"
	// ErrTaskActive is tasks.ErrActive.
	ErrTaskActive rpcregistry.Code = "active"
	// ErrTaskState is tasks.ErrState.
	ErrTaskState rpcregistry.Code = "state"
	// ErrTaskDead is tasks.ErrDead: api.tasks.wait waited for a task that is dead.
	ErrTaskDead rpcregistry.Code = "dead"
	// ErrTaskCancelled is tasks.ErrCancelled: it waited for one that was cancelled.
	ErrTaskCancelled rpcregistry.Code = "cancelled"
	// ErrRedisFull is link.ErrFull: nothing was stored.
	ErrRedisFull rpcregistry.Code = "redis_full"
	// ErrRedisAway is link.ErrUnavailable: nothing was done.
	ErrRedisAway rpcregistry.Code = "redis_unavailable"
	// ErrRedisUnknown is link.ErrUnknownOutcome: it may have been done or not. An
	// enqueue with an id of the caller's can be repeated.
	ErrRedisUnknown rpcregistry.Code = "unknown_outcome"
)

var taskCodes = []coded{
	{tasks.ErrNotFound, ErrTaskNotFound},
	{tasks.ErrQueueFull, ErrTaskQueueFull},
	{tasks.ErrActive, ErrTaskActive},
	{tasks.ErrState, ErrTaskState},
	{tasks.ErrDead, ErrTaskDead},
	{tasks.ErrCancelled, ErrTaskCancelled},
	{tasks.ErrName, rpcregistry.ErrBadArguments},
	{tasks.ErrInvalid, rpcregistry.ErrBadArguments},
	{tasks.ErrTooLarge, rpcregistry.ErrTooLarge},
	{link.ErrFull, ErrRedisFull},
	{link.ErrUnknownOutcome, ErrRedisUnknown},
	{link.ErrUnavailable, ErrRedisAway},
}

// TaskInfo is how the nodes treat tasks of one name: api.tasks.definitions answers
// a list of them.
type TaskInfo struct {
	Name      string `json:"name"`
	Queue     string `json:"queue"`
	Retention int64  `json:"retention"` // of its result, in milliseconds; 0 for none
}

// Arguments of api.tasks.*, by name or by position in this order; other names are
// refused. Durations are in milliseconds.
type (
	taskEnqueue struct {
		Name        string          `json:"name"`
		Payload     json.RawMessage `json:"payload,omitempty"`
		Queue       string          `json:"queue,omitempty"`
		ID          string          `json:"id,omitempty"`
		In          int64           `json:"in,omitempty"`
		At          timestamp       `json:"at,omitzero"`
		Deadline    timestamp       `json:"deadline,omitzero"`
		Priority    string          `json:"priority,omitempty"` // high, normal or low
		MaxAttempts int             `json:"maxAttempts,omitempty"`
		Timeout     int64           `json:"timeout,omitempty"` // of a run
		Backoff     int64           `json:"backoff,omitempty"`
		MaxBackoff  int64           `json:"maxBackoff,omitempty"`
		Retention   int64           `json:"retention,omitempty"`
		WantResult  bool            `json:"wantResult,omitempty"`
		Unique      string          `json:"unique,omitempty"`
		UniqueFor   int64           `json:"uniqueFor,omitempty"`
		After       []string        `json:"after,omitempty"`
	}
	taskID struct {
		ID string `json:"id"`
	}
	taskCancel struct {
		ID string `json:"id"`
		By string `json:"by,omitempty"` // who or why, for those who look
	}
	taskReschedule struct {
		ID string    `json:"id"`
		In int64     `json:"in,omitempty"`
		At timestamp `json:"at,omitzero"` // without either, now
	}
	taskWait struct {
		ID      string `json:"id"`
		Timeout int64  `json:"timeout,omitempty"` // 0 for as long as the caller waits
	}
	taskFilter struct {
		States []tasks.State `json:"states,omitempty"`
		Queue  string        `json:"queue,omitempty"`
		Name   string        `json:"name,omitempty"`
		Text   string        `json:"text,omitempty"` // part of the id, the payload or the reason
		Since  timestamp     `json:"since,omitzero"`
		Until  timestamp     `json:"until,omitzero"`
		Limit  int           `json:"limit,omitempty"`
	}
	taskBulk struct {
		taskFilter

		All bool   `json:"all,omitempty"` // where nothing else is said
		By  string `json:"by,omitempty"`  // of a cancellation
	}
	taskQueue struct {
		Queue string `json:"queue"`
	}
	taskQueues struct {
		Queue string `json:"queue,omitempty"` // only this one
	}
	taskPeriodic struct {
		Name string `json:"name"`
	}
)

// taskResult is what api.tasks.wait answers. done is false when the timeout of
// the arguments was over first.
type taskResult struct {
	Done   bool            `json:"done"`
	Result json.RawMessage `json:"result,omitempty"`
}

// timestamp is a point in time of an argument: milliseconds since 1970, or a text
// in RFC 3339.
type timestamp struct{ time.Time }

// UnmarshalJSON implements json.Unmarshaler.
func (t *timestamp) UnmarshalJSON(text []byte) error {
	var ms int64
	if json.Unmarshal(text, &ms) == nil {
		if t.Time = (time.Time{}); ms != 0 {
			t.Time = time.UnixMilli(ms)
		}
		return nil
	}
	var s string
	err := json.Unmarshal(text, &s)
	if err == nil {
		t.Time, err = time.Parse(time.RFC3339, s)
	}
	if err != nil {
		return fmt.Errorf("%.60s is no time: use milliseconds since 1970, or a text such as 2027-01-31T08:00:00Z", text)
	}
	return nil
}

// registerTasks adds the operations on the cluster's tasks for callers on other
// nodes and for commands.
func registerTasks(r rpcregistry.Registrar, a *API, app *App) {
	handleTask(r, "enqueue", func(ctx context.Context, in taskEnqueue) (tasks.Receipt, error) {
		o, err := in.options()
		if err != nil {
			return tasks.Receipt{}, err
		}
		if in.Payload == nil {
			in.Payload = json.RawMessage("null")
		}
		return a.Tasks.EnqueueWith(ctx, in.Name, in.Payload, o)
	})
	handleTask(r, "wait", func(ctx context.Context, in taskWait) (taskResult, error) {
		timeout, err := milliseconds(in.Timeout)
		if err != nil {
			return taskResult{}, err
		}
		waiting := ctx
		if timeout > 0 {
			var cancel context.CancelFunc
			waiting, cancel = context.WithTimeout(ctx, timeout)
			defer cancel()
		}
		result, err := a.Tasks.Wait(waiting, in.ID)
		if err != nil && waiting.Err() != nil && ctx.Err() == nil {
			return taskResult{}, nil // not yet
		}
		return taskResult{err == nil, result}, err
	})
	handleTask(r, "handled", func(context.Context, none) ([]string, error) { return app.Tasks(), nil })
	handleTask(r, "definitions", func(context.Context, none) ([]TaskInfo, error) { return app.definitions(), nil })
	registerLooking(r, a.Inspector)
	registerMending(r, a.Inspector)
	registerQueues(r, a.Inspector)
	registerPeriodic(r, a)
}

var errBothTimes = fmt.Errorf("%w: use in or at, not both", rpcregistry.ErrBadArguments)

// registerLooking adds what changes nothing.
func registerLooking(r rpcregistry.Registrar, i *tasks.Inspector) {
	handleTask(r, "counts", func(ctx context.Context, _ none) (tasks.Counts, error) { return i.Counts(ctx) })
	handleTask(r, "get", func(ctx context.Context, in taskID) (Task, error) {
		t, err := i.Get(ctx, in.ID)
		return TaskOf(t).within(oneReply), err
	})
	handleTask(r, "explain", func(ctx context.Context, in taskID) (TaskExplanation, error) {
		e, err := i.Explain(ctx, in.ID)
		return TaskExplanation{TaskOf(e.Task).within(oneReply), e.Why}, err
	})
	handleTask(r, "list", func(ctx context.Context, in taskFilter) (TaskList, error) {
		f, err := in.filter()
		if err != nil {
			return TaskList{}, err
		}
		return list(ctx, i, f)
	})
}

func registerMending(r rpcregistry.Registrar, i *tasks.Inspector) {
	handleTask(r, "cancel", func(ctx context.Context, in taskCancel) (map[string]bool, error) {
		running, err := i.Cancel(ctx, in.ID, in.By)
		return map[string]bool{"running": running}, err
	})
	handleTask(r, "delete", func(ctx context.Context, in taskID) (none, error) { return none{}, i.Delete(ctx, in.ID) })
	handleTask(r, "retry", func(ctx context.Context, in taskID) (none, error) { return none{}, i.Retry(ctx, in.ID) })
	handleTask(r, "reschedule", func(ctx context.Context, in taskReschedule) (none, error) {
		after, err := milliseconds(in.In)
		switch {
		case err != nil:
			return none{}, err
		case after > 0 && !in.At.IsZero():
			return none{}, errBothTimes
		case after > 0:
			return none{}, i.RescheduleIn(ctx, in.ID, after)
		default:
			return none{}, i.Reschedule(ctx, in.ID, in.At.Time)
		}
	})
	bulk := func(name string, do func(context.Context, tasks.Filter, string) (int, error)) {
		handleTask(r, name, func(ctx context.Context, in taskBulk) (int, error) {
			f, err := in.filter()
			if err != nil {
				return 0, err
			}
			unbounded := len(f.States) == 0 && f.Queue+f.Name+f.Text == "" && f.Since.IsZero() && f.Until.IsZero()
			if unbounded && !in.All {
				// what was left out by mistake must not hit everything
				return 0, fmt.Errorf("%w: say which tasks, or all: true", rpcregistry.ErrBadArguments)
			}
			return do(ctx, f, in.By)
		})
	}
	bulk("cancelAll", i.CancelAll)
	bulk("deleteAll", func(ctx context.Context, f tasks.Filter, _ string) (int, error) { return i.DeleteAll(ctx, f) })
	bulk("retryAll", func(ctx context.Context, f tasks.Filter, _ string) (int, error) { return i.RetryAll(ctx, f) })
}

func registerQueues(r rpcregistry.Registrar, i *tasks.Inspector) {
	handleTask(r, "queues", func(ctx context.Context, in taskQueues) ([]Queue, error) {
		all, err := i.Queues(ctx)
		queues := []Queue{}
		for _, q := range all {
			if in.Queue == "" || in.Queue == q.Name {
				queues = append(queues, QueueOf(q))
			}
		}
		return queues, err
	})
	handleTask(r, "pauseQueue", func(ctx context.Context, in taskQueue) (none, error) {
		return none{}, i.PauseQueue(ctx, in.Queue, true)
	})
	handleTask(r, "resumeQueue", func(ctx context.Context, in taskQueue) (none, error) {
		return none{}, i.PauseQueue(ctx, in.Queue, false)
	})
	handleTask(r, "limitQueue", func(ctx context.Context, in QueueLimits) (tasks.Limits, error) { return in.Set(ctx, i) })
	handleTask(r, "deleteQueue", func(ctx context.Context, in taskQueue) (int, error) { return i.DeleteQueue(ctx, in.Queue) })
}

func registerPeriodic(r rpcregistry.Registrar, a *API) {
	handleTask(r, "periodic", func(ctx context.Context, _ none) ([]tasks.PeriodicInfo, error) {
		infos, err := a.Inspector.Periodic(ctx)
		for i := range infos {
			if len(infos[i].Payload) > listedTask {
				infos[i].Payload = nil
			}
		}
		return infos, err
	})
	handleTask(r, "runPeriodic", func(ctx context.Context, in taskPeriodic) (tasks.Receipt, error) {
		return a.Tasks.RunPeriodic(ctx, in.Name)
	})
	handleTask(r, "pausePeriodic", func(ctx context.Context, in taskPeriodic) (none, error) {
		return none{}, a.Inspector.PausePeriodic(ctx, in.Name, true)
	})
	handleTask(r, "resumePeriodic", func(ctx context.Context, in taskPeriodic) (none, error) {
		return none{}, a.Inspector.PausePeriodic(ctx, in.Name, false)
	})
	handleTask(r, "removePeriodic", func(ctx context.Context, in taskPeriodic) (none, error) {
		return none{}, a.Inspector.RemovePeriodic(ctx, in.Name)
	})
}

// handleTask registers a method of the tasks. Its errors cross the wire with a code.
func handleTask[Req, Res any](r rpcregistry.Registrar, name string, f func(context.Context, Req) (Res, error)) {
	rpcregistry.HandleStrict(r, "api.tasks."+name, withCodes(taskCodes, f))
}

func (in taskEnqueue) options() (tasks.Options, error) {
	o := tasks.Options{
		ID: in.ID, Queue: in.Queue, At: in.At.Time, Deadline: in.Deadline.Time, MaxAttempts: in.MaxAttempts,
		WantResult: in.WantResult, Unique: in.Unique, After: in.After,
	}
	for _, d := range []struct {
		to *time.Duration
		ms int64
	}{
		{&o.In, in.In}, {&o.Timeout, in.Timeout}, {&o.Backoff, in.Backoff}, {&o.MaxBackoff, in.MaxBackoff},
		{&o.Retention, in.Retention}, {&o.UniqueFor, in.UniqueFor},
	} {
		var err error
		if *d.to, err = milliseconds(d.ms); err != nil {
			return o, err
		}
	}
	if o.In > 0 && !o.At.IsZero() {
		return o, errBothTimes
	}
	var err error
	if o.Priority, err = ParsePriority(in.Priority); err != nil {
		err = fmt.Errorf("%w: %w", rpcregistry.ErrBadArguments, err)
	}
	return o, err
}

func (in taskFilter) filter() (tasks.Filter, error) {
	for _, s := range in.States {
		if !slices.Contains(tasks.States(), s) {
			return tasks.Filter{}, fmt.Errorf("%w: unknown state %q: use %s", rpcregistry.ErrBadArguments, s, StateNames())
		}
	}
	if in.Limit < 0 {
		return tasks.Filter{}, fmt.Errorf("%w: limit %d is negative", rpcregistry.ErrBadArguments, in.Limit)
	}
	return tasks.Filter{
		States: in.States, Queue: in.Queue, Name: in.Name, Text: in.Text, Since: in.Since.Time, Until: in.Until.Time, Limit: in.Limit,
	}, nil
}

// StateNames lists the states of a task for people.
func StateNames() string {
	var names []string
	for _, s := range tasks.States() {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}
