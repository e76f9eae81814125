package embedded_test

import (
	"runtime"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/embedded"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

// The memory that is allocated stands for the work: it does not depend on how fast the
// machine is.
func TestACommandCostsTheSameHoweverManyKeysThereAre(t *testing.T) {
	c := redistest.Client(t, redistest.Embedded(t).Config())
	var pairs []any
	for i := range 20_000 {
		pairs = append(pairs, "key "+strconv.Itoa(i), "v")
	}
	require.NoError(t, c.MSet(t.Context(), pairs...).Err())
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	require.NoError(t, c.Eval(t.Context(), "for i = 1, 1000 do redis.call('get', 'key 1') end return 1", nil).Err())
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(64<<20), "every command looked at every key")
}

func TestExpiryIsExactOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := embedded.New()
		c := redistest.Client(t, s.Config())
		require.NoError(t, c.Set(t.Context(), "k", "v", 20*time.Millisecond).Err())
		time.Sleep(19 * time.Millisecond)
		require.Equal(t, time.Millisecond, c.PTTL(t.Context(), "k").Val())
		time.Sleep(time.Millisecond)
		require.ErrorIs(t, c.Get(t.Context(), "k").Err(), redis.Nil)
		require.NoError(t, c.Close())
		require.NoError(t, s.Close())
	})
}
