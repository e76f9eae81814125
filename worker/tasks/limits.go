package tasks

import (
	"context"
	"errors"
	"fmt"

	"github.com/stellarfw/stellar/worker/internal/queue"
)

// Limits of a queue over the whole cluster; 0 is none. Set by a program with
// [Registry.LimitQueue], or by an operator with [Inspector.LimitQueue], whose word wins.
type Limits struct {
	// Concurrency is how many of its tasks run at a time.
	Concurrency int `json:"concurrency"`
	// Tasks is how many wait for their turn or time, or run; those that are
	// parked or follow others do not count. More are refused with [ErrQueueFull].
	Tasks int `json:"tasks"`
	// Bytes of the records of its stored tasks (payload, name and about 20 bytes
	// each). More are refused with [ErrQueueFull].
	Bytes int64 `json:"bytes"`
}

func (l Limits) validate(queue string) error {
	err := checkName("queue", queue)
	if l.Concurrency < 0 || l.Tasks < 0 || l.Bytes < 0 {
		err = errors.Join(err, fmt.Errorf("%w: limits of queue %s cannot be negative; 0 is none", ErrInvalid, queue))
	}
	return err
}

// PauseQueue keeps a queue's tasks from being claimed, or lets them go again.
// Those in hand go on, and new ones are accepted.
func (i *Inspector) PauseQueue(ctx context.Context, name string, paused bool) error {
	verb := "resume"
	if paused {
		verb = "pause"
	}
	_, err := i.setQueue(ctx, name, verb, "")
	return err
}

// LimitQueue sets an operator's limits of a queue and returns those that are in
// effect now. They win over what a program set; nil takes both back, and running
// programs set theirs again within seconds. Where there was no bound on bytes, all tasks of the queue are
// weighed: a millisecond for about a thousand of them.
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

// DeleteQueue deletes a queue's tasks that do not run, and the queue itself if
// none does. It returns how many it deleted. Tasks that wait for others
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
