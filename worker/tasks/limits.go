package tasks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/stellarfw/stellar/worker/internal/queue"
)

// Limits are the limits of a queue over the whole cluster; 0 means no limit. A program sets
// them with [Registry.LimitQueue], an operator with [Inspector.LimitQueue]. The operator's
// limits take precedence.
type Limits struct {
	// Concurrency is how many tasks of the queue run at a time.
	Concurrency int `json:"concurrency"`
	// Tasks is how many pending, delayed and running tasks the queue may have;
	// parked and blocked tasks do not count. Further tasks are refused with
	// [ErrQueueFull].
	Tasks int `json:"tasks"`
	// Bytes is the total size of the records of the queue's stored tasks (payload,
	// name and about 20 bytes each). Further tasks are refused with [ErrQueueFull].
	Bytes int64 `json:"bytes"`
	// PerGroup is how many tasks of each group ([Options].Group) run at a time.
	PerGroup int `json:"perGroup,omitempty"`
	// Strict has a task that waits for its next run, after a failure or a snooze, hold its group: no
	// other task of the group begins until that task is done, dead, cancelled or deleted. It implies
	// a PerGroup of 1. It counts for tasks that begin to wait from then on.
	Strict bool `json:"strict,omitempty"`
	// Rate is how many tasks of the queue begin in a time, and GroupRate how many of each group.
	Rate      Rate `json:"rate,omitzero"`
	GroupRate Rate `json:"groupRate,omitzero"`
}

// Rate bounds how many tasks begin: over any time t at most Burst + t × Tasks/Per in the whole
// cluster, on Redis's clock. The zero value is no bound.
type Rate struct {
	Tasks int           `json:"tasks"` // up to 1e9
	Per   time.Duration `json:"-"`     // 1 ms to a year; it is "perMs" in JSON
	// Burst is how many may begin at once after a rest. 0: as many as come in 100 ms, at least 1.
	Burst int `json:"burst"`
}

// Bounds of a [Rate].
const (
	maxRate   = 1e9
	maxPer    = 366 * 24 * time.Hour
	burstTime = 100 * time.Millisecond
)

// rateJSON is a rate in JSON.
type rateJSON struct {
	Tasks int     `json:"tasks"`
	PerMs float64 `json:"perMs"`
	Burst int     `json:"burst,omitempty"`
}

// MarshalJSON implements [json.Marshaler].
func (r Rate) MarshalJSON() ([]byte, error) {
	return json.Marshal(rateJSON{r.Tasks, float64(r.Per) / float64(time.Millisecond), r.Burst})
}

// UnmarshalJSON implements [json.Unmarshaler].
func (r *Rate) UnmarshalJSON(text []byte) error {
	var in rateJSON
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return fmt.Errorf(`a rate is an object such as {"tasks": 100, "perMs": 1000, "burst": 20}, and {} is none: %w`, err)
	}
	*r = Rate{in.Tasks, time.Duration(in.PerMs * float64(time.Millisecond)), in.Burst}
	return nil
}

// JSONForm returns a value of the JSON form, for api.methods.
func (r Rate) JSONForm() any { return rateJSON{} }

// String returns the rate in words, such as "100 in 1s, 10 at once", or "none".
func (r Rate) String() string {
	if r.Tasks == 0 {
		return "none"
	}
	return fmt.Sprintf("%d in %s, %d at once", r.Tasks, r.Per, r.stored().Burst)
}

func (r Rate) validate() error {
	switch {
	case r == Rate{}:
		return nil
	case r.Tasks < 1 || r.Tasks > maxRate:
		return fmt.Errorf("%w: a rate of %d tasks: use 1 to %d, or the zero value for none", ErrInvalid, r.Tasks, int(maxRate))
	case r.Per < time.Millisecond || r.Per > maxPer:
		return fmt.Errorf("%w: a rate of %d tasks in %s: use a time of 1ms to %s", ErrInvalid, r.Tasks, r.Per, maxPer)
	case r.Burst < 0 || r.Burst > maxRate:
		return fmt.Errorf("%w: a burst of %d: use 1 to %d, or 0 for as many as come in %s", ErrInvalid, r.Burst, int(maxRate), burstTime)
	default:
		return nil
	}
}

// KeepBurst returns the rate with the burst of the rate that it replaces, if it has none itself and that
// one was chosen.
func (r Rate) KeepBurst(old Rate) Rate {
	if chosen := old.Burst != (Rate{Tasks: old.Tasks, Per: old.Per}).stored().Burst; chosen && r.Burst == 0 && r.Tasks > 0 {
		r.Burst = old.Burst
	}
	return r
}

