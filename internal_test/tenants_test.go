package internal_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// TestClustersInTwoDatabasesAreTwoClusters has one namespace and token in both.
func TestClustersInTwoDatabasesAreTwoClusters(t *testing.T) {
	server := redistest.Start(t).Config()
	at := func(database string) (*supervisortest.Set, *atomic.Int64) {
		cfg := link.Config{URL: server.URL + database, Token: link.NewSecret("a token that both of them have")}
		var heard atomic.Int64
		app := worker.NewApp()
		app.Subscribe("news", func(context.Context, redisbus.Message) { heard.Add(1) })
		tasks.Handle(app, tasks.Definition{Name: "work"}, func(context.Context, int) error { return nil })
		return supervisortest.StartWith(t, app, supervisor.Config{Workers: 1, Redis: cfg}), &heard
	}
	first, heardByFirst := at("")
	second, heardBySecond := at("?db=5")
	id := "stellar-worker-1"
	a, b := first.Node(id).API(), second.Node(id).API()
	for _, api := range []*worker.API{a, b} {
		verdicts, err := api.RPC.DoAll(t.Context(), "api.ping", nil)
		require.NoError(t, err)
		require.Len(t, verdicts, 1, "it is alone")
		require.Equal(t, api.Incarnation.String(), verdicts[0].Node.Incarnation)
		require.NoError(t, api.Bus.Publish(t.Context(), "news", 1))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		_, err = api.Tasks.EnqueueAndWait(ctx, "work", 1, tasks.Options{}) // wakes, and ends are told
		cancel()
		require.NoError(t, err)
		began := time.Now()
		due, err := api.Tasks.EnqueueWith(t.Context(), "work", 1, tasks.Options{In: 50 * time.Millisecond, Await: true})
		require.NoError(t, err)
		_, err = api.Tasks.Wait(t.Context(), due.ID)
		require.NoError(t, err)
		require.Less(t, time.Since(began), 4*time.Second, "the mover was told")
	}
	_, err := a.RPC.DoCluster(t.Context(), "api.stop", nil, rpcregistry.Node(id))
	require.NoError(t, err)
	eventually(t, "it stops", func() bool { return first.Node(id) == nil || first.Node(id).API() == nil })
	_, err = b.RPC.DoCluster(t.Context(), "api.ping", nil, rpcregistry.Node(id))
	require.NoError(t, err, "the other goes on")
	require.EqualValues(t, 1, heardByFirst.Load())
	require.EqualValues(t, 1, heardBySecond.Load())
	require.Empty(t, b.Bus.Stats().Dropped, "it heard nothing of the first")
}
