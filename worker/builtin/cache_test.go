package builtin_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/builtin"
)

func TestMain(m *testing.M) { redistest.Main(m) }

// patient is how long a test waits for what has to happen.
const patient = time.Minute

// withSet runs the scenario beside two nodes, on either Redis.
func withSet(t *testing.T, app func() *worker.App, scenario func(t *testing.T, set *supervisortest.Set)) {
	t.Helper()
	redistest.Each(t, func(t *testing.T, at link.Config) {
		scenario(t, supervisortest.StartWith(t, app(), supervisor.Config{Workers: 2, Redis: at}))
	})
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
	withSet(t, worker.NewApp, func(t *testing.T, set *supervisortest.Set) {
		api := set.Node("stellar-worker-1").API()
		scenario(t, api.Cache, caller{t, api.RPC, "stellar-worker-1"}, caller{t, api.RPC, "stellar-worker-2"})
	})
}

func TestValuesByCall(t *testing.T) {
	called(t, func(t *testing.T, c *cache.Cache, one, two caller) {
		require.Equal(t, `true`, two.must("save", positional{"a", map[string]any{"x": "<&>"}, 60_000}))
		require.JSONEq(t, `{"x":"<&>"}`, one.must("load", positional{"a"}))
		require.JSONEq(t, `{"x":"<&>"}`, one.must("load", named{"key": "a", "extend": 3_600_000}))
		var e builtin.CacheEntry
		require.NoError(t, json.Unmarshal([]byte(two.must("entry", named{"key": "a"})), &e))
		require.Equal(t, "a", e.Key)
		require.WithinDuration(t, e.CreatedAt.Add(time.Hour), e.ExpiresAt, time.Minute)
		require.NotZero(t, e.ReadAt)

		require.Equal(t, `true`, two.must("save", named{"key": "a", "value": nil, "ifVersion": e.Version}))
		require.Equal(t, `null`, one.must("load", positional{"a"}))
		two.refused(builtin.ErrConflict, "save", named{"key": "a", "value": 2, "ifVersion": e.Version})
		two.refused(builtin.ErrConflict, "save", positional{"a", 2, 0, true})
		require.Equal(t, `5`, two.must("increment", positional{"n", 5, 60_000}))
		require.Equal(t, `3`, two.must("increment", named{"key": "n", "delta": -2}))
		two.refused(builtin.ErrWrongType, "increment", positional{"a", 1})
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
		two.refused(builtin.ErrNotFound, "load", positional{"a"})
		two.refused(builtin.ErrNotFound, "entry", positional{"a"})
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
		two.refused(builtin.ErrNotFound, "pop", positional{"l"})
		two.refused(builtin.ErrNotFound, "pop", positional{"l", 1})
		require.Equal(t, `0`, two.must("listLength", named{"key": "l"}))
		for range 3 {
			require.NotEmpty(t, two.must("push", named{"key": "m", "value": 1, "max": 2}))
		}
		require.Equal(t, `2`, two.must("listLength", positional{"m"}))
		two.refused(builtin.ErrWrongType, "load", positional{"m"})
		two.refused(rpcregistry.ErrBadArguments, "push", positional{"l"})
		two.refused(rpcregistry.ErrBadArguments, "push", named{"key": "l", "value": 1, "ttl": -1})
		two.refused(rpcregistry.ErrBadArguments, "pop", positional{"l", -1})
	})
}

func TestLocksByCall(t *testing.T) {
	called(t, func(t *testing.T, c *cache.Cache, one, two caller) {
		var l builtin.CalledLock
		require.NoError(t, json.Unmarshal([]byte(two.must("lock", positional{"a", 60_000})), &l))
		require.Equal(t, builtin.CalledLock{Key: "a", Fence: l.Fence, Node: "stellar-worker-2", TTL: 60_000}, l)
		require.Positive(t, l.Fence)
		info, held, err := c.CheckLock(t.Context(), "a")
		require.NoError(t, err)
		require.True(t, held, "it outlives the call")
		require.Equal(t, l.Fence, info.Fence)

		two.refused(builtin.ErrLocked, "lock", positional{"a"})
		two.refused(builtin.ErrLocked, "lock", named{"key": "a", "wait": 1})
		two.refused(builtin.ErrLocked, "save", positional{"a", 1})
		two.refused(builtin.ErrLocked, "destroy", positional{"a"})
		require.Equal(t, `true`, one.must("save", named{"key": "a", "value": 1, "fence": l.Fence}), "with the fence, on any node")
		two.refused(builtin.ErrLockLost, "save", named{"key": "a", "value": 1, "fence": l.Fence - 1})
		one.refused(builtin.ErrLockLost, "destroy", named{"key": "a", "fence": l.Fence})
		require.Equal(t, `true`, two.must("destroy", named{"key": "a", "fence": l.Fence}), "where it is held")

		var state builtin.LockState
		require.NoError(t, json.Unmarshal([]byte(one.must("checkLock", positional{"a"})), &state))
		require.True(t, state.Held)
		require.Equal(t, l.Fence, state.Fence)
		require.Contains(t, state.Holder, "stellar-worker-2#")
		require.Positive(t, state.ExpiresAt)
		require.JSONEq(t, `{"key":"b","held":false}`, one.must("checkLock", named{"key": "b"}))
		var states []builtin.LockState
		require.NoError(t, json.Unmarshal([]byte(one.must("locks", nil)), &states))
		require.Equal(t, []builtin.LockState{state}, states)
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
	withSet(t, worker.NewApp, func(t *testing.T, set *supervisortest.Set) {
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