// stored returns the rate as it is stored, with a burst.
func (r Rate) stored() queue.Rate {
	if r.Burst == 0 && r.Tasks > 0 {
		r.Burst = int(min(max(1, float64(r.Tasks)*float64(burstTime)/float64(r.Per)), maxRate))
	}
	if part := r.Per % time.Microsecond; part > 0 { // Redis has whole ones, and no more tasks may begin than that
		r.Per += time.Microsecond - part
	}
	return queue.Rate(r)
}

// limitsOf returns the limits of stored settings.
func limitsOf(l queue.Limits) Limits {
	return Limits{l.Concurrency, l.Tasks, l.Bytes, l.PerGroup, l.Strict, Rate(l.Rate), Rate(l.GroupRate)}
}

// stored returns the limits as they are stored.
func (l Limits) stored() queue.Limits {
	if l.Strict {
		l.PerGroup = 1
	}
	return queue.Limits{
		Concurrency: l.Concurrency, Tasks: l.Tasks, Bytes: l.Bytes, PerGroup: l.PerGroup, Strict: l.Strict,
		Rate: l.Rate.stored(), GroupRate: l.GroupRate.stored(),
	}
}

func (l Limits) validate(queue string) error {
	err := checkName("queue", queue)
	if l.Concurrency < 0 || l.Tasks < 0 || l.Bytes < 0 || l.PerGroup < 0 {
		err = errors.Join(err, fmt.Errorf("%w: limits of queue %s cannot be negative; 0 is none", ErrInvalid, queue))
	}
	if l.Strict && l.PerGroup > 1 {
		err = errors.Join(err, fmt.Errorf("%w: strict groups of queue %s run one task at a time: leave PerGroup 0, or 1", ErrInvalid, queue))
	}
	for _, r := range []Rate{l.Rate, l.GroupRate} {
		if bad := r.validate(); bad != nil {
			err = errors.Join(err, fmt.Errorf("queue %s: %w", queue, bad))
		}
	}
	return err
}

// PauseQueue stops nodes from claiming a queue's tasks, or, with paused false, lets them
// claim again. Tasks that nodes have claimed go on, and new tasks are accepted.
func (i *Inspector) PauseQueue(ctx context.Context, name string, paused bool) error {
	verb := "resume"
	if paused {
		verb = "pause"
	}
	_, err := i.setQueue(ctx, name, verb, "")
	if err == nil {
		i.changed(ctx, Change{Kind: ChangeKind(verb), Queue: name})
	}
	return err
}

// LimitQueue sets an operator's limits of a queue and returns the limits in effect. They
// take precedence over a program's limits. nil removes both; running programs set theirs
// again within seconds. If the queue had no limit on bytes before, LimitQueue counts the bytes
// of its tasks, some at a time, until it is done or ctx ends; running nodes go on with that.
// The limit counts at once, for the tasks that have been counted.
func (i *Inspector) LimitQueue(ctx context.Context, name string, l *Limits) (Limits, error) {
	verb, limits, text := "reset", "", "limits reset"
	if l != nil {
		if err := l.validate(name); err != nil {
			return Limits{}, err
		}
		verb, limits, text = "operator", l.stored().String(), asText("limits", l)
	}
	now, err := i.setQueue(ctx, name, verb, limits)
	if err == nil {
		i.changed(ctx, Change{Kind: ChangeLimit, Queue: name, Text: text})
	}
	return now, err
}

// ChangeLimits is [Inspector.LimitQueue] for some of the limits. It calls change with the limits in effect, and again
// if others are in effect before its own are set, so that no change is lost. An error of change ends it.
func (i *Inspector) ChangeLimits(ctx context.Context, name string, change func(*Limits) error) (Limits, error) {
	if err := checkName("queue", name); err != nil {
		return Limits{}, err
	}
	set, err := i.store.ChangeLimits(ctx, name, func(l *queue.Limits) error {
		limits := limitsOf(*l)
		err := change(&limits)
		if err == nil {
			err = limits.validate(name)
		}
		*l = limits.stored()
		return err
	})
	now := limitsOf(set.Limits)
	if err == nil {
		i.changed(ctx, Change{Kind: ChangeLimit, Queue: name, Text: asText("limits", now)})
	}
	return now, err
}

func (i *Inspector) setQueue(ctx context.Context, name, verb, limits string) (Limits, error) {
	if err := checkName("queue", name); err != nil {
		return Limits{}, err
	}
	set, err := i.store.SetQueue(ctx, name, verb, limits)
	return limitsOf(set.Limits), err
}

// DeleteQueue deletes the tasks of a queue that do not run, and the queue itself if no task
// runs. It returns how many tasks it deleted. Tasks that wait for other tasks
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
			i.changed(ctx, Change{Kind: ChangeDelete, Queue: name, Tasks: sum})
			return sum, nil
		}
	}
}
