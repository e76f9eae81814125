package worker_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/group"
	"github.com/stellarfw/stellar/worker/tasks"
)

// lives observes nodes.
type lives struct {
	worker.Unobserved
	started chan worker.NodeStart
	ended   chan worker.NodeEnd
}

func (l *lives) NodeStarted(e worker.NodeStart) { l.started <- e }

func (l *lives) NodeEnded(e worker.NodeEnd) { l.ended <- e }

func TestAnObserverHearsOfEachLifeAndWhyItEnded(t *testing.T) {
	redistest.Each(t, func(t *testing.T, at link.Config) {
		observer := &lives{started: make(chan worker.NodeStart, 100), ended: make(chan worker.NodeEnd, 100)}
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
		next := func(why worker.EndReason) worker.NodeEnd {
			e := <-observer.ended
			require.Equal(t, why, e.Why, e.Err)
			require.Equal(t, link.NodeOf(e.Incarnation), e.ID)
			require.Positive(t, e.Lived)
			return e
		}
		first := <-observer.started
		require.Equal(t, "stellar-worker-1", first.ID)
		require.Equal(t, "v1", first.Process.Version)
		require.Equal(t, worker.StartFirst, first.Why)

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
		require.Equal(t, worker.StartCrash, second.Why)
		require.Positive(t, second.Recovered)

		client := connect(t, worker.ClientConfig{Redis: at})
		_, err := client.RPC.DoCluster(t.Context(), "api.restart", nil, rpcregistry.Node("stellar-worker-1"))
		require.NoError(t, err)
		require.NoError(t, next(worker.EndRestarted).Err)
		third := <-observer.started
		require.Equal(t, worker.StartRestart, third.Why)
		require.Zero(t, third.Recovered)
		require.NoError(t, redistest.Client(t, at).Del(t.Context(), at.Keys().Leases()).Err())
		_, err = client.Tasks.EnqueueWith(t.Context(), "wake", nil, tasks.Options{AnyName: true}) // the node may have ended by now
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

// parts counts what an observer hears of each part.
type parts struct {
	worker.Unobserved
	redis, dropped, calls, methods, cache, held atomic.Int64
}

func (p *parts) RedisFailed(string, link.Cause, error) { p.redis.Add(1) }

func (p *parts) MessageDropped(redisbus.Drop) { p.dropped.Add(1) }

func (p *parts) CallEnded(rpcregistry.CallEnd) { p.calls.Add(1) }

func (p *parts) MethodEnded(rpcregistry.MethodEnd) { p.methods.Add(1) }

func (p *parts) CacheDone(cache.Operation) { p.cache.Add(1) }

func (p *parts) LockHeld(cache.LockTime) { p.held.Add(1) }

func TestAnObserverHearsOfAllPartsOfNodesAndClients(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	at := redistest.Embedded(t).Config()
	var ofSet, ofClient parts
	set := supervisortest.StartWith(t, nil, supervisor.Config{Workers: 1, Redis: at, Observer: worker.Observers(&ofSet, worker.Unobserved{})})
	far, r := throughRoad(at)
	r.closed.Store(true)
	client := connect(t, worker.ClientConfig{Redis: far, Observer: &ofClient})
	called := make(chan error, 1)
	go func() {
		_, err := client.RPC.DoCluster(ctx, "api.ping", nil, rpcregistry.All())
		called <- err
	}()
	require.Eventually(t, func() bool { return ofClient.redis.Load() > 0 }, patient, time.Millisecond)
	r.closed.Store(false)
	require.NoError(t, <-called)
	require.EqualValues(t, 1, ofClient.calls.Load())
	require.Zero(t, ofSet.calls.Load())
	require.Eventually(t, func() bool { return ofSet.methods.Load() == 1 }, patient, time.Millisecond)

	require.NoError(t, redistest.Client(t, at).Publish(ctx, at.Keys().Channel(), "forged").Err())
	require.Eventually(t, func() bool { return ofSet.dropped.Load() > 0 }, patient, time.Millisecond)
	for c, heard := range map[*cache.Cache]*parts{client.Cache: &ofClient, set.Nodes()[0].API().Cache: &ofSet} {
		require.NoError(t, c.Save(ctx, "k", 1, time.Minute))
		lock, err := c.Lock(ctx, "k", time.Minute)
		require.NoError(t, err)
		require.NoError(t, lock.Unlock())
		require.Positive(t, heard.cache.Load())
		require.EqualValues(t, 1, heard.held.Load())
	}
}
