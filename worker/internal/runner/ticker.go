package runner

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
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
	periodic []periodic // of the registry
	limits   map[string]queue.Limits
	program  atomic.Pointer[string]
	known    bool      // the periodic tasks were noted with the program
	noted    time.Time // when the periodic tasks were last noted as registered, on this process's clock
	defaults Defaults
	unfit    map[string]string // the last definition that was set for a name and does not count here, once logged
	woken    chan struct{}
	hints    link.Pace
	log      zerolog.Logger
	// Reports logs failures of Redis; set it before Serve. Default: the ticker's own reports.
	Reports *link.Reports
	// Observer, when set, is notified of the ticks. Set it before Serve.
	Observer tasks.Observer
}

// periodic is a periodic task, and its definition as Redis stores it.
type periodic struct {
	tasks.Periodic

	definition queue.Periodic
}

// NewTicker returns a ticker for the periodic tasks and limits of a registry.
func NewTicker(c redis.UniversalClient, k link.Keys, r *tasks.Registry, log zerolog.Logger) *Ticker {
	t := &Ticker{
		store: queue.NewStore(c, k), limits: r.Limits(), unfit: map[string]string{}, woken: make(chan struct{}, 1),
		log: log, Reports: link.NewReports(log),
	}
	for _, p := range r.Periodic() {
		definition, _ := r.Definition(p.Task)
		payload, _ := p.Payload.(json.RawMessage)
		t.periodic = append(t.periodic, periodic{p, queue.Periodic{
			Task: p.Task, Queue: cmp.Or(definition.Queue, tasks.DefaultQueue), Schedule: p.Schedule.String(), Payload: payload, CatchUp: p.CatchUp,
		}})
	}
	return t
}

// Defaults are those of the queues, which the ticker reads.
func (t *Ticker) Defaults() *Defaults { return &t.defaults }

// Learn reads the defaults of the queues.
func (t *Ticker) Learn(ctx context.Context) error {
	all, err := t.store.AllDefaults(ctx)
	if err == nil {
		t.defaults.set(all)
	}
	return err
}

// Look has the ticker look at once for what was set. As anybody may ask for it, it
// does not look again and again.
func (t *Ticker) Look() { t.hints.Do(func() { signal(t.woken) }) }

// Listens says that the program listens to its channel ([link.Keys.Program]): its periodic tasks count as long as it does.
func (t *Ticker) Listens(program string) {
	t.program.Store(&program)
	signal(t.woken)
}

// note notes every now and then that the program registers its periodic tasks.
func (t *Ticker) note(ctx context.Context, names []string, now time.Time) error {
	id := t.program.Load()
	if fresh := time.Since(t.noted) < tasks.RegisteredEvery; len(names) == 0 || fresh && t.known == (id != nil) {
		return nil
	}
	program := ""
	if id != nil {
		program = *id
	}
	err := t.store.NoteRegistered(ctx, program, names, now)
	if err == nil && id != nil && !t.known {
		err = t.store.ForgetPrograms(ctx, now)
	}
	if err == nil {
		t.noted, t.known = time.Now(), id != nil
	}
	return err
}

// all returns the registered periodic tasks, then those that were set at run time. A registered
// one counts where both have the same name.
func (t *Ticker) all(ctx context.Context) ([]periodic, error) {
	set, err := t.store.PeriodicSet(ctx)
	all := slices.Clip(t.periodic)
	for _, name := range slices.Sorted(maps.Keys(set)) {
		d := set[name]
		p := periodic{tasks.Periodic{Name: name, Task: d.Task, Payload: d.Payload, CatchUp: d.CatchUp}, d}
		_ = p.Schedule.UnmarshalText([]byte(d.Schedule)) // it never fails
		switch valid := p.Schedule.Err(); {
		case slices.ContainsFunc(t.periodic, func(own periodic) bool { return own.Name == name }):
			t.passOver(name, d.Text, "a periodic task was set that this program registers: the program's own definition counts", nil)
		case valid != nil:
			t.passOver(name, d.Text, "a periodic task that was set does not tick on this host", valid)
		default:
			all = append(all, p)
		}
	}
	return all, err
}

// passOver logs once that a definition does not count here.
func (t *Ticker) passOver(name, text, why string, err error) {
	if t.unfit[name] != text {
		t.unfit[name] = text
		t.log.Warn().Err(err).Str("periodic", name).Msg(why)
	}
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
		t.rest(ctx, wait)
	}
	return context.Cause(ctx)
}

// rest waits until the next round.
func (t *Ticker) rest(ctx context.Context, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.woken:
	case <-ctx.Done():
	}
}

// limit writes the limits of queues, and weighs what is to be weighed. It ends early when Redis is away.
func (t *Ticker) limit(ctx context.Context) (errs []error, outage bool) {
	for name, l := range t.limits {
		if _, err := t.store.SetQueue(ctx, name, "program", l.String()); err != nil {
			if errs = append(errs, err); link.IsOutage(err) {
				return errs, true
			}
		}
	}
	err := t.store.Weigh(ctx)
	if err != nil {
		errs = append(errs, err)
	}
	return errs, link.IsOutage(err)
}

// round writes the limits of queues, weighs what is to be weighed, enqueues due periodic
// tasks and returns how long until the next tick, at most [moveInterval], so that a definition lost with Redis's data is
// soon written again. An error of one queue's keys does not keep the others back.
func (t *Ticker) round(ctx context.Context) (time.Duration, error) {
	wait := moveInterval
	errs, outage := t.limit(ctx)
	if outage {
		return wait, errors.Join(errs...)
	}
	all, err := t.all(ctx)
	if err = errors.Join(err, t.Learn(ctx)); err != nil {
		errs = append(errs, err)
		if link.IsOutage(err) {
			return wait, errors.Join(errs...)
		}
	}
	var now time.Time // on Redis's clock
	var names []string
	for i := range all {
		p := &all[i]
		s, err := t.enqueueDue(ctx, p)
		if errors.Is(err, queue.ErrPeriodicOver) {
			continue
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("periodic task %s: %w", p.Name, err))
			if link.IsOutage(err) {
				break
			}
			continue
		}
		if p.definition.Text == "" {
			now, names = s.Now, append(names, p.Name)
		}
		if next := p.Schedule.Next(s.Now); !next.IsZero() {
			wait = min(wait, next.Sub(s.Now)-time.Since(s.Asked))
		}
	}
	if err := t.note(ctx, names, now); err != nil {
		errs = append(errs, err)
	}
	return max(wait, time.Millisecond), errors.Join(errs...)
}

// enqueueDue enqueues one periodic task if it is due.
func (t *Ticker) enqueueDue(ctx context.Context, p *periodic) (queue.Ticked, error) {
	s, err := t.store.Tick(ctx, p.Name, time.Time{}, queue.TickFirst, p.definition)
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
	s, err = t.store.Tick(ctx, p.Name, due, verb, p.definition)
	if err != nil || !s.Did {
		return s, err
	}
	result := tasks.TickMissed
	if verb == queue.TickRun && !s.LeftOut {
		result = tasks.TickEnqueued
		t.log.Debug().Str("periodic", p.Name).Time("tick", due).Msg("periodic task enqueued")
	}
	if t.Observer != nil {
		t.Observer.Ticked(tasks.Tick{Name: p.Name, Task: p.Task, Queue: p.definition.Queue, Result: result, Due: due, Late: s.Now.Sub(due)})
	}
	return s, nil
}
