package internal_test

import (
	"bytes"
	"context"
	"sync/atomic"
	"testing"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/membership"
	"github.com/stellarfw/stellar/worker/tasks"
)

func TestACrashOfANodeThatDrainsIsLogged(t *testing.T) {
	app := worker.NewApp()
	var started atomic.Bool
	tasks.Handle(app, tasks.Definition{Name: "slow"}, func(ctx context.Context, _ int) error {
		started.Store(true)
		<-ctx.Done()
		return ctx.Err()
	})
	var log bytes.Buffer // one writer at a time, and read at the end
	set, err := supervisor.New(supervisor.Config{Workers: 1, Redis: redistest.Embedded(t).Config()}, app, zerolog.New(zerolog.SyncWriter(&log)))
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	served := make(chan error, 1)
	go func() { served <- set.Serve(ctx) }()
	require.NoError(t, set.AwaitReady(soon(t)))
	node := set.Nodes()[0]
	_, err = node.API().Tasks.Enqueue(t.Context(), "slow", 1)
	require.NoError(t, err)
	eventually(t, "it works", started.Load)
	stop()
	eventually(t, "it drains", func() bool { return node.State() == membership.Draining })
	node.Crash("in the middle of its drain")
	require.NoError(t, <-served)
	require.Contains(t, log.String(), "node failed while it was ending")
	require.Contains(t, log.String(), "in the middle of its drain")
	require.Zero(t, set.Report().Crashes)
}
