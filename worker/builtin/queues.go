package builtin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/worker/tasks"
)

// Arguments of the methods of api.tasks.* in this file.
type (
	taskQueue struct {
		Queue string `json:"queue"`
	}
	taskQueues struct {
		Queue string `json:"queue,omitempty"` // only this queue
	}
	taskGroups struct {
		Queue string `json:"queue"`
		Limit int    `json:"limit,omitempty"` // 0: 100
	}
	taskGroup struct {
		Queue string `json:"queue"`
		Group string `json:"group"`
	}
	groupUsed struct {
		// Used reports whether the group has tasks that run, or wait and are due.
		Used bool `json:"used"`
	}
)

// registerQueues adds the methods about queues.
func registerQueues(r rpcregistry.Registrar, i *tasks.Inspector) {
	handleTask(r, "queues", func(ctx context.Context, in taskQueues) ([]tasks.Queue, error) {
		all, err := i.Queues(ctx)
		queues := []tasks.Queue{}
		for _, q := range all {
			if in.Queue == "" || in.Queue == q.Name {
				queues = append(queues, q)
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
	handleTask(r, "groups", func(ctx context.Context, in taskGroups) ([]tasks.Group, error) {
		return i.Groups(ctx, in.Queue, cmp.Or(in.Limit, 100))
	})
	handleTask(r, "pauseGroup", func(ctx context.Context, in taskGroup) (groupUsed, error) {
		used, err := i.PauseGroup(ctx, in.Queue, in.Group, true)
		return groupUsed{used}, err
	})
	handleTask(r, "resumeGroup", func(ctx context.Context, in taskGroup) (groupUsed, error) {
		used, err := i.PauseGroup(ctx, in.Queue, in.Group, false)
		return groupUsed{used}, err
	})
	handleTask(r, "limitQueue", func(ctx context.Context, in QueueLimits) (tasks.Limits, error) { return in.Set(ctx, i) })
	handleTask(r, "queueDefaults", func(ctx context.Context, in QueueDefaults) (tasks.Defaults, error) { return in.Set(ctx, i) })
	handleTask(r, "deleteQueue", func(ctx context.Context, in taskQueue) (int, error) { return i.DeleteQueue(ctx, in.Queue) })
}

// QueueDefaults is a change of what the tasks of a queue get that their options do not set. A nil field is
// not changed, 0 means that the definitions of the tasks count. Reset removes all. As in [tasks.Defaults], the
// names in JSON end in Ms.
type QueueDefaults struct {
	Queue       string         `json:"queue"`
	MaxAttempts *int           `json:"maxAttempts,omitempty"`
	Timeout     *time.Duration `json:"timeoutMs,omitempty"`
	Retention   *time.Duration `json:"retentionMs,omitempty"`
	Reset       bool           `json:"reset,omitempty"`
}

// Set changes the defaults and returns those in effect.
func (d QueueDefaults) Set(ctx context.Context, i *tasks.Inspector) (tasks.Defaults, error) {
	given := d.MaxAttempts != nil || d.Timeout != nil || d.Retention != nil
	switch {
	case d.Reset == given:
		return tasks.Defaults{}, fmt.Errorf("%w: use some of maxAttempts, timeoutMs and retentionMs, or reset", rpcregistry.ErrBadArguments)
	case d.Reset:
		return tasks.Defaults{}, i.SetDefaults(ctx, d.Queue, tasks.Defaults{})
	}
	return i.ChangeDefaults(ctx, d.Queue, func(to *tasks.Defaults) error {
		set(&to.MaxAttempts, d.MaxAttempts)
		set(&to.Timeout, d.Timeout)
		set(&to.Retention, d.Retention)
		return nil
	})
}

// set copies a value, if it was given, to where it belongs.
func set[T any](to, value *T) {
	if value != nil {
		*to = *value
	}
}

// QueueLimits is a change of an operator's limits of a queue. A nil limit is not changed, 0
// means no limit. Reset removes the operator's limits, so that those of the program apply.
type QueueLimits struct {
	Queue       string `json:"queue"`
	Concurrency *int   `json:"concurrency,omitempty"`
	Tasks       *int   `json:"tasks,omitempty"`
	Bytes       *int64 `json:"bytes,omitempty"`
	Reset       bool   `json:"reset,omitempty"`

	PerGroup  *int        `json:"perGroup,omitempty"`
	Strict    *bool       `json:"strict,omitempty"`
	Rate      *tasks.Rate `json:"rate,omitempty"`
	GroupRate *tasks.Rate `json:"groupRate,omitempty"`

	// Bursts of these rates, or of those that are set. A rate that comes without one keeps a burst that was chosen;
	// 0: as many as come in 100 ms.

	Burst      *int `json:"burst,omitempty"`
	GroupBurst *int `json:"groupBurst,omitempty"`
}

// given reports whether some limit is to be changed.
func (l QueueLimits) given() bool {
	l.Queue, l.Reset = "", false
	return l != QueueLimits{}
}

// Set changes the limits and returns the limits in effect.
func (l QueueLimits) Set(ctx context.Context, i *tasks.Inspector) (tasks.Limits, error) {
	switch {
	case l.Reset && l.given():
		return tasks.Limits{}, fmt.Errorf("%w: use reset or limits, not both", rpcregistry.ErrBadArguments)
	case l.Reset:
		return i.LimitQueue(ctx, l.Queue, nil)
	case !l.given():
		return tasks.Limits{}, fmt.Errorf(
			"%w: say which limit of the queue: concurrency, tasks, bytes, perGroup, strict, rate, burst, groupRate or groupBurst; or reset",
			rpcregistry.ErrBadArguments)
	}
	return i.ChangeLimits(ctx, l.Queue, l.apply)
}

// setRate changes a rate and its burst, if these are not nil.
func setRate(to, rate *tasks.Rate, burst *int, none string) error {
	if rate != nil {
		*to = rate.KeepBurst(*to)
	}
	if burst == nil {
		return nil
	}
	if to.Tasks == 0 {
		return fmt.Errorf("%w: %s", rpcregistry.ErrBadArguments, none)
	}
	to.Burst = *burst
	return nil
}

// apply changes in to the limits that l gives. The error is an ErrBadArguments.
func (l QueueLimits) apply(to *tasks.Limits) error {
	set(&to.Concurrency, l.Concurrency)
	set(&to.Tasks, l.Tasks)
	set(&to.Bytes, l.Bytes)
	set(&to.PerGroup, l.PerGroup)
	if l.Strict != nil {
		if to.Strict && !*l.Strict && l.PerGroup == nil {
			to.PerGroup = 0 // that was implied
		}
		to.Strict = *l.Strict
	}
	if err := errors.Join(
		setRate(&to.Rate, l.Rate, l.Burst, "burst: the queue has no rate"),
		setRate(&to.GroupRate, l.GroupRate, l.GroupBurst, "groupBurst: the queue's groups have no rate"),
	); err != nil {
		return err
	}
	if min(to.Concurrency, to.Tasks, to.PerGroup) < 0 || to.Bytes < 0 {
		return fmt.Errorf("%w: limits cannot be negative; 0 is none", rpcregistry.ErrBadArguments)
	}
	return nil
}
