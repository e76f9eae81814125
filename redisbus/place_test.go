package redisbus_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

func TestTLS(t *testing.T) {
	authority := redistest.NewAuthority(t)
	cfg := redistest.StartTLS(t, authority)
	conns, err := link.Open(cfg, "node")
	require.NoError(t, err)
	require.NoError(t, conns.Ping(t.Context()))
	require.NoError(t, conns.Close())
	b := start(t, cfg, "b")
	got := inbox(b.Bus, "x")
	require.NoError(t, b.Publish(t.Context(), "x", 1))
	receive(t, got)

	fails := func(cfg link.Config, want string) {
		t.Helper()
		err := link.Explain(redistest.Client(t, cfg).Ping(t.Context()).Err())
		require.ErrorIs(t, err, link.ErrUnavailable)
		require.ErrorContains(t, err, want)
	}
	wrong := cfg
	wrong.TLS.CA = redistest.NewAuthority(t).File
	fails(wrong, "certificate is not signed by an authority that is trusted here")
	wrong.TLS = link.TLSFiles{}
	fails(wrong, "certificate is not signed by an authority that is trusted here")
	wrong = cfg
	wrong.URL = strings.Replace(cfg.URL, "127.0.0.1", "127.0.0.2", 1)
	require.Error(t, redistest.Client(t, wrong).Ping(t.Context()).Err())
	wrong = cfg
	wrong.TLS.Cert, wrong.TLS.Key = "", ""
	require.Error(t, redistest.Client(t, wrong).Ping(t.Context()).Err(), "the server wants a certificate")

	// The same through the query of the URL.
	cfg.URL += "?ca=" + cfg.TLS.CA + "&cert=" + cfg.TLS.Cert + "&key=" + cfg.TLS.Key
	cfg.TLS = link.TLSFiles{}
	require.NoError(t, redistest.Client(t, cfg).Ping(t.Context()).Err())
}

// counted calls somebody's inbox and returns how many heard.
func counted(t *testing.T, from *redisbus.Bus, to string) int64 {
	t.Helper()
	n, err := from.Send(t.Context(), to, "x", nil)
	if err != nil {
		return 0
	}
	return n
}

func TestRedisClusterIsOnePlaceAlsoAfterItMoved(t *testing.T) {
	cluster := redistest.StartCluster(t)
	cfg := cluster.Config()
	cfg.Namespace = "moves"
	a, b := start(t, cfg, "a"), start(t, cfg, "b")
	got := inbox(b.Bus, "x")
	for range 20 {
		require.EqualValues(t, 1, counted(t, a.Bus, "b"))
		require.Zero(t, counted(t, a.Bus, "nobody"))
		require.True(t, receive(t, got).Directed)
	}
	c := redistest.Client(t, cfg)
	key := cfg.Keys().Cache("x")
	require.NoError(t, c.Set(t.Context(), key, 1, 0).Err())

	// A replica takes over in peace: the old owner lives on, and says MOVED.
	owner := cluster.Owner(t, key)
	heir := cluster.Join(t)
	require.Eventually(t, func() bool {
		return heir.Do(t, "cluster", "myid") != nil && strings.Contains(fmt.Sprint(heir.Do(t, "cluster", "nodes")), fmt.Sprint(owner.Do(t, "cluster", "myid")))
	}, time.Minute, 10*time.Millisecond)
	heir.Do(t, "cluster", "replicate", owner.Do(t, "cluster", "myid"))
	require.Eventually(t, func() bool {
		return strings.Contains(fmt.Sprint(heir.Do(t, "info", "replication")), "master_link_status:up")
	}, time.Minute, 10*time.Millisecond)
	heir.Do(t, "cluster", "failover")
	require.Eventually(t, func() bool {
		return strings.Contains(fmt.Sprint(owner.Do(t, "info", "replication")), "role:slave")
	}, time.Minute, 10*time.Millisecond)
	require.NoError(t, link.Retry(t.Context(), func(ctx context.Context) error { return c.Incr(ctx, key).Err() }))
	require.Equal(t, "2", c.Get(t.Context(), key).Val(), "once")
	require.Eventually(t, func() bool {
		return strings.Contains(fmt.Sprint(owner.Do(t, "info", "replication")), "master_link_status:up")
	}, time.Minute, 10*time.Millisecond)
	// Who does nothing but listen follows as soon as its node says something to Redis.
	for _, x := range []node{a, b} {
		require.NoError(t, link.Retry(t.Context(), func(ctx context.Context) error { return x.conns.Client.Get(ctx, key).Err() }))
	}
	require.Eventually(t, func() bool { return counted(t, a.Bus, "b") == 1 && counted(t, b.Bus, "a") == 1 }, time.Minute, 20*time.Millisecond)

	// And one dies.
	heir.Kill()
	require.Error(t, c.Incr(t.Context(), key).Err())
	owner.Do(t, "cluster", "failover", "takeover")
	require.Eventually(t, func() bool {
		return c.Incr(t.Context(), key).Err() == nil && counted(t, a.Bus, "b") == 1
	}, time.Minute, 20*time.Millisecond)
}

func TestSentinelsNameThePrimary(t *testing.T) {
	s := redistest.StartSentinels(t)
	cfg := s.Config()
	a, b := start(t, cfg, "a"), start(t, cfg, "b")
	c := redistest.Client(t, cfg)
	require.NoError(t, c.Set(t.Context(), "k", 1, 0).Err())
	require.EqualValues(t, 1, counted(t, a.Bus, "b"))

	for _, wrong := range []struct{ from, to, want string }{
		{"mymaster", "other", `knows no primary named "other"`},
		{"", "", "password"},
	} {
		bad := cfg
		if wrong.from == "" {
			bad.SentinelPassword = link.NewSecret("hunter2")
		} else {
			bad.URL = strings.Replace(bad.URL, wrong.from, wrong.to, 1)
		}
		err := redistest.Client(t, bad).Get(t.Context(), "k").Err()
		require.NotErrorIs(t, err, redis.Nil, "not a missing key")
		err = link.Explain(err)
		require.ErrorIs(t, err, link.ErrUnavailable)
		require.ErrorContains(t, err, wrong.want)
		require.NotContains(t, err.Error(), "hunter")
	}

	// A Sentinel that is gone is no loss, nor is a primary that is demoted.
	s.Watchers[0].Kill()
	s.Watchers[1].Do(t, "sentinel", "failover", "mymaster")
	s.AwaitFailover(t)
	promoted := redistest.Client(t, link.Config{URL: "redis://" + s.ReplicaAddress + "/0"})
	require.Eventually(t, func() bool {
		return c.Set(t.Context(), "k", 2, 0).Err() == nil && promoted.Get(t.Context(), "k").Val() == "2" &&
			counted(t, a.Bus, "b") == 1 && counted(t, b.Bus, "a") == 1
	}, time.Minute, 20*time.Millisecond)
}
