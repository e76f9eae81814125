package tasks_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/tasks"
)

// text returns a text whose JSON has n bytes.
func text(n int) string { return strings.Repeat("x", n-len(`""`)) }

func TestWhatATransactionHoldsIsBounded(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		fill := func(values int) func(*tasks.Transaction) {
			return func(tx *tasks.Transaction) {
				for range values {
					tx.Save("large", text(tasks.MaxResult), 0)
				}
			}
		}
		cases := map[string]struct {
			do  func(*tasks.Transaction)
			err string // empty: the task is done
		}{
			"largest result":   {func(tx *tasks.Transaction) { tx.Result(text(tasks.MaxResult)) }, ""},
			"result":           {func(tx *tasks.Transaction) { tx.Result(text(tasks.MaxResult + 1)) }, "result: too large: 16777217 bytes, at most 16777216"},
			"saved value":      {func(tx *tasks.Transaction) { tx.Save("k", text(tasks.MaxResult+1), 0) }, "save k: too large"},
			"pushed item":      {func(tx *tasks.Transaction) { tx.Push("k", text(tasks.MaxResult+1)) }, "push k: too large"},
			"follow-up":        {func(tx *tasks.Transaction) { tx.Enqueue("a", text(tasks.MaxPayload+1)) }, "enqueue a: payload too large"},
			"largest":          {fill(tasks.MaxTransaction/tasks.MaxResult - 1), ""},
			"transaction":      {fill(tasks.MaxTransaction / tasks.MaxResult), "transaction: too large: it has more than 50000 effects or 67108864 bytes"},
			"result with rest": {func(tx *tasks.Transaction) { fill(3)(tx); tx.Result(text(tasks.MaxResult)) }, "transaction: too large"},
			"most effects and a result": {func(tx *tasks.Transaction) {
				for range tasks.MaxEffects {
					tx.Publish("p", 1)
				}
				tx.Result(1)
			}, ""},
			"many effects": {func(tx *tasks.Transaction) {
				for range tasks.MaxEffects + 1 {
					tx.Increment("n", 1)
				}
			}, "transaction: too large"},
		}
		var r tasks.Registry
		for name, one := range cases {
			name = strings.ReplaceAll(name, " ", "-")
			tasks.Handle(&r, tasks.Definition{Name: name, MaxAttempts: 1, Retention: time.Hour}, func(ctx context.Context, _ number) error {
				one.do(tasks.Tx(ctx))
				return nil
			})
		}
		c := newCluster(t, cfg, &r)
		c.start(&r, 3)
		for name, one := range cases {
			id := c.enqueue(strings.ReplaceAll(name, " ", "-"), tasks.Options{})
			_, err := c.tasks.Wait(t.Context(), id)
			if one.err == "" {
				require.NoError(t, err, name)
				continue
			}
			require.ErrorIs(t, err, tasks.ErrDead, name)
			require.ErrorContains(t, err, one.err, name)
		}
		_, err := cache.Get[int](t.Context(), c.cache, "n")
		require.ErrorIs(t, err, cache.ErrNotFound, "nothing of a transaction that is too large is applied")
	})
}

// small is a Redis that reads at most 1 MiB at a time.
func small(t *testing.T) link.Config {
	return redistest.Start(t, "--proto-max-bulk-len", "1mb").Config()
}

func TestAnOutcomeThatRedisDoesNotTakeFailsItsOwnTaskAlone(t *testing.T) {
	const others = 30
	var r tasks.Registry
	tasks.Handle(&r, tasks.Definition{Name: "large", MaxAttempts: 3, Backoff: time.Millisecond}, func(ctx context.Context, _ number) error {
		tasks.Tx(ctx).Increment("effects", 1)
		tasks.Tx(ctx).Result(text(2 << 20))
		return nil
	})
	tasks.Handle(&r, tasks.Definition{Name: "fine"}, func(context.Context, number) error { return nil })
	c := newCluster(t, small(t), &r)
	large := c.enqueue("large", tasks.Options{})
	for range others {
		c.enqueue("fine", tasks.Options{})
	}
	n := c.start(&r, 5)
	_, err := c.tasks.Wait(t.Context(), large)
	require.ErrorIs(t, err, tasks.ErrDead)
	require.ErrorContains(t, err, "transaction refused: redis broke off a request of 2097")
	require.Equal(t, 1, c.get(large).Attempts, "no attempt is made again for the same end")
	require.ErrorContains(t, err, "proto-max-bulk-len")
	c.eventually("the others are done", func() bool { return c.counts().Done == others })
	_, err = cache.Get[int](t.Context(), c.cache, "effects")
	require.ErrorIs(t, err, cache.ErrNotFound)
	n.stop() // in peace: its session goes on
	c.conserved()
}

func TestAPayloadThatRedisDoesNotTakeFailsItsOwnCallAlone(t *testing.T) {
	var r tasks.Registry
	c := newCluster(t, small(t), &r)
	failed := make(chan error, 4)
	for range cap(failed) {
		go func() {
			_, err := c.tasks.Enqueue(t.Context(), "a", text(2<<20))
			failed <- err
		}()
	}
	for range cap(failed) {
		err := receive(t, failed)
		require.ErrorIs(t, err, tasks.ErrTooLarge)
		require.ErrorContains(t, err, "proto-max-bulk-len")
		require.NotErrorIs(t, err, link.ErrUnavailable)
	}
	c.enqueue("a", tasks.Options{})
	require.EqualValues(t, 1, c.counts().Pending)
}
