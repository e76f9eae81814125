package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/stellarfw/stellar/worker/internal/queue"
)

// Defaults are what the tasks of a queue get that their own options do not set, in place of what
// their definitions say. A zero field means that the definition counts.
type Defaults struct {
	MaxAttempts int
	Timeout     time.Duration // of a run
	Retention   time.Duration
}

func defaultsOf(d queue.Defaults) Defaults {
	return Defaults{d.MaxAttempts, queue.Duration(d.Timeout), queue.Duration(d.Retention)}
}

func (d Defaults) stored() queue.Defaults {
	return queue.Defaults{MaxAttempts: d.MaxAttempts, Timeout: queue.Milliseconds(d.Timeout), Retention: queue.Milliseconds(d.Retention)}
}

// MarshalJSON implements json.Marshaler: durations are milliseconds.
func (d Defaults) MarshalJSON() ([]byte, error) { return json.Marshal(d.stored()) }

// UnmarshalJSON implements json.Unmarshaler; see [Defaults.MarshalJSON].
func (d *Defaults) UnmarshalJSON(text []byte) error {
	var in queue.Defaults
	err := json.Unmarshal(text, &in)
	*d = defaultsOf(in)
	return err
}

// JSONForm returns a value of the JSON form, for api.methods.
func (d Defaults) JSONForm() any { return d.stored() }

// SetDefaults sets the defaults of a queue; the zero value removes them. They count for all its
// tasks, also those that wait already, as soon as nodes have read them: at once, or within
// seconds if a node misses the announcement. What a task's [Options] set takes precedence,
// [Options].WantResult too.
func (i *Inspector) SetDefaults(ctx context.Context, name string, d Defaults) error {
	err := d.validate(name)
	if err == nil {
		err = i.store.SetDefaults(ctx, name, d.stored())
	}
	if err != nil {
		return fmt.Errorf("defaults of queue %s: %w", name, err)
	}
	i.changed(ctx, Change{Kind: ChangeLimit, Queue: name, Text: asText("defaults", d)})
	return nil
}

// ChangeDefaults changes some of a queue's defaults, and returns those that are set then. It calls change with those that
// are set, and again if somebody else sets others meanwhile, so that no change is lost. An error of change ends it.
func (i *Inspector) ChangeDefaults(ctx context.Context, name string, change func(*Defaults) error) (Defaults, error) {
	var out Defaults
	err := out.validate(name)
	if err == nil {
		_, err = i.store.ChangeDefaults(ctx, name, func(d *queue.Defaults) error {
			out = defaultsOf(*d)
			err := change(&out)
			*d = out.stored()
			return errors.Join(err, out.validate(name))
		})
	}
	if err != nil {
		return Defaults{}, fmt.Errorf("defaults of queue %s: %w", name, err)
	}
	i.changed(ctx, Change{Kind: ChangeLimit, Queue: name, Text: asText("defaults", out)})
	return out, nil
}

func (d Defaults) validate(queue string) error {
	if err := checkName("queue", queue); err != nil {
		return err
	}
	if d.MaxAttempts < 0 || d.Timeout < 0 || d.Retention < 0 {
		return fmt.Errorf("%w: they cannot be negative; 0 is none", ErrInvalid)
	}
	return nil
}

// Defaults returns the defaults of a queue.
func (i *Inspector) Defaults(ctx context.Context, name string) (Defaults, error) {
	d, err := i.store.DefaultsOf(ctx, name)
	if err != nil {
		return Defaults{}, fmt.Errorf("defaults of queue %s: %w", name, err)
	}
	return defaultsOf(d), nil
}
