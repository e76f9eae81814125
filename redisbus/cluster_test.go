package redisbus_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

// PUBLISH counts the receivers only on the cluster node that it was sent to, so
// publishers and subscribers have to use the same one: otherwise calls would find
// nobody.
func TestRedisClusterCountsReceivers(t *testing.T) {
	cfg := redistest.StartCluster(t).Config()
	keepToken := func(c *redisbus.BusConfig) { c.TokenKept = true }
	a, b := start(t, cfg, "a", keepToken), start(t, cfg, "b", keepToken)
	hinted := make(chan struct{}, 10)
	b.Hint(cfg.Keys().Due(), func() { hinted <- struct{}{} })
	receive(t, hinted)
	got := inbox(b.Bus, "x")
	var last uint64
	for range 50 {
		n, err := a.Send(t.Context(), "b", "x", nil)
		require.NoError(t, err)
		require.EqualValues(t, 1, n)
		n, err = a.Send(t.Context(), "nobody", "x", nil)
		require.NoError(t, err)
		require.Zero(t, n)
		require.NoError(t, a.Publish(t.Context(), "x", nil))
		require.True(t, receive(t, got).Directed)
		m := receive(t, got)
		require.False(t, m.Directed)
		if last > 0 {
			require.Equal(t, last+1, m.Seq)
		}
		last = m.Seq
	}
}
