package runner

import (
	"context"
	crand "crypto/rand"
	"fmt"
	"math/rand/v2"
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

// roundInterval is how often the responsible mover visits all queues, also those that nothing
// says that they have tasks: older versions do not say it. It costs Redis 5 µs a queue.
const roundInterval = time.Minute

// forgottenEvery is how often a mover looks for tasks that no node may run. It warns of those
// that it finds twice: nodes may be starting.
const forgottenEvery = 20 * time.Second

// Mover moves delayed tasks to their queues when they are due, forgets old ended tasks, wakes
// idle nodes for queues with tasks, and warns of tasks that no node may run. Every process has
// a mover, of which one at a time is responsible for the cluster. When that one ends, or does
// not look for a second longer than it promised, another takes its place: see lua/due.lua.
type Mover struct {
	store queue.Store
	log   zerolog.Logger
	id    string
	looks chan struct{} // to look at once
	dues  chan struct{} // a task will be due that the responsible mover may not know
	hints link.Pace     // of looks and dues

	responsible bool
	visited     time.Time       // when it last visited queues that have tasks
	round       string          // where the visits of all queues go on, "" between two rounds of these
	rounded     time.Time       // when the last round began
	broken      map[string]bool // keys of a wrong type, and whether this round has met them

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

// NewMover returns a mover. Call [Mover.Hint] when a task is announced on [link.Keys.Due], and
// [Mover.Look] for a message on [link.Keys.Look].
func NewMover(c redis.UniversalClient, k link.Keys, log zerolog.Logger) *Mover {
	return &Mover{
		store: queue.NewStore(c, k), log: log, id: crand.Text(), looks: make(chan struct{}, 1), dues: make(chan struct{}, 1),
		inspector: tasks.NewInspector(c, k), broken: map[string]bool{},
		Reports: link.NewReports(log), Warnings: &Warnings{},
	}
}

// Look makes the mover look at once. As anybody may ask for it, it does not look again and again.
func (m *Mover) Look() { m.hints.Do(func() { signal(m.looks) }) }

// Hint makes the responsible mover look at once for the time at which the next task is due.
// Another one finds out within a second or so whether that has happened.
func (m *Mover) Hint() { m.hints.Do(func() { signal(m.dues) }) }

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Serve moves due tasks until ctx ends, and returns ctx's cause. Failures of Redis are
// logged and retried.
func (m *Mover) Serve(ctx context.Context) error {
	defer func() {
		m.Reports.Ended("mover")
		for key := range m.broken {
			m.Reports.Ended(moving + key)
		}
	}()
	m.store.OnEnd = OnEnd(m.Observer)
	for failures := 0; ctx.Err() == nil; {
		wait, err := m.move(ctx)
		if err == nil && m.responsible {
			err = m.warnForgotten(ctx)
		}
		if ctx.Err() == nil {
			m.Reports.Failed("mover", err)
		}
		if err != nil {
			failures++
			wait = link.Pause(failures)
		} else {
			failures = 0
		}
		m.wait(ctx, wait)
	}
	m.leave(ctx)
	return context.Cause(ctx)
}

// wait waits until it is time to look again, or ctx ends.
func (m *Mover) wait(ctx context.Context, d time.Duration) {
	end := time.Now().Add(d)
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			return
		case <-m.looks:
			return
		case <-ctx.Done():
			return
		case <-m.dues:
			if m.responsible {
				return
			}
			if soon := spread(time.Second); time.Until(end) > soon {
				end = time.Now().Add(soon)
				t.Reset(soon)
			}
		}
	}
}

// spread returns d or a little more, so that processes that wait for the same do not all look
// at the same instant.
func spread(d time.Duration) time.Duration {
	return d + rand.N(250*time.Millisecond) //nolint:gosec // jitter
}

// leave lets another mover be responsible at once.
func (m *Mover) leave(ctx context.Context) {
	if !m.responsible {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 500*time.Millisecond)
	defer cancel()
	if err := m.store.Leave(ctx, m.id); err != nil {
		m.log.Debug().Err(err).Msg("another mover takes over within seconds")
	}
}

// move moves the tasks that are due, if this mover is responsible. It returns how long to
// wait until the next look.
func (m *Mover) move(ctx context.Context) (wait time.Duration, err error) {
	look := queue.Look{Mover: m.id, Most: moveBatch, KeepFor: tasks.KeepDeadFor, Keep: tasks.KeepDead}
	if m.responsible {
		look.Visit = m.visit()
	}
	moved, err := m.store.MoveDue(ctx, look)
	if err != nil {
		return 0, fmt.Errorf("move delayed tasks: %w", err)
	}
	if len(moved.Asked) > 0 && m.OnCancel != nil {
		m.OnCancel(moved.Asked)
	}
	if !moved.Responsible {
		m.responsible, m.round, m.forgotten = false, "", nil
		return spread(moved.Next), nil
	}
	if !m.responsible {
		m.responsible, m.rounded = true, time.Time{}
	}
	m.report(moved)
	if moved.More || m.round != "" || time.Since(m.rounded) >= roundInterval {
		return 0, nil
	}
	wait = max(moveInterval-time.Since(m.visited), 0)
	if moved.HasNext {
		wait = min(wait, moved.Next)
	}
	return wait, nil
}

// visit returns which queues a look visits.
func (m *Mover) visit() string {
	switch {
	case m.round != "":
		return m.round
	case time.Since(m.visited) >= moveInterval:
		m.visited = time.Now()
		return queue.VisitReady
	case time.Since(m.rounded) >= roundInterval:
		m.round, m.rounded = queue.VisitFirst, time.Now()
		return m.round
	default:
		return ""
	}
}

// report notes the visits of a look, and what else is to be told of it.
func (m *Mover) report(moved queue.Moved) {
	for _, key := range moved.Broken {
		m.Reports.Failed(moving+key, &link.WrongTypeError{Key: key})
		m.broken[key] = true
	}
	if moved.Dropped > 0 {
		m.log.Warn().Int64("dropped", moved.Dropped).Int("kept", tasks.KeepDead).Msg("the oldest dead tasks were forgotten: there are too many")
	}
	if moved.Visit == "" {
		return
	}
	if m.round = moved.Visit; m.round != queue.VisitFirst {
		return
	}
	m.round = ""
	for key, met := range m.broken { // those that this round did not meet have been mended
		if m.broken[key] = false; !met {
			delete(m.broken, key)
			m.Reports.Works(moving + key)
		}
	}
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
