package worker_test

import (
	"context"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/membership"
)

// A settler hands over the nodes of one launch, and those whose record has gone; the nodes of other
// processes stay as they are.
func TestASettlerRemovesTheNodesOfOneLaunch(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		client := redistest.Client(t, cfg)
		d := membership.Directory{Client: client, Keys: cfg.Keys()}
		k := membership.NewKeeper(d, membership.Times{}, zerolog.Nop())
		join := func(launch string) membership.Incarnation {
			l, err := k.Join(t.Context(), membership.JoinRequest{Prefix: "w", Process: membership.Process{
				Host: "here", PID: 7, Guarded: membership.Guarded{Launch: launch, Guardian: 1, Slot: 1},
			}})
			require.NoError(t, err)
			t.Cleanup(l.Release)
			return l.Incarnation
		}
		dead, vacated, other := join("one"), join("one"), join("two")
		_, err := d.Condemn(t.Context(), vacated, false, time.Minute)
		require.NoError(t, err)
		_, err = d.Vacate(t.Context(), vacated)
		require.NoError(t, err)

		s, err := worker.NewSettler(cfg, zerolog.Nop())
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, s.Close()) })
		require.NoError(t, s.Warm(t.Context()))
		require.EqualValues(t, 3, client.ZCard(t.Context(), cfg.Keys().Leases()).Val(), "warming changes nothing")
		settled, err := s.Settle(t.Context(), "one", []membership.Incarnation{vacated})
		require.NoError(t, err)
		require.Equal(t, 2, settled.Nodes)
		require.Equal(t, []string{other.String()}, client.ZRange(t.Context(), cfg.Keys().Leases(), 0, -1).Val())

		again := join("one") // the id of the dead one, by a process that would be another one
		require.Equal(t, dead.ID, again.ID)
		settled, err = s.Settle(t.Context(), "none", []membership.Incarnation{dead, vacated})
		require.NoError(t, err)
		require.Zero(t, settled.Nodes, "settling late hits no new incarnation")
		_, err = s.Settle(t.Context(), "", nil)
		require.Error(t, err, "processes without a guardian have no name in common")
		require.EqualValues(t, 2, client.ZCard(t.Context(), cfg.Keys().Leases()).Val())
	})
}

// While Redis is away, a settler waits as long as it may.
func TestASettlerWaitsForRedis(t *testing.T) {
	s, err := worker.NewSettler(link.Config{URL: "redis://127.0.0.1:1"}, zerolog.Nop())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = s.Settle(ctx, "one", nil)
	require.Error(t, err)
	require.Error(t, ctx.Err(), "it gave up with its context only")
}
