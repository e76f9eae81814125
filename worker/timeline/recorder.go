package timeline

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/redisbus/link"
)

const (
	// gather is how long an event waits for others of its kind, and for those to be written
	// with it.
	gather = time.Second
	// neighbour is how much later an event may be due that is written with another one.
	neighbour = 100 * time.Millisecond
	// A kind of event with the same text is written mostInRow times in a period of foldTime.
	// What follows waits until the period is over, as one event with a count.
	mostInRow = 5
	foldTime  = time.Minute
	// maxQueued is how many events wait. Beyond it, further events are folded by their kinds
	// alone, and those of operators dropped and counted.
	maxQueued = 200
	// maxBatch is how many events one request has.
	maxBatch = 50
	// lastTime bounds the last request of a process that ends.
	lastTime = time.Second
)

// Recorder writes the events of a process. It sends nothing while nothing happens. Make one with
// [NewRecorder], and run [Recorder.Serve]. Its methods are safe for concurrent use, and nil
// records nothing.
type Recorder struct {
	// Reports logs when events cannot be written. Set it before Serve.
	Reports *link.Reports

	writer
	process Process
	log     zerolog.Logger
	wake    chan struct{} // has capacity 1

	sending sync.Mutex // one request at a time; it guards batch, again and numbers
	batch   []*noted   // taken from the queue and not known to be written
	again   bool       // some of batch may have been written
	numbers int64

	mu     sync.Mutex
	queue  []*queued // in the order of their first events
	open   map[string]*queued
	rates  map[string]*rate
	stacks map[string]struct{} // reasons of crashes whose stack was recorded
}

// queued is an event that waits, perhaps for others of its kind.
type queued struct {
	noted

	key string
	due time.Time
}

// rate is how often an event was written in a period.
type rate struct {
	since time.Time
	times int
}

// NewRecorder returns a recorder of the process's events.
func NewRecorder(c redis.UniversalClient, keys link.Keys, process Process, log zerolog.Logger) *Recorder {
	return &Recorder{
		writer: newWriter(c, keys), process: process, log: log, wake: make(chan struct{}, 1),
		open: map[string]*queued{}, rates: map[string]*rate{}, stacks: map[string]struct{}{},
	}
}

// Record records that something happens now. It never waits.
func (r *Recorder) Record(e Event) { r.RecordAt(time.Now(), e) }

