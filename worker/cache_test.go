package worker_test

import (
	"context"
	"regexp"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

func TestMain(m *testing.M) { redistest.Main(m) }

// patient is how long a test waits for what has to happen.
const patient = time.Minute

// withSet runs the scenario beside two nodes, on either Redis.
func withSet(t *testing.T, app func() *worker.App, cfg worker.CacheConfig, scenario func(t *testing.T, set *supervisortest.Set, client redis.UniversalClient)) {
	t.Helper()
	redistest.Each(t, func(t *testing.T, at link.Config) {
		set := supervisortest.StartWith(t, app(), supervisor.Config{Workers: 2, Redis: at, Cache: cfg})
		scenario(t, set, redistest.Client(t, at))
	})
}

// txApp writes everything that a transaction can write to the cache.
func txApp() *worker.App {
	app := worker.NewApp()
	tasks.Handle(app, tasks.Definition{Name: "write", Retention: time.Minute}, func(ctx context.Context, in struct{ Locked bool }) error {
		c, tx := worker.FromContext(ctx).Cache, tasks.Tx(ctx)
		tx.Result(true)
		if in.Locked {
			l, err := c.Lock(ctx, "saved", time.Minute)
			if err != nil {
				return err
			}
			defer func() { _ = l.Unlock() }()
		}
		tx.Save("saved", map[string]string{"a": "<&>"}, time.Hour)
		tx.Increment("counted", 2)
		tx.Push("listed", "x")
		tx.Destroy("old")
		return nil
	})
	return app
}

func TestATransactionWritesInThePresetsLayout(t *testing.T) {
	for preset, prefixes := range map[cache.Preset][2]string{
		cache.Stellar: {"stellar:cache", "stellar:lock"}, cache.ActionHero: {"actionhero:cache:", "actionhero:lock:"},
	} {
		t.Run(string(preset), func(t *testing.T) {
			withSet(t, txApp, worker.CacheConfig{Preset: preset}, func(t *testing.T, set *supervisortest.Set, client redis.UniversalClient) {
				ctx, cancel := context.WithTimeout(t.Context(), patient)
				defer cancel()
				entry, queue := prefixes[0], set.Node("stellar-worker-1").API().Tasks
				require.NoError(t, client.Set(ctx, entry+"old", `{"value":1,"createdAt":1700000000000}`, 0).Err())
				require.NoError(t, client.Set(ctx, entry+"counted", `{"value":40,"createdAt":1700000000000}`, 0).Err())
				require.NoError(t, client.RPush(ctx, entry+"listed", `{"data":"theirs"}`).Err())

				_, err := queue.EnqueueAndWait(ctx, "write", nil, tasks.Options{})
				require.NoError(t, err)
				require.Regexp(t, `^\{"value":\{"a":"<&>"\},"expireTimestamp":\d{13},"createdAt":\d{13},"readAt":null\}$`, client.Get(ctx, entry+"saved").Val())
				require.InDelta(t, time.Hour, client.PTTL(ctx, entry+"saved").Val(), float64(time.Minute))
				require.Contains(t, client.Get(ctx, entry+"counted").Val(), `{"value":42,`)
				require.Equal(t, []string{`{"data":"theirs"}`, `{"data":"x"}`}, client.LRange(ctx, entry+"listed", 0, -1).Val())
				require.Zero(t, client.Exists(ctx, entry+"old").Val())
				require.Empty(t, client.Keys(ctx, "{stellar}:cache:*").Val(), "nothing of it in our own layout")
			})
		})
	}
}

func TestATransactionMindsTheLocksOfOtherImplementations(t *testing.T) {
	withSet(t, txApp, worker.CacheConfig{Preset: cache.ActionHero, CachePrefix: "app:", LockPrefix: "app-lock:"},
		func(t *testing.T, set *supervisortest.Set, client redis.UniversalClient) {
			ctx, cancel := context.WithTimeout(t.Context(), patient)
			defer cancel()
			queue := set.Node("stellar-worker-1").API().Tasks
			require.NoError(t, client.Set(ctx, "app-lock:saved", "their-node", time.Minute).Err())
			_, err := queue.EnqueueAndWait(ctx, "write", nil, tasks.Options{MaxAttempts: 1})
			require.ErrorContains(t, err, "locked")
			require.Empty(t, client.Keys(ctx, "app:*").Val(), "all or nothing")
			require.NoError(t, client.Del(ctx, "app-lock:saved").Err())
		})
}

// lockApp has a method that locks "mine" and keeps it.
func lockApp() *worker.App {
	app := worker.NewApp()
	rpcregistry.Handle(app, "test.lock", func(ctx context.Context, _ struct{}) (bool, error) {
		_, err := worker.FromContext(ctx).Cache.LockWith(context.WithoutCancel(ctx), "mine", cache.LockOptions{TTL: time.Hour, NoRenew: true})
		return err == nil, err
	})
	return app
}

func TestLocksOfACrashedNodeAreFreedInEveryLayout(t *testing.T) {
	for preset, name := range map[cache.Preset]string{cache.Native: "{stellar}:lock:mine", cache.Stellar: "stellar:lockmine"} {
		t.Run("preset "+string(preset), func(t *testing.T) {
			withSet(t, lockApp, worker.CacheConfig{Preset: preset}, func(t *testing.T, set *supervisortest.Set, client redis.UniversalClient) {
				ctx, cancel := context.WithTimeout(t.Context(), patient)
				defer cancel()
				second := set.Node("stellar-worker-2")
				_, err := set.Node("stellar-worker-1").API().RPC.DoCluster(ctx, "test.lock", nil, rpcregistry.Node("stellar-worker-2"))
				require.NoError(t, err)
				holder := client.Get(ctx, name).Val()
				require.Contains(t, holder, "stellar-worker-2")
				second.Crash("the test says so")
				c := set.Node("stellar-worker-1").API().Cache
				l, err := c.Lock(ctx, "mine", time.Minute) // an hour before its time is over
				require.NoError(t, err)
				require.NoError(t, l.Unlock())
			})
		})
	}
}

func TestNearEntriesAreServedFromMemory(t *testing.T) {
	cfg := worker.CacheConfig{Near: cache.Near{Prefixes: []string{"near:"}}}
	withSet(t, worker.NewApp, cfg, func(t *testing.T, set *supervisortest.Set, client redis.UniversalClient) {
		ctx := t.Context()
		one, two := set.Node("stellar-worker-1").API().Cache, set.Node("stellar-worker-2").API().Cache
		require.NoError(t, one.Save(ctx, "near:a", 1, 0))
		loads := func() string {
			return regexp.MustCompile(`keyspace_hits:\d+`).FindString(client.Info(ctx, "stats").Val())
		}
		if loads() != "" { // the embedded Redis, which counts nothing, has no client-side caching: only the same results
			require.Eventually(t, func() bool {
				_, err := two.Load(ctx, "near:a")
				require.NoError(t, err)
				before := loads()
				for range 100 {
					_, err = two.Load(ctx, "near:a")
					require.NoError(t, err)
				}
				return loads() == before
			}, patient, 10*time.Millisecond, "a node's base storey keeps it in memory")
		}
		for n := range 20 {
			require.NoError(t, one.Save(ctx, "near:a", n, 0))
			require.Eventually(t, func() bool {
				got, err := cache.Get[int](ctx, two, "near:a")
				return err == nil && got == n
			}, patient, time.Millisecond)
		}
	})
}

func TestAConfigurationOfTheCacheIsChecked(t *testing.T) {
	for says, cfg := range map[string]worker.CacheConfig{
		`preset "rails"`:          {Preset: "rails"},
		"name one":                {CachePrefix: "x:"},
		"of entries and of locks": {Preset: cache.Stellar, CachePrefix: "x:", LockPrefix: "x:"},
		"-1 entries is negative":  {Near: cache.Near{MaxEntries: -1}},
		"a staleness of 2h":       {Near: cache.Near{MaxStale: 2 * time.Hour}},
	} {
		require.ErrorContains(t, cfg.Validate(), says)
		_, err := worker.NewHost(worker.HostConfig{Redis: link.Config{URL: "redis://127.0.0.1:1"}, App: worker.NewApp(), Cache: cfg})
		require.ErrorContains(t, err, says)
	}
	require.NoError(t, worker.CacheConfig{}.Validate())
	require.NoError(t, worker.CacheConfig{Preset: cache.ActionHero, CachePrefix: "x:", Near: cache.Near{Prefixes: []string{""}}}.Validate())
}
