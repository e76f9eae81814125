package tasks_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/internal/runner"
	"github.com/stellarfw/stellar/worker/tasks"
)

func TestTheDefaultsOfAQueueCountWhereATasksOptionsDoNot(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		left := make(chan time.Duration, 10)
		tasks.Handle(&r, tasks.Definition{Name: "fail", MaxAttempts: 5, Backoff: time.Millisecond}, func(context.Context, any) error {
			return errors.New("no luck")
		})
		tasks.Handle(&r, tasks.Definition{Name: "n", Timeout: time.Hour, Retention: 3 * time.Hour}, func(ctx context.Context, _ any) error {
			until, _ := ctx.Deadline()
			left <- time.Until(until)
			return nil
		})
		c := newCluster(t, cfg, &r)
		ticker := runner.NewTicker(c.redis, c.keys, &r, redistestLog(t))
		c.startWith(runner.Config{Registry: &r, Concurrency: 1, Defaults: ticker.Defaults()})
		c.startMover()
		set := func(d tasks.Defaults) {
			require.NoError(t, c.inspector.SetDefaults(t.Context(), "default", d))
			require.NoError(t, ticker.Learn(t.Context()))
		}
		attempts := func(o tasks.Options) int {
			id := c.enqueue("fail", o)
			c.eventually("it is dead", func() bool { return c.get(id).State == tasks.Dead })
			return c.get(id).Attempts
		}
		kept := func(o tasks.Options) (timeout, retention time.Duration) {
			id := c.enqueue("n", o)
			timeout = receive(t, left)
			c.eventually("it is done", func() bool { return c.get(id).State == tasks.Done })
			task := c.get(id)
			return timeout.Round(time.Minute), task.Kept.Sub(task.Ended).Round(10 * time.Minute)
		}
		require.Equal(t, 5, attempts(tasks.Options{}))
		set(tasks.Defaults{MaxAttempts: 2, Timeout: 2 * time.Hour, Retention: time.Hour})
		require.Equal(t, 2, attempts(tasks.Options{}))
		require.Equal(t, 3, attempts(tasks.Options{MaxAttempts: 3}))
		timeout, retention := kept(tasks.Options{})
		require.Equal(t, []time.Duration{2 * time.Hour, time.Hour}, []time.Duration{timeout, retention})
		timeout, retention = kept(tasks.Options{Timeout: 4 * time.Hour, Retention: 5 * time.Hour})
		require.Equal(t, []time.Duration{4 * time.Hour, 5 * time.Hour}, []time.Duration{timeout, retention})

		q := c.queue("default")
		require.Equal(t, tasks.Defaults{MaxAttempts: 2, Timeout: 2 * time.Hour, Retention: time.Hour}, q.Defaults)
		text, err := json.Marshal(q.Defaults)
		require.NoError(t, err)
		require.JSONEq(t, `{"maxAttempts":2,"timeoutMs":7200000,"retentionMs":3600000}`, string(text))
		got, err := c.inspector.Defaults(t.Context(), "default")
		require.NoError(t, err)
		require.Equal(t, q.Defaults, got)
		require.Zero(t, c.redis.HLen(t.Context(), c.keys.Settings()).Val(), "the fast scripts go on")

		set(tasks.Defaults{})
		require.Equal(t, 5, attempts(tasks.Options{}))
		timeout, retention = kept(tasks.Options{})
		require.Equal(t, []time.Duration{time.Hour, 3 * time.Hour}, []time.Duration{timeout, retention})
		require.Zero(t, c.redis.Exists(t.Context(), c.keys.QueueDefaults()).Val())
		require.ErrorIs(t, c.inspector.SetDefaults(t.Context(), "default", tasks.Defaults{Timeout: -1}), tasks.ErrInvalid)
		require.ErrorIs(t, c.inspector.SetDefaults(t.Context(), "a b", tasks.Defaults{}), tasks.ErrName)
	})
}
