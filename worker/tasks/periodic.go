package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
)

// periodicDefinition is a periodic task as Redis keeps it, for those who did not
// register it. Every process writes it again when it is not there.
type periodicDefinition struct {
	Task     string          `json:"task"`
	Queue    string          `json:"queue"`
	Schedule Schedule        `json:"schedule"`
	Payload  json.RawMessage `json:"payload"`
	CatchUp  bool            `json:"catchUp"`
}

func (p *Periodic) definition(task prepared) []byte {
	payload, _ := p.Payload.(json.RawMessage)
	text, _ := json.Marshal(periodicDefinition{p.Task, queueOf(task.line), p.Schedule, payload, p.CatchUp}) // it cannot fail
	return text
}

// PeriodicInfo is what is known of a periodic task.
type PeriodicInfo struct {
	Name     string          `json:"name"`
	Task     string          `json:"task"`
	Queue    string          `json:"queue"`
	Schedule Schedule        `json:"schedule"`
	Payload  json.RawMessage `json:"payload"`
	CatchUp  bool            `json:"catchUp"`
	Paused   bool            `json:"paused"`
	Last     time.Time       `json:"last,omitzero"` // tick, also one that was left out; zero until one has run
	Next     time.Time       `json:"next,omitzero"` // unless it is paused
}

// Periodic returns all periodic tasks that some process has registered, by name.
// One that no program registers any more stays until [Inspector.RemovePeriodic].
func (i *Inspector) Periodic(ctx context.Context) ([]PeriodicInfo, error) {
	var definitions, states *redis.MapStringStringCmd
	_, err := i.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		definitions, states = p.HGetAll(ctx, i.keys.Definitions()), p.HGetAll(ctx, i.keys.Periodic())
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("periodic tasks: %w", link.Explain(err))
	}
	infos := []PeriodicInfo{}
	for name, text := range definitions.Val() {
		var d periodicDefinition
		_ = json.Unmarshal([]byte(text), &d) // of a later version perhaps: what cannot be read stays empty
		last, paused, _ := strings.Cut(states.Val()[name], "|")
		info := PeriodicInfo{
			Name: name, Task: d.Task, Queue: d.Queue, Schedule: d.Schedule, Payload: d.Payload, CatchUp: d.CatchUp,
			Paused: paused != "",
		}
		noted := millis(last) // or since when it is known
		if !strings.HasPrefix(last, "0") {
			info.Last = noted
		}
		if s := d.Schedule; s.valid() == nil && !info.Paused {
			info.Next = s.next(noted)
		}
		infos = append(infos, info)
	}
	slices.SortFunc(infos, func(a, b PeriodicInfo) int { return strings.Compare(a.Name, b.Name) })
	return infos, nil
}

// RunPeriodic enqueues a periodic task now, also while it is paused; its ticks go
// on as before. One that is not known is [ErrNotFound].
func (c *Client) RunPeriodic(ctx context.Context, name string) (Receipt, error) {
	text, err := c.redis.HGet(ctx, c.keys.Definitions(), name).Result()
	if errors.Is(err, redis.Nil) {
		return Receipt{}, fmt.Errorf("run periodic task %s: %w", name, ErrNotFound)
	}
	if err != nil {
		return Receipt{}, fmt.Errorf("run periodic task %s: %w", name, link.Explain(err))
	}
	var d periodicDefinition
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		return Receipt{}, fmt.Errorf("run periodic task %s: its definition cannot be read: %w", name, err)
	}
	return c.EnqueueWith(ctx, d.Task, d.Payload, Options{Queue: d.Queue})
}

// PausePeriodic stops the ticks of a periodic task, or resumes them: ticks that
// pass while it is paused are left out. It must have been registered by a
// process, or the error is [ErrNotFound].
func (i *Inspector) PausePeriodic(ctx context.Context, name string, paused bool) error {
	if paused {
		return i.changePeriodic(ctx, "pause", name, "1")
	}
	return i.changePeriodic(ctx, "resume", name, "")
}

// RemovePeriodic forgets a periodic task. A process that still registers it writes
// it again within seconds.
func (i *Inspector) RemovePeriodic(ctx context.Context, name string) error {
	return i.changePeriodic(ctx, "remove", name, "remove")
}

func (i *Inspector) changePeriodic(ctx context.Context, verb, name, mark string) error {
	n, err := pauseScript.Run(ctx, i.redis, []string{i.keys.Tasks()}, name, mark).Int()
	if err != nil {
		return fmt.Errorf("%s periodic task %s: %w", verb, name, link.Explain(err))
	}
	if n == 0 {
		return fmt.Errorf("%s periodic task %s: %w", verb, name, ErrNotFound)
	}
	return nil
}
