package internal_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker/membership"
)

// TestAnExactIDOfADeadProcessIsWaitedForOnVirtualTime: a process that was killed
// and starts again at once finds its id taken, by itself.
func TestAnExactIDOfADeadProcessIsWaitedForOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := redistest.Embedded(t).Config()
		directory := membership.Directory{Client: redistest.Client(t, cfg), Keys: cfg.Keys()}
		// A keeper that is not served renews nothing, as that of a dead process.
		dead, err := membership.NewKeeper(directory, membership.Times{}, zerolog.Nop()).
			Join(t.Context(), membership.JoinRequest{ID: "main"})
		require.NoError(t, err)
		began := time.Now()
		set := supervisortest.StartWith(t, nil, supervisor.Config{Workers: 1, ID: "main", Redis: cfg})
		require.Equal(t, []string{"main"}, ids(set))
		require.Less(t, time.Since(began), 20*time.Second, "the lease, and a little more")
		require.NotEqual(t, dead.Incarnation.String(), set.Nodes()[0].Ended().Incarnation)
		require.Zero(t, set.Report().Crashes)
		require.NoError(t, set.Stop())
	})
}

func TestAnExactIDThatALiveNodeKeepsEndsTheSetOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := redistest.Embedded(t).Config()
		first := supervisortest.StartWith(t, nil, supervisor.Config{Workers: 1, ID: "main", Redis: cfg})
		second, err := supervisor.New(supervisor.Config{Workers: 1, ID: "main", Redis: cfg}, nil, zerolog.Nop())
		require.NoError(t, err)
		began := time.Now()
		err = second.Serve(t.Context())
		require.ErrorIs(t, err, membership.ErrIDTaken)
		require.ErrorContains(t, err, "choose another id")
		require.NotErrorIs(t, err, supervisor.ErrFlapping)
		require.Greater(t, time.Since(began), 2*membership.DefaultLease)
		require.Equal(t, []string{"main"}, ids(first))
		require.NoError(t, first.Stop())
	})
}
