package internal_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/membership"
	"github.com/stellarfw/stellar/worker/tasks"
)

// TestAnHourAheadAndBackOnVirtualTime: Redis's clock is an hour ahead for 8 s, in which a
// process dies. Nothing crashes, the process is taken over from after a lease, and
// periodic tasks go on.
func TestAnHourAheadAndBackOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := &redistest.Clock{}
		cfg := clock.Through(redistest.Embedded(t).Config())
		app := worker.NewApp()
		var ran atomic.Int64
		tasks.Handle(app, tasks.Definition{Name: "tick"}, func(context.Context, any) error { ran.Add(1); return nil })
		app.Periodic("tick", tasks.Every(10*time.Second))
		set := supervisortest.StartWith(t, app, supervisor.Config{Workers: 2, Redis: cfg})
		incarnations := func() (all []string) {
			for _, n := range set.Nodes() {
				all = append(all, n.API().Incarnation.String())
			}
			return all
		}
		before := incarnations()
		time.Sleep(30 * time.Second)

		clock.Step(time.Hour)
		directory := membership.Directory{Client: redistest.Client(t, cfg), Keys: cfg.Keys()}
		_, err := membership.NewKeeper(directory, membership.Times{}, zerolog.Nop()).Join(t.Context(), membership.JoinRequest{ID: "dead"})
		require.NoError(t, err)
		time.Sleep(8 * time.Second)
		clock.Step(-time.Hour)
		is := func() bool {
			members, err := directory.List(t.Context())
			require.NoError(t, err)
			for _, m := range members {
				if m.Incarnation.ID == "dead" {
					return true
				}
			}
			return false
		}
		require.True(t, is())
		time.Sleep(2*membership.DefaultLease + 3*time.Second)
		require.False(t, is(), "a lease, and one lease in which nobody takes over")

		ran.Store(0)
		time.Sleep(time.Minute)
		require.EqualValues(t, 6, ran.Load())
		require.Equal(t, before, incarnations())
		require.NoError(t, set.Stop())
		require.Zero(t, set.Report().Crashes)
	})
}
