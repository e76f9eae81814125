package tasks

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker/internal/queue"
)

// EndedStep is a [Step] of a task that has ended, or a [Sleep] that has begun. Times are on Redis's
// clock.
type EndedStep struct {
	Name  string    `json:"name"`
	Ended time.Time `json:"endedAt,omitzero"`
	Bytes int       `json:"bytes,omitempty"`  // of the result's JSON
	Wakes time.Time `json:"wakesAt,omitzero"` // of a sleep: when it is or was over
}

// StoredState is the last state of a task's [Checkpoint].
type StoredState struct {
	At    time.Time `json:"storedAt,omitzero"` // on Redis's clock
	Bytes int       `json:"bytes"`
}

// shownSteps is how many steps a task's history has.
const shownSteps = 20

// withSteps sets what is stored of the task's steps, and adds the last of them to its history.
func (t *Task) withSteps(stored *queue.Steps) {
	var events []Event
	for _, s := range stored.Ended {
		t.Steps = append(t.Steps, EndedStep{Name: s.Name, Ended: s.At, Bytes: s.Bytes, Wakes: s.Until})
		what := string(queue.StepNote)
		if !s.Until.IsZero() {
			what = string(queue.SleepNote)
		}
		events = append(events, Event{At: s.At, What: what, Step: s.Name})
	}
	if state := stored.State; !state.At.IsZero() {
		t.Checkpoint = &StoredState{At: state.At, Bytes: state.Bytes}
		events = slices.Insert(events, min(state.Place, len(events)), Event{At: state.At, What: string(queue.StateNote)})
	}
	t.History = append(events[max(0, len(events)-shownSteps):], t.History...)
	slices.SortStableFunc(t.History, func(a, b Event) int { return a.At.Compare(b.At) })
}

// asleep returns the step that sleeps at a time, or nil.
func (t *Task) asleep(now time.Time) *EndedStep {
	if n := len(t.Steps); n > 0 && t.Steps[n-1].Wakes.After(now) {
		return &t.Steps[n-1]
	}
	return nil
}

// explainSteps says how far the task has come.
func (e *Explanation) explainSteps(now time.Time) {
	if step := e.asleep(now); step != nil {
		e.sayf("its step %q sleeps until %s: \"stellar tasks reschedule\" changes that", step.Name, step.Wakes.Format(time.RFC3339))
	} else if n := len(e.Steps); n > 0 {
		last := e.Steps[n-1]
		e.sayf("%s, the last is %q, %s ago: its next run goes on after that", link.Count(n, "step has ended", "steps have ended"),
			last.Name, max(now.Sub(last.Ended), 0).Round(time.Millisecond))
	}
	if e.Checkpoint != nil {
		e.sayf("its last checkpoint is of %s ago: its next run goes on there", max(now.Sub(e.Checkpoint.At), 0).Round(time.Millisecond))
	}
}

// Rerun has a task forget the step of that name and all later ones, with the state of a
// [Checkpoint] behind it, and run again; an empty name stands for all steps and any state. What
// these steps have committed stays, and they commit again.
//
// A dead or cancelled task goes back to its queue as by [Inspector.Retry], a delayed task is due
// now, and one that waits for its turn or for other tasks stays in its place. The error is [ErrActive] for a task that runs,
// [ErrState] for one that is done (its steps are gone), [ErrNotFound], or an [ErrInvalid] that
// names the steps that the task has.
func (i *Inspector) Rerun(ctx context.Context, id, step string) error {
	word, err := i.store.Rerun(ctx, id, step)
	if err == nil && word == "unknown" {
		err = i.unknownStep(ctx, id, step)
	}
	if err != nil {
		return fmt.Errorf("rerun task %s: %w", id, err)
	}
	said := func(context.Context, []string) ([]string, error) { return []string{word}, nil }
	_, err = mending{"rerun", []string{"rerun"}, said}.one(ctx, i, id)
	return err
}

// unknownStep returns the error for a step that a task does not have.
func (i *Inspector) unknownStep(ctx context.Context, id, step string) error {
	const most = 20
	steps, err := i.store.Steps(ctx, id)
	if err != nil {
		return err
	}
	var names []string
	for _, s := range steps.Ended {
		names = append(names, fmt.Sprintf("%q", s.Name))
	}
	has := "no step has ended"
	if n := len(names); n > most {
		has = fmt.Sprintf("the steps that have ended are %s and %d more", strings.Join(names[:most], ", "), n-most)
	} else if n > 0 {
		has = "the steps that have ended are " + strings.Join(names, ", ")
	}
	return fmt.Errorf("%w step %q: %s", ErrInvalid, step, has)
}