// RecordAt is [Recorder.Record] of something that happened, or began, at a time of this process.
func (r *Recorder) RecordAt(at time.Time, e Event) {
	if r == nil {
		return
	}
	e = e.bounded()
	if e.Process == (Process{}) {
		e.Process = r.process
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dropStack(&e)
	key := foldKey(e)
	if r.join(key, e, at) {
		return
	}
	if len(r.queue) >= maxQueued {
		if key == "" {
			e = Event{Kind: Lost, Count: 1, Process: r.process, Text: "a process had too many events at once"}
		}
		if key = string(e.Kind); r.join(key, e, at) {
			return
		}
	}
	q := &queued{noted: noted{Event: e, first: at, last: at}, key: key, due: r.due(key, time.Now())}
	r.queue = append(r.queue, q)
	if key != "" {
		r.open[key] = q
	}
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// dropStack drops the stack of a crash whose reason has been recorded with one.
func (r *Recorder) dropStack(e *Event) {
	if e.Stack == "" {
		return
	}
	if _, known := r.stacks[e.Text]; known {
		e.Stack = ""
		return
	}
	if len(r.stacks) >= maxQueued {
		clear(r.stacks) // the reasons differ every time: bound the memory
	}
	r.stacks[e.Text] = struct{}{}
}

// foldKey returns what events have in common that count as repetitions, "" for one that
// an operator asked for.
func foldKey(e Event) string {
	switch e.Kind {
	case Join, Leave, Restart, LeaseLost:
		return string(e.Kind)
	case TakeOver, Quarantine, Crash, Died, Redis, Refused:
		return string(e.Kind) + "\n" + e.Queue + "\n" + e.Text
	case Scale, Roll, Reload, Upgrade, Quiet, Pause, Resume, Limit, Delete, Cancel, Retry, Deploy, Mark, Flapping, Lost:
	}
	return ""
}

// join adds an event to one that waits, and reports whether there was one.
func (r *Recorder) join(key string, e Event, at time.Time) bool {
	q := r.open[key]
	if q == nil || key == "" {
		return false
	}
	q.last = at
	q.Count, q.Tasks, q.Quarantined, q.Took = q.Count+e.Count, q.Tasks+e.Tasks, q.Quarantined+e.Quarantined, max(q.Took, e.Took)
	q.Stack = cmp.Or(q.Stack, e.Stack)
	for _, node := range e.Nodes {
		if len(q.Nodes) < maxNodes && !slices.Contains(q.Nodes, node) {
			q.Nodes = append(slices.Clip(q.Nodes), node)
		}
	}
	return true
}

// due returns when an event is to be written.
func (r *Recorder) due(key string, now time.Time) time.Time {
	if key == "" {
		return now.Add(gather)
	}
	if len(r.rates) >= maxQueued {
		for key, of := range r.rates {
			if now.Sub(of.since) >= foldTime {
				delete(r.rates, key)
			}
		}
	}
	of := r.rates[key]
	if of == nil || now.Sub(of.since) >= foldTime {
		of = &rate{since: now}
		if len(r.rates) < 2*maxQueued {
			r.rates[key] = of
		}
	}
	if of.times++; of.times <= mostInRow {
		return now.Add(gather)
	}
	return of.since.Add(foldTime)
}

// Serve writes what is recorded, until ctx ends: then it writes what is left.
func (r *Recorder) Serve(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	failures := 0
	for {
		select {
		case <-r.wake:
		case <-timer.C:
		case <-ctx.Done():
			r.finish(ctx)
			return context.Cause(ctx)
		}
		next, err := r.send(ctx, false)
		if err == nil {
			failures = 0
			r.Reports.Works("timeline")
		} else if ctx.Err() == nil {
			failures++
			if failures >= link.FewTries {
				r.Reports.Failed("timeline", err)
			}
			next = link.Pause(failures)
		}
		timer.Stop()
		if next > 0 {
			timer.Reset(next)
		}
	}
}

// finish writes everything that waits, and says how much of it is lost.
func (r *Recorder) finish(ctx context.Context) {
	r.Reports.Ended("timeline")
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTime)
	defer cancel()
	if err := r.Flush(ctx); err != nil {
		r.sending.Lock()
		defer r.sending.Unlock()
		r.mu.Lock()
		defer r.mu.Unlock()
		lost := len(r.queue) + len(r.batch)
		r.log.Warn().Err(err).Int("events", lost).Msg("the last events of this process are not in the timeline: Redis did not take them")
	}
}

// Flush writes everything that waits now.
func (r *Recorder) Flush(ctx context.Context) error {
	for {
		if left, err := r.send(ctx, true); err != nil || left == 0 {
			return err
		}
	}
}

// send writes the events that are due, or with all any, and returns how long the next one has to
// wait, 0 if there is none.
func (r *Recorder) send(ctx context.Context, all bool) (time.Duration, error) {
	r.sending.Lock()
	defer r.sending.Unlock()
	for {
		if len(r.batch) == 0 {
			r.batch, r.again = r.take(all), false
		}
		if len(r.batch) == 0 {
			return r.wait(), nil
		}
		err := r.write(ctx, r.batch, r.again)
		if err != nil && !fatal(err) {
			r.again = r.again || link.OutcomeOf(err) != link.DidNotRun
			return 0, err
		}
		if err != nil {
			r.log.Error().Err(err).Int("events", len(r.batch)).Msg("events that cannot be written are dropped")
		}
		r.batch = nil
	}
}

// fatal reports whether an event cannot be encoded: another try would fail as well.
func fatal(err error) bool {
	_, redisError := errors.AsType[redis.Error](err)
	return link.OutcomeOf(err) == link.Ran && !redisError && !link.IsOutage(err)
}

// take takes some events that are due, or with all any, from the queue.
func (r *Recorder) take(all bool) []*noted {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	var batch []*noted
	r.queue = slices.DeleteFunc(r.queue, func(q *queued) bool {
		if len(batch) == maxBatch || !all && q.due.After(now.Add(neighbour)) {
			return false
		}
		if r.open[q.key] == q {
			delete(r.open, q.key)
		}
		r.numbers++
		q.number = r.numbers
		batch = append(batch, &q.noted)
		return true
	})
	return batch
}

// wait returns how long the next event has to wait, 0 if there is none.
func (r *Recorder) wait() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) == 0 {
		return 0
	}
	next := slices.MinFunc(r.queue, func(a, b *queued) int { return a.due.Compare(b.due) })
	return max(time.Until(next.due), time.Millisecond)
}
