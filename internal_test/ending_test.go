package internal_test

import (
	"bytes"
	"context"
	"sync"
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

// Three sets are stopped, one after the other, while a handler ignores its context. Whoever
// takes the task over knows that nothing crashed.
func TestADeliberateEndIsNoCrashWhoeverTakesOverOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := redistest.Embedded(t)
		app := worker.NewApp()
		started, release := undead(app, "undead")
		let := sync.OnceFunc(func() { close(release) })
		defer let()
		client := tasks.NewClient(t.Context(), redistest.Client(t, server.Config()), server.Config().Keys(), nil)
		defer client.Close()
		receipt, err := client.EnqueueWith(t.Context(), "undead", 1, tasks.Options{AnyName: true})
		require.NoError(t, err)
		ends := []func(*supervisortest.Set){
			func(s *supervisortest.Set) { require.ErrorIs(t, s.Stop(), supervisor.ErrDrainDeadline) },
			func(s *supervisortest.Set) { // its supervisor hands over, and the process goes on
				require.NoError(t, s.Scale(t.Context(), 0))
				time.Sleep(time.Minute)
				require.ErrorIs(t, s.Stop(), supervisor.ErrDrainDeadline)
			},
		}
		for range 2 {
			for _, end := range ends {
				set := supervisortest.StartWith(t, app, supervisor.Config{
					Workers: 1, Redis: server.Config(), Drain: time.Second, Grace: time.Second,
				})
				require.Equal(t, receipt.ID, <-started)
				end(set)
			}
		}
		// The process is killed while it drains.
		line := &cable{dial: server.Dial}
		killed := supervisortest.StartWith(t, app, supervisor.Config{Workers: 1, Redis: line.config(), Drain: time.Hour})
		require.Equal(t, receipt.ID, <-started)
		go func() { _ = killed.Stop() }()
		time.Sleep(time.Second)
		line.set(true)
		last := supervisortest.StartWith(t, app, supervisor.Config{Workers: 1, Redis: server.Config()})
		require.Equal(t, receipt.ID, <-started)
		task, err := last.Nodes()[0].API().Inspector.Get(t.Context(), receipt.ID)
		require.NoError(t, err)
		require.Zero(t, task.Crashes)
		let()
		time.Sleep(time.Second)
		require.Equal(t, 1, effects(t, last))
	})
}
