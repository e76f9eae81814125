package tasks

import (
	"context"
	"errors"
	"fmt"

	"github.com/stellarfw/stellar/worker/internal/queue"
)

// Limits are the limits of a queue over the whole cluster; 0 means no limit. A program sets
// them with [Registry.LimitQueue], an operator with [Inspector.LimitQueue]. The operator's
// limits take precedence.
type Limits struct {
	// Concurrency is how many tasks of the queue run at a time.
	Concurrency int `json:"concurrency"`
	// Tasks is how many pending, delayed and running tasks the queue may have;
	// parked and blocked tasks do not count. Further tasks are refused with
	// [ErrQueueFull].
	Tasks int `json:"tasks"`
	// Bytes is the total size of the records of the queue's stored tasks (payload,
	// name and about 20 bytes each). Further tasks are refused with [ErrQueueFull].
	Bytes int64 `json:"bytes"`
}

func (l Limits) validate(queue string) error {
	err := checkName("queue", queue)
	if l.Concurrency < 0 || l.Tasks < 0 || l.Bytes < 0 {
		err = errors.Join(err, fmt.Errorf("%w: limits of queue %s cannot be negative; 0 is none", ErrInvalid, queue))
	}
	return err
}

// PauseQueue stops nodes from claiming a queue's tasks, or, with paused false, lets them
// claim again. Tasks that nodes have claimed go on, and new tasks are accepted.
func (i *Inspector) PauseQueue(ctx context.Context, name string, paused bool) error {
	verb := "resume"
	if paused {
		verb = "pause"
	}
	_, err := i.setQueue(ctx, name, verb, "")
	return err
}

// LimitQueue sets an operator's limits of a queue and returns the limits in effect. They
// take precedence over a program's limits. nil removes both; running programs set theirs
// again within seconds. If the queue had no limit on bytes before, LimitQueue counts the bytes
// of its tasks, some at a time, until it is done or ctx ends; running nodes go on with that.
// The limit counts at once, for the tasks that have been counted.
func (i *Inspector) LimitQueue(ctx context.Context, name string, l *Limits) (Limits, error) {
	if l == nil {
		return i.setQueue(ctx, name, "reset", "")
	}
	if err := l.validate(name); err != nil {
		return Limits{}, err
	}
	return i.setQueue(ctx, name, "operator", queue.Limits(*l).String())
}

func (i *Inspector) setQueue(ctx context.Context, name, verb, limits string) (Limits, error) {
	if err := checkName("queue", name); err != nil {
		return Limits{}, err
	}
	set, err := i.store.SetQueue(ctx, name, verb, limits)
	return Limits(set.Limits), err
}

// DeleteQueue deletes the tasks of a queue that do not run, and the queue itself if no task
// runs. It returns how many tasks it deleted. Tasks that wait for other tasks
// ([Options].After) stay.
func (i *Inspector) DeleteQueue(ctx context.Context, name string) (int, error) {
	if err := checkName("queue", name); err != nil {
		return 0, err
	}
	sum := 0
	for {
		n, more, err := i.store.Clear(ctx, name)
		sum += n
		if err != nil {
			return sum, fmt.Errorf("delete queue %s: %w", name, err)
		}
		if !more {
			return sum, nil
		}
	}
}
