package tasks_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/tasks"
)

// shipping handles "ship": two steps with a sleep between them, and a checkpoint. It fails
// behind the last step as long as it is told to. calls counts the calls of its steps.
func shipping(r *tasks.Registry, failing *atomic.Bool, calls *[2]atomic.Int64) {
	tasks.Handle(r, tasks.Definition{Name: "ship", MaxAttempts: 1}, func(ctx context.Context, _ number) error {
		if _, err := tasks.Step(ctx, "charge", once(&calls[0], "paid")); err != nil {
			return err
		}
		if err := tasks.Sleep(ctx, "cool-down", time.Hour); err != nil {
			return err
		}
		var at int
		if found, err := tasks.Restore(ctx, &at); err != nil {
			return err
		} else if !found {
			if err := tasks.Checkpoint(ctx, 1); err != nil {
				return err
			}
		}
		if _, err := tasks.Step(ctx, "send", once(&calls[1], 7)); err != nil {
			return err
		}
		if failing.Load() {
			return errAgain
		}
		return nil
	})
}

func (c *cluster) explained(id string) string {
	c.t.Helper()
	e, err := c.inspector.Explain(c.t.Context(), id)
	require.NoError(c.t, err)
	return strings.Join(e.Why, "\n")
}

func stepNames(t tasks.Task) (names []string) {
	for _, s := range t.Steps {
		names = append(names, s.Name)
	}
	return names
}

func pastOf(t tasks.Task) (past []string) {
	for _, e := range t.History {
		past = append(past, strings.TrimSpace(e.What+" "+e.Step))
	}
	return past
}

func TestStepsAreShownRetriedAndForgottenOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r tasks.Registry
		var failing atomic.Bool
		var calls [2]atomic.Int64
		failing.Store(true)
		shipping(&r, &failing, &calls)
		c := newCluster(t, redistest.Embedded(t).Config(), &r)
		c.startMover()
		c.start(&r, 1)
		id := c.enqueue("ship", tasks.Options{})
		time.Sleep(time.Minute)

		asleep := c.get(id)
		require.Equal(t, tasks.Delayed, asleep.State)
		require.Equal(t, []string{"charge", "cool-down"}, stepNames(asleep))
		require.Equal(t, 6, asleep.Steps[0].Bytes)
		require.Zero(t, asleep.Steps[0].Wakes)
		require.WithinDuration(t, asleep.Due, asleep.Steps[1].Wakes, time.Second)
		require.Nil(t, asleep.Checkpoint)
		require.Equal(t, []string{"step charge", "sleep cool-down"}, pastOf(asleep))
		require.Contains(t, c.explained(id), `its step "cool-down" sleeps until `)
		require.NotContains(t, c.explained(id), "have ended")

		require.NoError(t, c.inspector.Reschedule(t.Context(), id, time.Time{})) // it wakes
		time.Sleep(time.Minute)
		dead := c.get(id)
		require.Equal(t, tasks.Dead, dead.State)
		require.Equal(t, []string{"charge", "cool-down", "send"}, stepNames(dead))
		require.Equal(t, 1, dead.Checkpoint.Bytes)
		require.Equal(t, []string{"step charge", "sleep cool-down", "checkpoint", "step send", "dead"}, pastOf(dead))
		require.Contains(t, c.explained(id), `3 steps have ended, the last is "send", 1m0s ago`)
		require.Contains(t, c.explained(id), "its last checkpoint is of 1m0s ago")
		text, err := json.Marshal(dead)
		require.NoError(t, err)
		for _, member := range []string{`"steps":[{"name":"charge","endedAt":"`, `"wakesAt":"`, `"bytes":6`, `"checkpoint":{"storedAt":"`, `"what":"step","step":"send"`} {
			require.Contains(t, string(text), member)
		}

		require.NoError(t, c.inspector.Retry(t.Context(), id))
		time.Sleep(time.Minute)
		require.Equal(t, tasks.Dead, c.get(id).State)
		require.Equal(t, []int64{1, 1}, []int64{calls[0].Load(), calls[1].Load()}, "a retry keeps the steps")

		require.NoError(t, c.inspector.Rerun(t.Context(), id, "send"))
		time.Sleep(time.Minute)
		require.Equal(t, []int64{1, 2}, []int64{calls[0].Load(), calls[1].Load()})
		require.Contains(t, pastOf(c.get(id)), "rerun send")
		require.Equal(t, []string{"step charge", "sleep cool-down", "checkpoint", "step send", "dead"}, pastOf(c.get(id))[:5], "what happened stays")
		require.NotNil(t, c.get(id).Checkpoint, "it is older")

		require.NoError(t, c.inspector.Rerun(t.Context(), id, "cool-down"))
		time.Sleep(time.Minute)
		require.Equal(t, []string{"charge", "cool-down"}, stepNames(c.get(id)))
		require.Nil(t, c.get(id).Checkpoint)
		require.Subset(t, pastOf(c.get(id)), []string{"rerun cool-down", "checkpoint", "step send"})
		failing.Store(false)
		require.NoError(t, c.inspector.Rerun(t.Context(), id, "cool-down"), "a delayed one is due now, and sleeps again")
		time.Sleep(59 * time.Minute)
		require.Equal(t, tasks.Delayed, c.get(id).State)
		time.Sleep(2 * time.Minute)
		require.EqualValues(t, 1, c.counts().Done)
		require.Equal(t, []int64{1, 3}, []int64{calls[0].Load(), calls[1].Load()})
		require.Empty(t, c.stepKeys())
	})
}

