package tasks_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/internal/runner"
	"github.com/stellarfw/stellar/worker/tasks"
)

func TestATaskThatDoesNotRunIsEdited(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		ran, hold := make(chan string, 10), make(chan struct{})
		tasks.Handle(&r, tasks.Definition{Name: "n", MaxAttempts: 1}, func(_ context.Context, in string) error {
			if ran <- in; in == "fail" {
				return errors.New("no luck")
			}
			if in == "hold" {
				<-hold
			}
			return nil
		})
		c := newCluster(t, cfg, &r)
		edit := func(id string, e tasks.Edit) error { return c.inspector.Edit(t.Context(), id, e) }
		put := func(id string, o tasks.Options) {
			o.ID = id
			_, err := c.tasks.EnqueueWith(t.Context(), "n", id, o)
			require.NoError(t, err)
		}
		large := strings.Repeat("x", 20<<10)
		put("first", tasks.Options{})
		put("second", tasks.Options{})
		put("late", tasks.Options{In: time.Hour})
		put("behind", tasks.Options{After: []string{"late"}})
		require.NoError(t, edit("second", tasks.Edit{Priority: new(tasks.High), Payload: large}))
		require.NoError(t, edit("late", tasks.Edit{Queue: "other", Payload: "was late"}))
		require.NoError(t, edit("behind", tasks.Edit{Payload: json.RawMessage("null")}))
		due := c.get("late")
		require.Equal(t, []any{"other", tasks.Delayed}, []any{due.Queue, due.State})
		require.WithinDuration(t, due.Enqueued.Add(time.Hour), due.Due, time.Second)
		require.Equal(t, "edited", due.History[0].What)

		c.startWith(runner.Config{Registry: &r, Concurrency: 1, Queues: []string{"default", "other"}})
		require.Equal(t, large, receive(t, ran))
		require.Equal(t, "first", receive(t, ran))
		require.NoError(t, c.inspector.Reschedule(t.Context(), "late", time.Time{}))
		require.Equal(t, "was late", receive(t, ran))
		require.Empty(t, receive(t, ran), "null is no text")

		put("fail", tasks.Options{})
		require.Equal(t, "fail", receive(t, ran))
		c.eventually("it is dead", func() bool { return c.get("fail").State == tasks.Dead })
		require.NoError(t, edit("fail", tasks.Edit{Payload: "hold"}))
		require.NoError(t, c.inspector.Retry(t.Context(), "fail"))
		require.Equal(t, "hold", receive(t, ran))
		require.ErrorIs(t, edit("fail", tasks.Edit{Payload: large}), tasks.ErrActive)
		close(hold)
		c.eventually("it is done", func() bool { return c.get("fail").State == tasks.Done })
		require.ErrorIs(t, edit("fail", tasks.Edit{Payload: 1}), tasks.ErrState)
		require.ErrorIs(t, edit("nope", tasks.Edit{Payload: 1}), tasks.ErrNotFound)
		require.ErrorIs(t, edit("nope", tasks.Edit{}), tasks.ErrInvalid)
		require.ErrorIs(t, edit("nope", tasks.Edit{Queue: "a b"}), tasks.ErrName)
		require.ErrorIs(t, edit("nope", tasks.Edit{Priority: new(tasks.Priority(7))}), tasks.ErrInvalid)
		require.ErrorIs(t, edit("nope", tasks.Edit{Payload: strings.Repeat("x", tasks.MaxPayload)}), tasks.ErrTooLarge)
		keys, err := c.redis.Keys(t.Context(), c.keys.Body("*")).Result()
		require.NoError(t, err)
		require.Empty(t, keys, "no body is left over")
		c.conserved()
	})
}
