package queue

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

func TestANewBoundOnBytesIsCountedSomeTasksAtATime(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		c, k := redistest.Client(t, cfg), cfg.Keys()
		ctx, s := t.Context(), NewStore(c, k)
		const n, each = 5000, int64(len("mail|default|1a3185c5000|\n{}"))
		fill(t, c, k, k.Queue("default"), n)
		require.NoError(t, c.HSet(ctx, k.Tasks(), "other", "mail|other|1|\n{}").Err())
		limits := Limits{Bytes: 1 << 30}
		bytes := func() int64 {
			sum, err := c.HGet(ctx, k.Bytes(), "default").Int64()
			require.NoError(t, err)
			return sum
		}

		set, err := s.SetQueue(ctx, "default", "operator", limits.String())
		require.NoError(t, err)
		require.Equal(t, limits, set.Limits)
		require.Equal(t, n*each, bytes())
		if cfg.URL != "" {
			require.Greater(t, redistest.Info(t, c, "commandstats", "cmdstat_hscan"), "calls=20", "in pieces")
		}
		require.Zero(t, c.Exists(ctx, k.Weighing(), k.Weighed("default")).Val(), "nothing is left")

		// Whoever set the limit is gone: a node goes on.
		_, err = s.SetQueue(ctx, "default", "reset", "")
		require.NoError(t, err)
		done, err := s.setQueue(ctx, "default", "operator", limits.String(), "")
		require.NoError(t, err)
		require.True(t, done.weighing)
		require.NoError(t, s.Weigh(ctx))
		require.Equal(t, n*each, bytes())
		require.NoError(t, s.Weigh(ctx), "nothing to do")
	})
}
