package internal_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// A set works on while Sentinels replace the primary, which is killed under load.
//
// A failover without more ado may lose what the dead primary had acknowledged and
// not handed on. Here it hands on everything before it is killed: clients are
// paused until the replica has all, and never hear from it again. So the
// assertion is exact.
func TestASetSurvivesAFailoverOfItsSentinels(t *testing.T) {
	t.Parallel()
	redis := redistest.StartSentinels(t)
	cfg := redis.Config()
	app := worker.NewApp()
	tasks.Handle(app, tasks.Definition{Name: "count"}, func(ctx context.Context, id int) error {
		tasks.Tx(ctx).Increment("effects", 1)
		tasks.Tx(ctx).Save("effect:"+time.Duration(id).String(), true, 0)
		return nil
	})
	var log syncBuffer
	set, err := supervisor.New(supervisor.Config{Workers: 4, Redis: cfg}, app, zerolog.New(&log))
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- set.Serve(ctx) }()
	require.NoError(t, set.AwaitReady(t.Context()))
	before := set.Nodes()[0].Ended().Incarnation

	// Four producers go on through the failover. Who learns that a task may or may
	// not be stored sends it again, under the same id.
	accepted := make(chan int, 100_000)
	promoted := make(chan struct{})
	var producers sync.WaitGroup
	for p := range 4 {
		producers.Go(func() {
			late := 0 // accepted after the failover
			for i := 0; late < 50; i++ {
				id := i*4 + p
				for {
					api := set.Nodes()[0].API()
					if api == nil { // the failover has ended the node's life
						time.Sleep(time.Millisecond)
						continue
					}
					trying, cancel := context.WithTimeout(ctx, 5*time.Second)
					_, err := api.Tasks.EnqueueWith(trying, "count", id, tasks.Options{ID: "t" + time.Duration(id).String()})
					cancel()
					if err == nil || ctx.Err() != nil {
						break
					}
				}
				accepted <- id
				select {
				case <-promoted:
					late++
				default:
				}
			}
		})
	}
	require.Eventually(t, func() bool { return len(accepted) > 500 }, time.Minute, time.Millisecond)
	redis.Handover(t)
	redis.Primary.Kill()
	killed := time.Now()
	redis.AwaitFailover(t)
	back := time.Now()
	require.Eventually(t, func() bool {
		api := set.Nodes()[0].API()
		return api != nil && api.Cache.Save(ctx, "back", true, 0) == nil
	}, 5*time.Second, time.Millisecond, "work resumes within 5 s")
	t.Logf("back %s after the promotion", time.Since(back))
	close(promoted)
	producers.Wait()
	close(accepted)
	require.Greater(t, len(accepted), 700)

	api := set.Nodes()[0].API()
	require.Eventually(t, func() bool {
		n, err := cache.Get[int](ctx, api.Cache, "effects")
		return err == nil && n >= len(accepted)
	}, time.Minute, 10*time.Millisecond)
	for id := range accepted {
		_, err := cache.Get[bool](ctx, api.Cache, "effect:"+time.Duration(id).String())
		require.NoError(t, err, "task %d was acknowledged", id)
	}
	n, err := cache.Get[int](ctx, api.Cache, "effects")
	require.NoError(t, err)
	size, err := api.Cache.Size(ctx, "effect:*")
	require.NoError(t, err)
	require.Equal(t, size, n, "no task took effect twice")

	if back.Sub(killed) < 7*time.Second { // leases outlast 10 s; Sentinels that split their votes need longer
		require.Equal(t, before, set.Nodes()[0].Ended().Incarnation, "no node had to begin anew")
	}
	// A call is lost while its target's subscription is on its way to the new primary.
	eventually(t, "every node answers calls", func() bool {
		soon, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		verdicts, err := api.RPC.DoAll(soon, "api.ping", nil)
		return err == nil && len(verdicts) == 4 && !slices.ContainsFunc(verdicts, func(v rpcregistry.Verdict) bool { return v.Err != nil })
	})
	_, err = api.RPC.DoCluster(ctx, "api.ping", nil, rpcregistry.Node("stellar-worker-4"))
	require.NoError(t, err)
	log.await(t, "redis is back")
	stop()
	require.NoError(t, <-done)
	require.Zero(t, set.Report().Crashes)
}
