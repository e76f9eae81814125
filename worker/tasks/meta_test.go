package tasks_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/tasks"
)

func TestMetaIsInEveryRunOfATask(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		ran := make(chan tasks.Info, 10)
		tasks.Handle(&r, tasks.Definition{Name: "fails", MaxAttempts: 2, Backoff: 1}, func(ctx context.Context, _ number) error {
			ran <- tasks.InfoOf(ctx)
			return errors.New("as always")
		})
		tasks.Handle(&r, tasks.Definition{Name: "starts"}, func(ctx context.Context, _ number) error {
			ran <- tasks.InfoOf(ctx)
			tasks.Tx(ctx).EnqueueWith("ends", nil, tasks.Options{Meta: map[string]string{"of": "tx"}})
			return nil
		})
		tasks.Handle(&r, tasks.Definition{Name: "ends"}, func(ctx context.Context, _ number) error { ran <- tasks.InfoOf(ctx); return nil })
		c := newCluster(t, cfg, &r)
		c.startMover()
		// Lua reads the options of a task with a unique key.
		meta := map[string]string{"tenant": "acme", "trace": "00-1<&>\x00|\n\"é=,"}
		id := c.enqueue("fails", tasks.Options{Meta: meta, Unique: "u"})
		require.Equal(t, meta, c.get(id).Meta)
		c.start(&r, 1)
		for range 2 {
			require.Equal(t, meta, receive(t, ran).Meta)
		}
		c.eventually("dead", func() bool { return c.counts().Dead == 1 })
		require.Equal(t, meta, c.get(id).Meta)
		require.Zero(t, c.redis.Exists(t.Context(), c.keys.Unique()).Val(), "its options are still read")
		require.NoError(t, c.inspector.Retry(t.Context(), id))
		for range 2 {
			require.Equal(t, meta, receive(t, ran).Meta)
		}

		_, err := c.tasks.EnqueueMany(t.Context(), []tasks.Request{{Name: "starts", Then: []tasks.Request{
			{Name: "ends", Options: tasks.Options{Meta: map[string]string{"of": "then"}}},
		}}})
		require.NoError(t, err)
		require.Empty(t, receive(t, ran).Meta)
		of := []string{receive(t, ran).Meta["of"], receive(t, ran).Meta["of"]}
		require.ElementsMatch(t, []string{"then", "tx"}, of)
	})
}

func TestMetaIsBoundedFoundAndWeighed(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		c := newCluster(t, cfg, &tasks.Registry{})
		for _, m := range []map[string]string{{"": "x"}, {"Upper": "x"}, {"k": "\xff"}, {"k": strings.Repeat("x", link.MaxMetaBytes)}} {
			_, err := c.tasks.EnqueueWith(t.Context(), "n", nil, tasks.Options{Meta: m})
			require.ErrorIs(t, err, tasks.ErrInvalid)
			require.ErrorIs(t, err, link.ErrMeta)
		}
		_, err := c.inspector.LimitQueue(t.Context(), "default", &tasks.Limits{Bytes: 1e6})
		require.NoError(t, err)
		bytes := func() int64 {
			all, err := c.inspector.Queues(t.Context())
			require.NoError(t, err)
			return all[0].Bytes
		}
		c.enqueue("n", tasks.Options{ID: "without"})
		plain := bytes()
		c.enqueue("n", tasks.Options{ID: "acme", Meta: map[string]string{"tenant": "acme"}})
		require.Equal(t, plain+int64(len(`,"m":{"tenant":"acme"}`)), bytes()-plain)
		c.enqueue("n", tasks.Options{ID: "umbrella", Meta: map[string]string{"tenant": "umbrella"}})
		require.Equal(t, []string{"acme"}, c.list(tasks.Filter{Text: "tenant=acme"}))
		require.NoError(t, c.inspector.Delete(t.Context(), "acme"))
		require.NoError(t, c.inspector.Delete(t.Context(), "umbrella"))
		require.Equal(t, plain, bytes())
	})
}
