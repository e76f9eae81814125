package worker_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/group"
)

// lives observes nodes.
type lives struct {
	worker.Unobserved
	started chan worker.NodeStarted
	ended   chan worker.NodeEnded
}

func (l *lives) NodeStarted(e worker.NodeStarted) { l.started <- e }

func (l *lives) NodeEnded(e worker.NodeEnded) { l.ended <- e }

func TestAnObserverHearsOfEachLifeAndWhyItEnded(t *testing.T) {
	redistest.Each(t, func(t *testing.T, at link.Config) {
		observer := &lives{started: make(chan worker.NodeStarted, 100), ended: make(chan worker.NodeEnded, 100)}
		var broken atomic.Int64
		app := worker.NewApp()
		app.OnStart(func(context.Context) error {
			switch broken.Add(-1) {
			case 1:
				return errors.New("no disk")
			case 0:
				panic("no memory")
			}
			return nil
		})
		set := supervisortest.StartWith(t, app, supervisor.Config{
			Workers: 1, Redis: at, Version: "v1", Observer: worker.Observers(nil, observer, worker.Unobserved{}),
			Backoff: time.Millisecond, MaxBackoff: time.Millisecond,
		})
		next := func(why worker.EndReason) worker.NodeEnded {
			e := <-observer.ended
			require.Equal(t, why, e.Why, e.Err)
			require.Equal(t, link.NodeOf(e.Incarnation), e.ID)
			require.Positive(t, e.Lived)
			return e
		}
		first := <-observer.started
		require.Equal(t, "stellar-worker-1", first.ID)
		require.Equal(t, "v1", first.Process.Version)

		broken.Store(2)
		set.Nodes()[0].Crash("drill")
		e := next(worker.EndInjected)
		require.ErrorIs(t, e.Err, worker.ErrInjected)
		require.Equal(t, first.Incarnation, e.Incarnation)
		require.ErrorContains(t, next(worker.EndFailed).Err, "no disk")
		e = next(worker.EndPanicked)
		require.ErrorAs(t, e.Err, new(*group.PanicError))
		second := <-observer.started
		require.NotEqual(t, first.Incarnation, second.Incarnation)

		client := connect(t, worker.ClientConfig{Redis: at})
		_, err := client.RPC.DoCluster(t.Context(), "api.restart", nil, rpcregistry.Node("stellar-worker-1"))
		require.NoError(t, err)
		require.NoError(t, next(worker.EndRestarted).Err)
		third := <-observer.started
		require.NoError(t, redistest.Client(t, at).Del(t.Context(), at.Keys().Leases()).Err())
		_, err = set.Nodes()[0].API().Tasks.Enqueue(t.Context(), "wake", nil)
		require.NoError(t, err)
		require.Equal(t, third.Incarnation, next(worker.EndLeaseLost).Incarnation)
		<-observer.started
		require.NoError(t, set.Stop())
		require.NoError(t, next(worker.EndStopped).Err)
		require.Empty(t, observer.started)
		require.Empty(t, observer.ended)
	})
}

func TestNoObserversAreNil(t *testing.T) {
	require.Nil(t, worker.Observers())
	require.Nil(t, worker.Observers(nil, nil))
	require.Equal(t, worker.Unobserved{}, worker.Observers(worker.Unobserved{}))
}

func TestOutsideANodeThereIsNoAPI(t *testing.T) {
	require.False(t, worker.OnNode(t.Context()))
	require.PanicsWithValue(t, worker.ErrNoNode, func() { worker.FromContext(t.Context()) })
}
