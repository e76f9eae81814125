package runner

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker/internal/queue"
	"github.com/stellarfw/stellar/worker/tasks"
)

// lateness is how late a tick may be and still run without CatchUp.
const lateness = time.Minute

// Ticker enqueues the periodic tasks of an app when they are due, and keeps the
// limits of its queues on Redis and what these limits count. Every process has one and none leads: all compute
// the same ticks, and a tick is a task with an id of its own, which is accepted once.
type Ticker struct {
	store    queue.Store
	periodic []tasks.Periodic
	queues   map[string]string // the queues of the periodic tasks, by the name of the task
	limits   map[string]queue.Limits
	noted    time.Time // when the periodic tasks were last noted as registered, on this process's clock
	log      zerolog.Logger
	// Reports logs failures of Redis; set it before Serve. Default: the ticker's own reports.
	Reports *link.Reports
	// Observer, when set, is notified of the ticks. Set it before Serve.
	Observer tasks.Observer
}

// NewTicker returns a ticker for the periodic tasks and limits of a registry.
func NewTicker(c redis.UniversalClient, k link.Keys, r *tasks.Registry, log zerolog.Logger) *Ticker {
	t := &Ticker{
		store: queue.NewStore(c, k), periodic: r.Periodic(), queues: map[string]string{}, limits: r.Limits(),
		log: log, Reports: link.NewReports(log),
	}
	for _, p := range t.periodic {
		definition, _ := r.Definition(p.Task)
		t.queues[p.Task] = cmp.Or(definition.Queue, tasks.DefaultQueue)
	}
	return t
}

// Serve enqueues the tasks of ticks until ctx ends, and returns ctx's cause. While Redis is
// not available it retries. Of the ticks missed meanwhile only the last is enqueued, and
// only if it is at most a minute late or the periodic task has CatchUp.
func (t *Ticker) Serve(ctx context.Context) error {
	defer t.Reports.Ended("ticker")
	for failures := 0; ctx.Err() == nil; {
		wait, err := t.round(ctx)
		if ctx.Err() == nil {
			t.Reports.Failed("ticker", err)
		}
		if err != nil {
			failures++
			wait = min(wait, link.Pause(failures))
		} else {
			failures = 0
		}
		_ = link.Sleep(ctx, wait)
	}
	return context.Cause(ctx)
}

// round writes the limits of queues, weighs what is to be weighed, enqueues due periodic
// tasks and returns how long until the next tick, at most [moveInterval], so that a definition lost with Redis's data is
// soon written again. An error of one queue's keys does not keep the others back.
func (t *Ticker) round(ctx context.Context) (time.Duration, error) {
	wait := moveInterval
	var errs []error
	for name, l := range t.limits {
		if _, err := t.store.SetQueue(ctx, name, "program", l.String()); err != nil {
			errs = append(errs, err)
			if link.IsOutage(err) {
				return wait, errors.Join(errs...)
			}
		}
	}
	if err := t.store.Weigh(ctx); err != nil {
		errs = append(errs, err)
		if link.IsOutage(err) {
			return wait, errors.Join(errs...)
		}
	}
	var now time.Time // on Redis's clock
	var names []string
	for i := range t.periodic {
		p := &t.periodic[i]
		s, err := t.enqueueDue(ctx, p)
		if err != nil {
			errs = append(errs, fmt.Errorf("periodic task %s: %w", p.Name, err))
			if link.IsOutage(err) {
				break
			}
			continue
		}
		now, names = s.Now, append(names, p.Name)
		if next := p.Schedule.Next(s.Now); !next.IsZero() {
			wait = min(wait, next.Sub(s.Now)-time.Since(s.Asked))
		}
	}
	if len(names) > 0 && time.Since(t.noted) >= tasks.RegisteredEvery {
		if err := t.store.NoteRegistered(ctx, names, now); err != nil {
			errs = append(errs, err)
		} else {
			t.noted = time.Now()
		}
	}
	return max(wait, time.Millisecond), errors.Join(errs...)
}

// enqueueDue enqueues one periodic task if it is due.
func (t *Ticker) enqueueDue(ctx context.Context, p *tasks.Periodic) (queue.Ticked, error) {
	s, err := t.tick(ctx, p, time.Time{}, queue.TickFirst)
	if err != nil {
		return s, err
	}
	if !s.Ahead.IsZero() {
		t.log.Warn().Str("periodic", p.Name).Time("last", s.Ahead).Time("now", s.Now).
			Msg("the last tick of a periodic task lay in the future: Redis's clock was ahead; its ticks go on from now")
	}
	due := p.Schedule.Last(s.Last, s.Now)
	if due.IsZero() {
		return s, nil
	}
	verb := queue.TickRun
	if !p.CatchUp && s.Now.Sub(due) > lateness {
		verb = queue.TickSkip
	}
	s, err = t.tick(ctx, p, due, verb)
	if err != nil || !s.Did {
		return s, err
	}
	result := tasks.TickMissed
	if verb == queue.TickRun && !s.LeftOut {
		result = tasks.TickEnqueued
		t.log.Debug().Str("periodic", p.Name).Time("tick", due).Msg("periodic task enqueued")
	}
	if t.Observer != nil {
		t.Observer.Ticked(tasks.Tick{Name: p.Name, Task: p.Task, Queue: t.queues[p.Task], Result: result, Due: due, Late: s.Now.Sub(due)})
	}
	return s, nil
}

// tick sends a tick with its verb and the task's definition to Redis.
func (t *Ticker) tick(ctx context.Context, p *tasks.Periodic, tick time.Time, verb string) (queue.Ticked, error) {
	payload, _ := p.Payload.(json.RawMessage)
	definition := queue.Periodic{
		Task: p.Task, Queue: t.queues[p.Task], Schedule: p.Schedule.String(), Payload: payload, CatchUp: p.CatchUp,
	}
	return t.store.Tick(ctx, p.Name, tick, verb, definition)
}
