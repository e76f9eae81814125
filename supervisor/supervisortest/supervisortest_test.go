package supervisortest_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/membership"
	"github.com/stellarfw/stellar/worker/tasks"
)

func TestMain(m *testing.M) { redistest.Main(m) }

func TestThreeNodesInAFewLines(t *testing.T) {
	app := worker.NewApp()
	ran := make(chan string, 1)
	tasks.Handle(app, tasks.Definition{Name: "hello", Retention: time.Minute}, func(ctx context.Context, name string) error {
		tasks.Tx(ctx).Increment("greetings", 1)
		ran <- worker.FromContext(ctx).ID() + " greets " + name
		return nil
	})
	set := supervisortest.Start(t, app)

	api := set.Node("stellar-worker-2").API()
	receipt, err := api.Tasks.Enqueue(t.Context(), "hello", "world")
	require.NoError(t, err)
	require.Regexp(t, `^stellar-worker-[123] greets world$`, <-ran)
	_, err = api.Tasks.Wait(t.Context(), receipt.ID)
	require.NoError(t, err)
	n, err := cache.Get[int](t.Context(), api.Cache, "greetings")
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

func TestANodeCrashesBacksOffAndComesBackOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := supervisortest.StartWith(t, worker.NewApp(), supervisor.Config{Workers: 2, Backoff: 8 * time.Second})
		node := set.Node("stellar-worker-2")
		first := node.Ended().Incarnation
		node.Crash("drill")
		crashed := time.Now()
		time.Sleep(time.Second) // it tells the others, together with whoever else leaves
		require.Nil(t, set.Node("stellar-worker-2"), "it has ended")
		require.Equal(t, membership.Running, set.Node("stellar-worker-1").State(), "the other has not")

		require.NoError(t, set.AwaitReady(t.Context()))
		pause := time.Since(crashed)
		require.GreaterOrEqual(t, pause, 4*time.Second)
		require.LessOrEqual(t, pause, 8*time.Second+50*time.Millisecond)
		second := set.Node("stellar-worker-2").Ended().Incarnation
		require.NotEqual(t, first, second, "a new incarnation under the same id")
		require.NoError(t, set.Stop())
		require.Equal(t, 1, set.Report().Crashes)
	})
}