func TestARerunThatCannotBe(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		reached, goOn := make(chan struct{}), make(chan struct{})
		tasks.Handle(&r, tasks.Definition{Name: "t", MaxAttempts: 1}, func(ctx context.Context, _ number) error {
			for i := range 30 {
				if _, err := tasks.Step(ctx, fmt.Sprint("step ", i), func(context.Context) (int, error) { return i, nil }); err != nil {
					return err
				}
			}
			reached <- struct{}{}
			<-goOn
			return errAgain
		})
		c := newCluster(t, cfg, &r)
		c.start(&r, 1)
		rerun := func(id, step string) error { return c.inspector.Rerun(t.Context(), id, step) }
		require.ErrorIs(t, rerun("nope", ""), tasks.ErrNotFound)
		id := c.enqueue("t", tasks.Options{Unique: "k"})
		receive(t, reached)
		require.ErrorIs(t, rerun(id, "step 1"), tasks.ErrActive)
		close(goOn)
		c.eventually("dead", func() bool { return c.get(id).State == tasks.Dead })
		err := rerun(id, "nope")
		require.ErrorIs(t, err, tasks.ErrInvalid)
		require.ErrorContains(t, err, `invalid step "nope": the steps that have ended are "step 0", "step 1", `)
		require.ErrorContains(t, err, "and 10 more")
		require.Len(t, c.get(id).Steps, 30)
		require.Len(t, c.get(id).History, 21, "its death, and the last of its steps")

		holder, err := c.tasks.EnqueueWith(t.Context(), "other", number{}, tasks.Options{Unique: "k", AnyName: true, Queue: "elsewhere"})
		require.NoError(t, err)
		require.ErrorContains(t, rerun(id, "step 1"), "unique key")
		require.Len(t, c.get(id).Steps, 30, "nothing is forgotten")
		require.NoError(t, rerun(holder.ID, ""), "one that waits stays where it is")
		require.ErrorContains(t, rerun(holder.ID, "x"), "no step has ended")
	})
}

// A run holds no more results than it needs next, and a look at the task reads none.
func TestManyLargeResults(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		const steps, size = 60, 200_000
		var r tasks.Registry
		var failed, calls atomic.Int64
		tasks.Handle(&r, tasks.Definition{Name: "t", Backoff: time.Millisecond}, func(ctx context.Context, _ number) error {
			for i := range steps {
				text, err := tasks.Step(ctx, fmt.Sprint(i), func(context.Context) (string, error) {
					calls.Add(1)
					return strings.Repeat(string(rune('a'+i%26)), size), nil
				})
				if err != nil {
					return err
				}
				if len(text) != size || text[0] != byte('a'+i%26) {
					return tasks.Discard(fmt.Errorf("step %d has another's result", i))
				}
			}
			if failed.Add(1) == 1 {
				return errAgain
			}
			return nil
		})
		c := newCluster(t, cfg, &r)
		c.startMover()
		c.start(&r, 1)
		id := c.enqueue("t", tasks.Options{Retention: time.Hour})
		c.eventually("done", func() bool { return c.get(id).State == tasks.Done })
		require.EqualValues(t, steps, calls.Load())
		require.Empty(t, c.get(id).Steps, "they end with the task")
	})
}
