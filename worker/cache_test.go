package worker_test

import (
	"context"
	"encoding/json"
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
const patient = 20 * time.Second

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

				receipt, err := queue.Enqueue(ctx, "write", nil)
				require.NoError(t, err)
				_, err = queue.Wait(ctx, receipt.ID)
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
			receipt, err := queue.EnqueueWith(ctx, "write", nil, tasks.Options{MaxAttempts: 1})
			require.NoError(t, err)
			_, err = queue.Wait(ctx, receipt.ID)
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

// caller calls one node from the other.
type caller struct {
	t   *testing.T
	rpc *rpcregistry.Endpoint
	to  string
}

func (c caller) try(method string, args any) (json.RawMessage, error) {
	c.t.Helper()
	r, err := c.rpc.DoCluster(c.t.Context(), "api.cache."+method, args, rpcregistry.Node(c.to))
	return r.Value, err
}

func (c caller) must(method string, args any) string {
	c.t.Helper()
	value, err := c.try(method, args)
	require.NoError(c.t, err)
	return string(value)
}

func (c caller) refused(code rpcregistry.Code, method string, args any) {
	c.t.Helper()
	_, err := c.try(method, args)
	require.ErrorIs(c.t, err, code)
}

type (
	named      map[string]any
	positional []any
)

// called runs the scenario with a caller of each node.
func called(t *testing.T, scenario func(t *testing.T, c *cache.Cache, one, two caller)) {
	t.Helper()
	withSet(t, worker.NewApp, worker.CacheConfig{}, func(t *testing.T, set *supervisortest.Set, _ redis.UniversalClient) {
		api := set.Node("stellar-worker-1").API()
		scenario(t, api.Cache, caller{t, api.RPC, "stellar-worker-1"}, caller{t, api.RPC, "stellar-worker-2"})
	})
}

func TestValuesByCall(t *testing.T) {
	called(t, func(t *testing.T, c *cache.Cache, one, two caller) {
		require.Equal(t, `true`, two.must("save", positional{"a", map[string]any{"x": "<&>"}, 60_000}))
		require.JSONEq(t, `{"x":"<&>"}`, one.must("load", positional{"a"}))
		require.JSONEq(t, `{"x":"<&>"}`, one.must("load", named{"key": "a", "extend": 3_600_000}))
		var e worker.CacheEntry
		require.NoError(t, json.Unmarshal([]byte(two.must("entry", named{"key": "a"})), &e))
		require.Equal(t, "a", e.Key)
		require.InDelta(t, 3_600_000, e.ExpiresAt-e.CreatedAt, 60_000)
		require.NotZero(t, e.ReadAt)

		require.Equal(t, `true`, two.must("save", named{"key": "a", "value": nil, "ifVersion": e.Version}))
		require.Equal(t, `null`, one.must("load", positional{"a"}))
		two.refused(worker.ErrCacheConflict, "save", named{"key": "a", "value": 2, "ifVersion": e.Version})
		two.refused(worker.ErrCacheConflict, "save", positional{"a", 2, 0, true})
		require.Equal(t, `5`, two.must("increment", positional{"n", 5, 60_000}))
		require.Equal(t, `3`, two.must("increment", named{"key": "n", "delta": -2}))
		two.refused(worker.ErrCacheWrongType, "increment", positional{"a", 1})
		n, err := c.Load(t.Context(), "n")
		require.NoError(t, err)
		require.Equal(t, time.Minute, n.Expires.Sub(n.Created))

		require.Equal(t, `["a","n"]`, two.must("keys", nil))
		require.Equal(t, `["n"]`, two.must("keys", positional{"n*"}))
		require.Equal(t, `[]`, two.must("keys", named{"match": "z*"}))
		require.Equal(t, `2`, two.must("size", nil))
		require.Equal(t, `1`, two.must("size", named{"match": "a*"}))
		require.Equal(t, `true`, two.must("destroy", positional{"a"}))
		require.Equal(t, `false`, two.must("destroy", named{"key": "a"}))
		two.refused(worker.ErrCacheNotFound, "load", positional{"a"})
		two.refused(worker.ErrCacheNotFound, "entry", positional{"a"})
		two.refused(rpcregistry.ErrBadArguments, "clear", nil)
		require.Equal(t, `1`, two.must("size", nil), "a pattern is asked for")
		require.Equal(t, `1`, two.must("clear", positional{"*"}))

		two.refused(rpcregistry.ErrBadArguments, "save", positional{"a"})
		two.refused(rpcregistry.ErrBadArguments, "save", positional{"", 1})
		two.refused(rpcregistry.ErrBadArguments, "save", positional{"a", 1, -1})
		two.refused(rpcregistry.ErrBadArguments, "save", positional{"a", 1, int64(1) << 62})
		two.refused(rpcregistry.ErrBadArguments, "load", nil)
		two.refused(rpcregistry.ErrBadArguments, "increment", positional{"a", 1, -1})
		two.refused(rpcregistry.ErrBadArguments, "load", positional{"a", -1})
	})
}

func TestListsByCall(t *testing.T) {
	called(t, func(t *testing.T, _ *cache.Cache, one, two caller) {
		require.Equal(t, `1`, one.must("push", positional{"l", "x"}))
		require.Equal(t, `2`, two.must("push", named{"key": "l", "value": map[string]int{"y": 1}, "ttl": 60_000}))
		require.Equal(t, `2`, two.must("listLength", positional{"l"}))
		require.Equal(t, `"x"`, two.must("pop", positional{"l"}))
		require.JSONEq(t, `{"y":1}`, two.must("pop", named{"key": "l"}))
		two.refused(worker.ErrCacheNotFound, "pop", positional{"l"})
		two.refused(worker.ErrCacheNotFound, "pop", positional{"l", 1})
		require.Equal(t, `0`, two.must("listLength", named{"key": "l"}))
		for range 3 {
			require.NotEmpty(t, two.must("push", named{"key": "m", "value": 1, "max": 2}))
		}
		require.Equal(t, `2`, two.must("listLength", positional{"m"}))
		two.refused(worker.ErrCacheWrongType, "load", positional{"m"})
		two.refused(rpcregistry.ErrBadArguments, "push", positional{"l"})
		two.refused(rpcregistry.ErrBadArguments, "push", named{"key": "l", "value": 1, "ttl": -1})
		two.refused(rpcregistry.ErrBadArguments, "pop", positional{"l", -1})
	})
}

func TestLocksByCall(t *testing.T) {
	called(t, func(t *testing.T, c *cache.Cache, one, two caller) {
		var l worker.CalledLock
		require.NoError(t, json.Unmarshal([]byte(two.must("lock", positional{"a", 60_000})), &l))
		require.Equal(t, worker.CalledLock{Key: "a", Fence: l.Fence, Node: "stellar-worker-2", TTL: 60_000}, l)
		require.Positive(t, l.Fence)
		info, held, err := c.CheckLock(t.Context(), "a")
		require.NoError(t, err)
		require.True(t, held, "it outlives the call")
		require.Equal(t, l.Fence, info.Fence)

		two.refused(worker.ErrCacheLocked, "lock", positional{"a"})
		two.refused(worker.ErrCacheLocked, "lock", named{"key": "a", "wait": 1})
		two.refused(worker.ErrCacheLocked, "save", positional{"a", 1})
		two.refused(worker.ErrCacheLocked, "destroy", positional{"a"})
		require.Equal(t, `true`, one.must("save", named{"key": "a", "value": 1, "fence": l.Fence}), "with the fence, on any node")
		two.refused(worker.ErrCacheLockLost, "save", named{"key": "a", "value": 1, "fence": l.Fence - 1})
		one.refused(worker.ErrCacheLockLost, "destroy", named{"key": "a", "fence": l.Fence})
		require.Equal(t, `true`, two.must("destroy", named{"key": "a", "fence": l.Fence}), "where it is held")

		var state worker.LockState
		require.NoError(t, json.Unmarshal([]byte(one.must("checkLock", positional{"a"})), &state))
		require.True(t, state.Held)
		require.Equal(t, l.Fence, state.Fence)
		require.Contains(t, state.Holder, "stellar-worker-2#")
		require.Positive(t, state.ExpiresAt)
		require.JSONEq(t, `{"key":"b","held":false}`, one.must("checkLock", named{"key": "b"}))
		var states []worker.LockState
		require.NoError(t, json.Unmarshal([]byte(one.must("locks", nil)), &states))
		require.Equal(t, []worker.LockState{state}, states)
		require.Equal(t, `[]`, one.must("locks", positional{"b*"}))

		require.Equal(t, `false`, one.must("unlock", positional{"a", l.Fence}), "another node does not hold it")
		require.Equal(t, `false`, two.must("unlock", positional{"a", l.Fence + 1}), "nor another acquisition")
		two.refused(rpcregistry.ErrBadArguments, "unlock", positional{"a"})
		require.Equal(t, `true`, two.must("unlock", named{"key": "a", "fence": l.Fence}))
		require.Equal(t, `false`, two.must("unlock", named{"key": "a", "fence": l.Fence}))
		require.Equal(t, `[]`, one.must("locks", nil))

		two.must("lock", named{"key": "a", "ttl": 50})
		require.NotEmpty(t, one.must("lock", named{"key": "a", "wait": 10_000}), "nobody renews it")
		two.refused(rpcregistry.ErrBadArguments, "lock", positional{"a", -1})
		two.refused(rpcregistry.ErrBadArguments, "lock", positional{"a", 1, -1})
		two.refused(rpcregistry.ErrBadArguments, "lock", positional{""})
	})
}

func TestACallerWhoIsGoneGetsNoLock(t *testing.T) {
	withSet(t, worker.NewApp, worker.CacheConfig{}, func(t *testing.T, set *supervisortest.Set, _ redis.UniversalClient) {
		one, two := set.Node("stellar-worker-1").API(), set.Node("stellar-worker-2").API()
		l, err := one.Cache.TryLock(t.Context(), "a", time.Minute)
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err = one.RPC.DoCluster(ctx, "api.cache.lock", positional{"a", 3_600_000, 3_600_000}, rpcregistry.Node(two.ID()))
		require.Error(t, err)
		// The call ends at the caller's deadline on Redis's clock, which the called
		// node may read a few milliseconds later.
		require.Eventually(t, func() bool { return two.RPC.Stats().Running == 0 }, patient, time.Millisecond)
		require.NoError(t, l.Unlock())
		waiting, stop := context.WithTimeout(t.Context(), patient)
		defer stop()
		l, err = one.Cache.Lock(waiting, "a", time.Minute)
		require.NoError(t, err, "nobody waits for it any more")
		require.NoError(t, l.Unlock())
	})
}
