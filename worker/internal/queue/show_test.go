package queue

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

// fill puts n tasks into a list, the first of them first, a hundred with the same time.
func fill(t testing.TB, c *redis.Client, k link.Keys, list string, n int) {
	t.Helper()
	for from := 0; from < n; from += 1000 {
		var ids, records []any
		for i := from; i < min(from+1000, n); i++ {
			id := fmt.Sprintf("t%07d", i)
			ids = append(ids, id)
			records = append(records, id, "mail|default|"+strconv.FormatInt(modelStart+int64(i/100), 16)+"|\n{}")
		}
		require.NoError(t, c.LPush(t.Context(), list, ids...).Err())
		require.NoError(t, c.HSet(t.Context(), k.Tasks(), records...).Err())
	}
}

func TestShowFindsATaskInALongLine(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		c, k := redistest.Client(t, cfg), cfg.Keys()
		ctx, s, line := t.Context(), NewStore(c, k), k.Queue("default")
		const n = 5*nearEnds + 7
		fill(t, c, k, line, n)
		require.NoError(t, c.LPush(ctx, k.Queue("default^"), "urgent").Err())
		shown := func(i int) Shown {
			got, stored, err := s.Show(ctx, fmt.Sprintf("t%07d", i))
			require.NoError(t, err)
			require.True(t, stored)
			return got
		}
		for _, i := range []int{0, 1, nearEnds - 1, nearEnds, nearEnds + 1, n / 2, n/2 + 99, n - nearEnds - 1, n - nearEnds, n - 2, n - 1} {
			got := shown(i)
			require.Equal(t, "pending", got.State)
			require.False(t, got.About, "%d", i)
			require.Equal(t, strconv.Itoa(i+1), got.Position, "%d, after the urgent one", i)
		}

		// It came back to another part of the line.
		old := "t0000005"
		require.NoError(t, c.LRem(ctx, line, -1, old).Err())
		require.NoError(t, c.LInsertBefore(ctx, line, fmt.Sprintf("t%07d", n/2), old).Err())
		got := shown(5)
		require.Equal(t, "pending", got.State)
		require.True(t, got.About)
		at, err := strconv.Atoi(got.Position)
		require.NoError(t, err)
		require.Less(t, at, n)

		// It is in no list any more.
		require.NoError(t, c.LRem(ctx, line, -1, old).Err())
		require.NoError(t, c.LTrim(ctx, line, 0, 2*nearEnds-1).Err())
		require.Equal(t, "nowhere", shown(5).State)
		require.NoError(t, c.LPush(ctx, k.Parked("default", "mail"), old).Err())
		require.Equal(t, "parked", shown(5).State)
		fill(t, c, k, k.Parked("default", "mail"), n)
		require.Equal(t, "parked", shown(n/2).State)
	})
}
