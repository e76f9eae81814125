package tasks

import (
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
	// Orphaned: no running program registers the task, so that it does not tick.
	Orphaned bool `json:"orphaned,omitempty"`
}

// A program notes every RegisteredEvery that it registers its periodic tasks. One that nobody
// has noted for orphanedAfter is orphaned.
const (
	RegisteredEvery = 20 * time.Second
	orphanedAfter   = time.Minute
)

// Periodic returns all periodic tasks that some process has registered, by name.
// A periodic task that no program registers any more stays until [Inspector.RemovePeriodic].
func (i *Inspector) Periodic(ctx context.Context) ([]PeriodicInfo, error) {
	all, err := i.store.Periodic(ctx)
	if err != nil {
		return nil, fmt.Errorf("periodic tasks: %w", err)
	}
	now, err := i.redis.Time(ctx).Result()
	if err != nil {
		return nil, fmt.Errorf("periodic tasks: %w", link.Explain(err))
	}
	infos := make([]PeriodicInfo, len(all))
	for n, k := range all {
		infos[n] = PeriodicInfo{
			Name: k.Name, Task: k.Task, Queue: k.Queue, Payload: k.Payload, CatchUp: k.CatchUp,
			Paused: k.Paused, Last: k.Last, Registered: k.Registered,
			Orphaned: !k.Registered.IsZero() && now.Sub(k.Registered) > orphanedAfter,
		}
		_ = infos[n].Schedule.UnmarshalText([]byte(k.Schedule)) // it never fails
		if s := infos[n].Schedule; s.valid() == nil && !k.Paused {
			if next := s.Next(k.Since); !next.After(queue.Latest()) {
				infos[n].Next = next
			}
		}
	}
	return infos, nil
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

// RemovePeriodic removes a periodic task from Redis. A process that still registers the
// task writes it again within seconds.
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
	return nil
}
