package tasks

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker/internal/queue"
)

// PeriodicInfo describes a periodic task.
type PeriodicInfo struct {
	Name     string          `json:"name"`
	Task     string          `json:"task"`
	Queue    string          `json:"queue"`
	Schedule Schedule        `json:"schedule"`
	Payload  json.RawMessage `json:"payload"`
	CatchUp  bool            `json:"catchUp"`
	Paused   bool            `json:"paused"`
	// Last is the last tick, enqueued or left out; when the task was resumed, if no tick
	// was due since; zero before the first tick.
	Last time.Time `json:"lastAt,omitzero"`
	Next time.Time `json:"nextAt,omitzero"` // the next tick; zero while the task is paused
	// Registered is when a program that registers the task was last seen; zero if only older
	// programs register it, which do not tell.
	Registered time.Time `json:"registeredAt,omitzero"`
	// Set: it was set at run time ([Client.SetPeriodic]). Overruled: it was, but a running program
	// registers a periodic task of that name, whose definition counts and is shown.
	Set       bool `json:"set,omitempty"`
	Overruled bool `json:"overruled,omitempty"`
	// Orphaned: no program has registered the task for a minute, so that it does not tick.
	Orphaned bool `json:"orphaned,omitempty"`
}

// RegisteredEvery is how often a program notes that it registers its periodic tasks.
const RegisteredEvery = 20 * time.Second

// Periodic returns all periodic tasks that were set or that some process has registered, by name.
// A periodic task that no program registers any more stays until [Inspector.RemovePeriodic].
func (i *Inspector) Periodic(ctx context.Context) ([]PeriodicInfo, error) {
	all, err := i.store.Periodic(ctx)
	if err != nil {
		return nil, fmt.Errorf("periodic tasks: %w", err)
	}
	infos := make([]PeriodicInfo, len(all))
	for n, k := range all {
		infos[n] = PeriodicInfo{
			Name: k.Name, Task: k.Task, Queue: k.Queue, Payload: k.Payload, CatchUp: k.CatchUp,
			Paused: k.Paused, Last: k.Last, Registered: k.Registered,
			Set: k.Set, Overruled: k.Set && k.Runs,
			Orphaned: !k.Set && !k.Registered.IsZero() && !k.Lately,
		}
		_ = infos[n].Schedule.UnmarshalText([]byte(k.Schedule)) // it never fails
		if s := infos[n].Schedule; s.Err() == nil && !k.Paused {
			if next := s.Next(k.Since); !next.After(queue.Latest()) {
				infos[n].Next = next
			}
		}
	}
	return infos, nil
}

// ErrRegistered says that a running program registers a periodic task of that name, and its definition
// counts.
var ErrRegistered = queue.ErrRegistered

// SetPeriodic sets a periodic task at run time, or changes it. It is kept on Redis until
// [Inspector.RemovePeriodic], and every node of the cluster ticks it. The task waits in the queue of
// its definition, as the client knows it now. With another schedule than before, the periodic
// task ticks from now on.
//
// The definition of a running program counts where both have the same name: the error is
// [ErrRegistered]. If such a program starts later, [PeriodicInfo].Overruled says so. A program has ended when Redis has lost
// its connection: at once if its process ends, within a minute if its host is cut off. The error for a task that no
// program has defined is that of [Client.Enqueue].
func (c *Client) SetPeriodic(ctx context.Context, p Periodic) error {
	if err := p.complete(); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if err := c.learn(ctx, []Request{{Name: p.Task}}); err != nil {
		return fmt.Errorf("set periodic task %s: %w", p.Name, err)
	}
	definition, known := c.definitionOf(p.Task, &Options{})
	if !known && c.strict {
		return fmt.Errorf("set periodic task %s: %w", p.Name, ErrUndefined)
	}
	payload, _ := p.Payload.(json.RawMessage)
	err := c.store.SetPeriodic(ctx, p.Name, queue.Periodic{
		Task: p.Task, Queue: cmp.Or(definition.Queue, DefaultQueue), Schedule: p.Schedule.String(), Payload: payload, CatchUp: p.CatchUp,
	})
	if err != nil {
		return fmt.Errorf("set periodic task %s: %w", p.Name, err)
	}
	return nil
}

// RunPeriodic enqueues the task of a periodic task now, even if it is paused. The ticks do
// not change. The error is [ErrNotFound] if no process has registered the periodic task.
func (c *Client) RunPeriodic(ctx context.Context, name string) (Receipt, error) {
	text, err := c.redis.HGet(ctx, c.keys.Definitions(), name).Result()
	if errors.Is(err, redis.Nil) {
		return Receipt{}, fmt.Errorf("run periodic task %s: %w", name, ErrNotFound)
	}
	if err != nil {
		return Receipt{}, fmt.Errorf("run periodic task %s: %w", name, link.Explain(err))
	}
	var d queue.Periodic
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		return Receipt{}, fmt.Errorf("run periodic task %s: its definition cannot be read: %w", name, err)
	}
	return c.EnqueueWith(ctx, d.Task, d.Payload, Options{Queue: d.Queue, AnyName: true})
}

// PausePeriodic stops the ticks of a periodic task, or, with paused false, resumes them.
// The ticks of the pause are left out, with CatchUp too, whether processes ran or not. The error is [ErrNotFound] if no process has
// registered the periodic task.
func (i *Inspector) PausePeriodic(ctx context.Context, name string, paused bool) error {
	if paused {
		return i.changePeriodic(ctx, "pause", name, "1")
	}
	return i.changePeriodic(ctx, "resume", name, "")
}

// PastTick is what came of a tick of a periodic task.
type PastTick struct {
	Tick time.Time `json:"tickAt"` // when it was due
	At   time.Time `json:"at"`     // when a process noted it
	// What came of it: enqueued; missed (it was late, without CatchUp); paused; parked (left out, as an
	// earlier tick is parked); or duplicate (its task was there already).
	What string `json:"what"`
	// Late is for how long the tick had been due, in milliseconds.
	Late int64 `json:"lateMs"`
}

// PeriodicHistory returns the last 20 ticks of a periodic task, the oldest first. Of ticks that were
// missed together only the last is there. The error is [ErrNotFound] if it is not known.
func (i *Inspector) PeriodicHistory(ctx context.Context, name string) ([]PastTick, error) {
	ticks, known, err := i.store.PeriodicHistory(ctx, name)
	if err == nil && !known {
		err = ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("history of periodic task %s: %w", name, err)
	}
	past := make([]PastTick, len(ticks))
	for n, t := range ticks {
		past[n] = PastTick{t.Tick, t.At, t.What, t.At.Sub(t.Tick).Milliseconds()}
	}
	return past, nil
}

// RemovePeriodic removes a periodic task from Redis, also one that was set. A process that
// still registers the task writes it again within seconds.
func (i *Inspector) RemovePeriodic(ctx context.Context, name string) error {
	return i.changePeriodic(ctx, "remove", name, "remove")
}

func (i *Inspector) changePeriodic(ctx context.Context, verb, name, mark string) error {
	known, err := i.store.PausePeriodic(ctx, name, mark)
	if err != nil {
		return fmt.Errorf("%s periodic task %s: %w", verb, name, err)
	}
	if !known {
		return fmt.Errorf("%s periodic task %s: %w", verb, name, ErrNotFound)
	}
	kind := ChangeKind(verb)
	if verb == "remove" {
		kind = ChangeDelete
	}
	i.changed(ctx, Change{Kind: kind, Text: "periodic task " + name})
	return nil
}
