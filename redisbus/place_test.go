package redisbus_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

func TestURLsOfEveryKind(t *testing.T) {
	for url, want := range map[string]string{
		"redis+sentinel://u:hunter2@a:1,b/mymaster/3?sentinel_user=s&sentinel_password=hunter2": "redis+sentinel://a:1,b/mymaster/3",
		"rediss+sentinel://[::1]:26379,b:2/mymaster":                                            "rediss+sentinel://[::1]:26379,b:2/mymaster",
		"redis+cluster://:hunter2@a:1,b:2,c:3":                                                  "redis+cluster://a:1,b:2,c:3",
		"rediss+cluster://a/0":                                                                  "rediss+cluster://a/0",
	} {
		c := redisbus.Config{URL: url}
		require.NoError(t, c.Validate(), url)
		require.Equal(t, want, c.Address())
		require.Equal(t, strings.Contains(url, "hunter2"), c.HoldsPassword(), url)
	}
	for url, want := range map[string]string{
		"redis+sentinel://u:hunter2@a:1,b:2":           "does not name the primary",
		"redis+sentinel://u:hunter2@a:1,b:2/":          "does not name the primary",
		"redis+sentinel://u:hunter2@a:1,,b:2/m":        "not a list of hosts",
		"redis+sentinel://u:hunter2@a:hunter2,b:2/m":   "not a list of hosts",
		"redis+sentinel://u:hunter2@a:1/m/zero":        "redis+sentinel://",
		"redis+cluster://u:hunter2@a:1,b:2/1":          "only database 0",
		"redis+cluster://u:hunter2@/":                  "not a list of hosts",
		"redis+magic://u:hunter2@a:1":                  "not a valid URL",
		"unix+cluster://u:hunter2@a:1":                 "not a valid URL",
		"redis://u:hunter2@a:1,b:2":                    "redis+cluster://",
		"redis+cluster://u:hunter2@a:1?x=%zz":          "not a valid query",
		"redis://u:hunter2@a:1?ca=/none":               "use rediss://",
		"rediss://u:hunter2@a:1?ca=/none":              "CA file",
		"rediss://u:hunter2@a:1?cert=/none":            "go together",
		"rediss://u:hunter2@a:1?cert=/none&key=/none2": "/none2",
	} {
		err := redisbus.Config{URL: url}.Validate()
		require.ErrorContains(t, err, want, url)
		require.NotContains(t, err.Error(), "hunter", url)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	err := redisbus.Config{URL: "rediss+cluster://a:1", TLS: redisbus.TLSFiles{CA: empty}}.Validate()
	require.ErrorContains(t, err, "no certificate in PEM")
}

func TestTLS(t *testing.T) {
	authority := redistest.NewAuthority(t)
	cfg := redistest.StartTLS(t, authority)
	conns, err := redisbus.Open(cfg, "node")
	require.NoError(t, err)
	require.NoError(t, conns.Ping(t.Context()))
	require.NoError(t, conns.Close())
	b := start(t, cfg, "b")
	got := inbox(b.Bus, "x")
	require.NoError(t, b.Publish(t.Context(), "x", 1))
	receive(t, got)

	fails := func(cfg redisbus.Config, want string) {
		t.Helper()
		err := redisbus.Explain(redistest.Client(t, cfg).Ping(t.Context()).Err())
		require.ErrorIs(t, err, redisbus.ErrUnavailable)
		require.ErrorContains(t, err, want)
	}
	wrong := cfg
	wrong.TLS.CA = redistest.NewAuthority(t).File
	fails(wrong, "certificate is not signed by an authority that is trusted here")
	wrong.TLS = redisbus.TLSFiles{}
	fails(wrong, "certificate is not signed by an authority that is trusted here")
	wrong = cfg
	wrong.URL = strings.Replace(cfg.URL, "127.0.0.1", "127.0.0.2", 1)
	require.Error(t, redistest.Client(t, wrong).Ping(t.Context()).Err())
	wrong = cfg
	wrong.TLS.Cert, wrong.TLS.Key = "", ""
	require.Error(t, redistest.Client(t, wrong).Ping(t.Context()).Err(), "the server wants a certificate")

	// The same through the query of the URL.
	cfg.URL += "?ca=" + cfg.TLS.CA + "&cert=" + cfg.TLS.Cert + "&key=" + cfg.TLS.Key
	cfg.TLS = redisbus.TLSFiles{}
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
	}, 20*time.Second, 10*time.Millisecond)
	heir.Do(t, "cluster", "replicate", owner.Do(t, "cluster", "myid"))
	require.Eventually(t, func() bool {
		return strings.Contains(fmt.Sprint(heir.Do(t, "info", "replication")), "master_link_status:up")
	}, 20*time.Second, 10*time.Millisecond)
	heir.Do(t, "cluster", "failover")
	require.Eventually(t, func() bool {
		return strings.Contains(fmt.Sprint(owner.Do(t, "info", "replication")), "role:slave")
	}, 20*time.Second, 10*time.Millisecond)
	require.NoError(t, redisbus.Retry(t.Context(), func(ctx context.Context) error { return c.Incr(ctx, key).Err() }))
	require.Equal(t, "2", c.Get(t.Context(), key).Val(), "once")
	require.Eventually(t, func() bool {
		return strings.Contains(fmt.Sprint(owner.Do(t, "info", "replication")), "master_link_status:up")
	}, 20*time.Second, 10*time.Millisecond)
	// Who does nothing but listen follows as soon as its node says something to Redis.
	for _, x := range []node{a, b} {
		require.NoError(t, redisbus.Retry(t.Context(), func(ctx context.Context) error { return x.conns.Client.Get(ctx, key).Err() }))
	}
	require.Eventually(t, func() bool { return counted(t, a.Bus, "b") == 1 && counted(t, b.Bus, "a") == 1 }, 20*time.Second, 20*time.Millisecond)

	// And one dies.
	heir.Kill()
	require.Error(t, c.Incr(t.Context(), key).Err())
	owner.Do(t, "cluster", "failover", "takeover")
	require.Eventually(t, func() bool {
		return c.Incr(t.Context(), key).Err() == nil && counted(t, a.Bus, "b") == 1
	}, 20*time.Second, 20*time.Millisecond)
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
			bad.SentinelPassword = "hunter2"
		} else {
			bad.URL = strings.Replace(bad.URL, wrong.from, wrong.to, 1)
		}
		err := redistest.Client(t, bad).Get(t.Context(), "k").Err()
		require.NotErrorIs(t, err, redis.Nil, "not a missing key")
		err = redisbus.Explain(err)
		require.ErrorIs(t, err, redisbus.ErrUnavailable)
		require.ErrorContains(t, err, wrong.want)
		require.NotContains(t, err.Error(), "hunter")
	}

	// A Sentinel that is gone is no loss, nor is a primary that is demoted.
	s.Watchers[0].Kill()
	s.Watchers[1].Do(t, "sentinel", "failover", "mymaster")
	s.AwaitFailover(t)
	promoted := redistest.Client(t, redisbus.Config{URL: "redis://" + s.ReplicaAddress + "/0"})
	require.Eventually(t, func() bool {
		return c.Set(t.Context(), "k", 2, 0).Err() == nil && promoted.Get(t.Context(), "k").Val() == "2" &&
			counted(t, a.Bus, "b") == 1 && counted(t, b.Bus, "a") == 1
	}, 20*time.Second, 20*time.Millisecond)
}
