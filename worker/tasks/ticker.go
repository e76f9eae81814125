package tasks

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/redisbus/link"
)

// lateness is how late a tick may be and still run without CatchUp.
const lateness = time.Minute

// Ticker enqueues the periodic tasks of an app when they are due, and keeps the
// limits of its queues on Redis. Every process has one and none leads: all compute
// the same ticks, and a tick is a task with an id of its own, which is accepted once.
type Ticker struct {
	client    *Client
	inspector *Inspector
	periodic  []Periodic
	limits    map[string]Limits
	log       zerolog.Logger
	// Reports tells of Redis's failures; set it before Serve. Default some of its own.
	Reports *link.Reports
}

// NewTicker returns a ticker for the periodic tasks of a registry.
func NewTicker(c *Client, r *Registry, log zerolog.Logger) *Ticker {
	return &Ticker{client: c, inspector: NewInspector(c.redis, c.keys), periodic: r.periodic, limits: r.limits, log: log, Reports: link.NewReports(log)}
}

// tickState is a periodic task as Redis knows it.
type tickState struct {
	last    time.Time
	paused  bool
	did     bool // this call enqueued the tick
	now     time.Time
	askedAt time.Time
}

// Serve enqueues ticks until ctx ends. While Redis is away it waits; then the
// last of the ticks that were missed is still due, if it is not too late.
func (t *Ticker) Serve(ctx context.Context) error {
	if len(t.periodic)+len(t.limits) == 0 {
		<-ctx.Done()
		return context.Cause(ctx)
	}
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

// round enqueues what is due and returns how long until the next tick, at most
// [moveInterval], so that a definition lost with Redis's data is soon back. What is
// wrong with one queue's keys does not hold up the rest.
func (t *Ticker) round(ctx context.Context) (time.Duration, error) {
	wait := moveInterval
	var errs []error
	for queue, l := range t.limits {
		if _, err := t.inspector.setQueue(ctx, queue, "program", l.String()); err != nil {
			errs = append(errs, err)
			if link.IsOutage(err) {
				return wait, errors.Join(errs...)
			}
		}
	}
	for i := range t.periodic {
		p := &t.periodic[i]
		s, err := t.enqueueDue(ctx, p)
		if err != nil {
			errs = append(errs, err)
			if link.IsOutage(err) {
				break
			}
			continue
		}
		if next := p.Schedule.next(s.now); !next.IsZero() {
			wait = min(wait, next.Sub(s.now)-time.Since(s.askedAt))
		}
	}
	return max(wait, time.Millisecond), errors.Join(errs...)
}

// enqueueDue enqueues one periodic task if it is due.
func (t *Ticker) enqueueDue(ctx context.Context, p *Periodic) (tickState, error) {
	s, err := t.ask(ctx, p, time.Time{}, "first")
	if err != nil {
		return s, err
	}
	due := p.Schedule.last(s.last, s.now)
	if due.IsZero() {
		return s, nil
	}
	verb := "run"
	if !p.CatchUp && s.now.Sub(due) > lateness {
		verb = "skip"
	}
	s, err = t.ask(ctx, p, due, verb)
	if err == nil && s.did {
		t.log.Debug().Str("periodic", p.Name).Time("tick", due).Msg("periodic task enqueued")
	}
	return s, err
}

// ask runs tick.lua.
func (t *Ticker) ask(ctx context.Context, p *Periodic, tick time.Time, verb string) (tickState, error) {
	c := t.client
	task, err := c.prepare(p.Task, p.Payload, Options{ID: p.Name + ":" + strconv.FormatInt(max(tick.UnixMilli(), 0), 10)})
	if err != nil {
		return tickState{}, fmt.Errorf("periodic task %s: %w", p.Name, err)
	}
	asked := time.Now()
	args := append([]any{p.Name, max(tick.UnixMilli(), 0), verb, p.definition(task)}, task.group(1)...)
	reply, err := tickScript.Run(ctx, c.redis, []string{c.keys.Tasks()}, append(args, task.id, task.tail)...).Slice()
	if err != nil {
		return tickState{}, fmt.Errorf("periodic task %s: %w", p.Name, link.Explain(err))
	}
	if len(reply) != 4 {
		return tickState{}, fmt.Errorf("periodic task %s: %w", p.Name, protocolError(reply))
	}
	last, _ := reply[0].(string)
	paused, _ := reply[1].(string)
	did, _ := reply[2].(int64)
	now, _ := reply[3].(string)
	return tickState{last: millis(last), paused: paused != "", did: did == 1, now: millis(now), askedAt: asked}, nil
}

func millis(s string) time.Time {
	ms, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}
