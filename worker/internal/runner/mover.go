package runner

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker/internal/queue"
	"github.com/stellarfw/stellar/worker/tasks"
)

// Bounds of a mover's work: how many tasks one script moves, and the longest time between
// two looks at Redis. A hint about a new delayed task may be lost, and places.lua sends
// none for a task that is due later than that.
const (
	moveBatch    = 500
	moveInterval = 5 * time.Second
)

// forgottenEvery is how often a mover looks for tasks that no node may run. It warns of those
// that it finds twice: nodes may be starting.
const forgottenEvery = 20 * time.Second

// Mover moves delayed tasks to their queues when they are due, forgets old ended tasks, and
// wakes idle nodes for queues with tasks. It warns of tasks that no node may run. Every process has a mover. There is no leader:
// one running mover is enough for the cluster.
type Mover struct {
	store queue.Store
	log   zerolog.Logger
	heard chan struct{}

	broken []string // keys of a wrong type that the last look passed over

	// OnCancel, when set, is called with the ids of running tasks, on any node, whose
	// cancellation was requested; perhaps repeatedly. Set it before Serve.
	OnCancel func(ids []string)
	// Observer, when set, is notified of the tasks that end because the mover forgets a
	// task that they follow. Set it before Serve.
	Observer tasks.Observer
	// Reports logs failures of Redis. Default: the mover's own reports.
	Reports *link.Reports
	// Warnings bounds the warnings of the process. Default: the mover's own.
	Warnings *Warnings

	inspector *tasks.Inspector
	looked    time.Time                    // when it last looked for forgotten tasks
	forgotten map[tasks.Forgotten]struct{} // found then, without their numbers
}

// moving and a key name in reports the moves that pass over a key of a wrong type.
const moving = "moves from "

// NewMover returns a mover. Call [Mover.Look] when a task is announced on [link.Keys.Due].
func NewMover(c redis.UniversalClient, k link.Keys, log zerolog.Logger) *Mover {
	return &Mover{
		store: queue.NewStore(c, k), inspector: tasks.NewInspector(c, k), log: log, heard: make(chan struct{}, 1),
		Reports: link.NewReports(log), Warnings: &Warnings{},
	}
}

// Look makes the mover look at once for due tasks and for the time of the next one.
func (m *Mover) Look() {
	select {
	case m.heard <- struct{}{}:
	default:
	}
}

// Serve moves due tasks until ctx ends, and returns ctx's cause. Failures of Redis are
// logged and retried.
func (m *Mover) Serve(ctx context.Context) error {
	defer func() {
		m.Reports.Ended("mover")
		for _, key := range m.broken {
			m.Reports.Ended(moving + key)
		}
	}()
	m.store.OnEnd = OnEnd(m.Observer)
	for failures := 0; ctx.Err() == nil; {
		more, wait, err := m.move(ctx)
		if err == nil {
			err = m.warnForgotten(ctx)
		}
		if ctx.Err() == nil {
			m.Reports.Failed("mover", err)
		}
		switch {
		case err != nil:
			failures++
			wait = link.Pause(failures)
		case more:
			failures, wait = 0, 0
		default:
			failures = 0
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-m.heard:
			t.Stop()
		case <-ctx.Done():
			t.Stop()
		}
	}
	return context.Cause(ctx)
}

// move moves the tasks that are due. It returns whether more tasks may be due, and how
// long to wait until the next look.
func (m *Mover) move(ctx context.Context) (more bool, wait time.Duration, err error) {
	moved, err := m.store.MoveDue(ctx, moveBatch, tasks.KeepDeadFor, tasks.KeepDead)
	if err != nil {
		return false, 0, fmt.Errorf("move delayed tasks: %w", err)
	}
	for _, key := range m.broken {
		if !slices.Contains(moved.Broken, key) {
			m.Reports.Works(moving + key)
		}
	}
	for _, key := range moved.Broken {
		m.Reports.Failed(moving+key, &link.WrongTypeError{Key: key})
	}
	m.broken = moved.Broken
	if len(moved.Asked) > 0 && m.OnCancel != nil {
		m.OnCancel(moved.Asked)
	}
	if moved.Dropped > 0 {
		m.log.Warn().Int64("dropped", moved.Dropped).Int("kept", tasks.KeepDead).Msg("the oldest dead tasks were forgotten: there are too many")
	}
	if !moved.HasNext {
		return moved.More, moveInterval, nil // nothing is delayed
	}
	return moved.More, min(moved.Next, moveInterval), nil
}

// warnForgotten warns of tasks that no node may run, from time to time.
func (m *Mover) warnForgotten(ctx context.Context) error {
	if time.Since(m.looked) < forgottenEvery {
		return nil
	}
	m.looked = time.Now()
	all, err := m.inspector.Forgotten(ctx)
	if err != nil {
		return err
	}
	before := m.forgotten
	m.forgotten = map[tasks.Forgotten]struct{}{}
	for _, f := range all {
		n := f.Tasks
		f.Tasks = 0
		m.forgotten[f] = struct{}{}
		if _, again := before[f]; !again || !m.Warnings.due("forgotten "+f.Queue+" "+f.Name) {
			continue
		}
		if f.Name == "" {
			m.log.Warn().Str("queue", f.Queue).Int64("tasks", n).
				Msg("tasks wait in a queue that no live node serves: start a node that does, or delete the queue")
			continue
		}
		m.log.Warn().Str("name", f.Name).Str("queue", f.Queue).Int64("tasks", n).
			Msg("tasks are parked: no node that looked at them handles their name; start a program that does, or cancel them")
	}
	return nil
}
