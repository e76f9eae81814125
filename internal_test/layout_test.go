package internal_test

import (
	"context"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"github.com/thejerf/suture/v4"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// A namespace of a newer version of the program is refused, by a set at its start
// and by a client at its first use, before anything is written.
func TestANamespaceOfANewerLayoutIsRefused(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		redis := redistest.Client(t, cfg)
		cfg.Token = link.NewSecret("the token of a test") // no node draws one
		require.NoError(t, redis.Set(ctx, cfg.Keys().Layout(), link.Layout+1, 0).Err())

		set, err := supervisor.New(supervisor.Config{Workers: 2, Redis: cfg}, nil, zerolog.Nop())
		require.NoError(t, err)
		err = set.Serve(ctx)
		require.ErrorIs(t, err, link.ErrLayout)
		require.ErrorIs(t, err, suture.ErrDoNotRestart)
		require.NotErrorIs(t, err, supervisor.ErrRedisUnavailable)
		require.ErrorContains(t, err, "run a newer version")

		client, err := worker.Connect(ctx, cfg, nil)
		require.NoError(t, err)
		defer func() { require.NoError(t, client.Close()) }()
		_, err = client.Tasks.EnqueueWith(ctx, "x", nil, tasks.Options{AnyName: true})
		require.ErrorIs(t, err, link.ErrLayout)
		_, err = client.Inspector.Queues(ctx)
		require.ErrorIs(t, err, link.ErrLayout)
		require.ErrorIs(t, client.Cache.Save(ctx, "k", 1, time.Minute), link.ErrLayout)
		require.ErrorIs(t, client.Bus.Publish(ctx, "news", 1), link.ErrLayout)
		_, err = client.RPC.DoCluster(ctx, "api.ping", nil, rpcregistry.All())
		require.ErrorIs(t, err, link.ErrLayout)
		require.ErrorContains(t, err, "run a newer version")
		require.ErrorIs(t, client.Ping(ctx), link.ErrLayout)
		require.Equal(t, []string{cfg.Keys().Layout()}, redis.Keys(ctx, "*").Val(), "nothing else is there")

		require.NoError(t, redis.Del(ctx, cfg.Keys().Layout()).Err())
		require.Eventually(t, func() bool { return client.Bus.Publish(ctx, "news", 1) == nil },
			10*time.Second, 10*time.Millisecond, "it goes on trying")
		_, err = client.Tasks.EnqueueWith(ctx, "x", nil, tasks.Options{AnyName: true})
		require.NoError(t, err)
	})
}

// The layout may be raised between two lives of a node: then the set ends.
func TestASetEndsWhenItsNextLifeIsRefused(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		set := supervisortest.StartWith(t, worker.NewApp(), supervisor.Config{Workers: 1, Redis: cfg, Version: "v1.2.3"})
		members, err := set.Directory().List(t.Context())
		require.NoError(t, err)
		require.Equal(t, "v1.2.3", members[0].Process.Version)
		require.Equal(t, link.Layout, members[0].Process.Layout)
		require.NoError(t, redistest.Client(t, cfg).Set(t.Context(), cfg.Keys().Layout(), link.Layout+1, 0).Err())
		set.Nodes()[0].Crash("drill")
		require.ErrorIs(t, set.Ended(t), link.ErrLayout)
	})
}
