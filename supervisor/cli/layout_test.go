package cli

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/redistest"
)

// asks are commands that go different ways to the cluster.
var asks = [][]string{{"status"}, {"call", "api.ping"}, {"enqueue", "echo"}, {"tasks", "list"}, {"cache", "get", "k"}, {"scale", "3"}}

func TestANewerLayoutIsRefusedByCommandAndSet(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, at place) {
		client := redistest.Client(t, at.cfg)
		require.NoError(t, client.Set(t.Context(), at.cfg.Keys().Layout(), 99, 0).Err())
		for _, args := range append(asks, []string{"run", "--workers", "1"}) {
			if args[0] == "run" && at.env["REDIS_URL"] == "" {
				continue // it would have an embedded Redis of its own
			}
			r := stellar(t, at.env, args...)
			require.Equal(t, exitConfig, r.code, "%v: %s", args, r.err)
			require.Contains(t, r.err, "has layout 99, this program knows layouts up to 2: run a newer version of it, or use another namespace")
			require.Empty(t, r.out)
		}
		written, err := client.Keys(t.Context(), "*").Result()
		require.NoError(t, err)
		require.Equal(t, []string{at.cfg.Keys().Layout()}, written)
	})
}

func TestALayoutThatIsSomethingElseIsNoOutage(t *testing.T) {
	cfg := redistest.Start(t).Config()
	env := home(t).with("REDIS_URL", cfg.URL)
	require.NoError(t, redistest.Client(t, cfg).RPush(t.Context(), cfg.Keys().Layout(), 1).Err())
	for _, args := range append(asks, []string{"run", "--workers", "1"}) {
		r := stellar(t, env, args...)
		require.Equal(t, exitFailure, r.code, "%v: %s", args, r.err)
		require.Contains(t, r.err, "belongs to something else")
		require.NotContains(t, r.err, "not reachable")
	}
}

func TestATokenThatIsSomethingElseIsNoOutage(t *testing.T) {
	cfg := redistest.Start(t).Config()
	env := home(t).with("REDIS_URL", cfg.URL)
	require.NoError(t, redistest.Client(t, cfg).RPush(t.Context(), cfg.Keys().Token(), 1).Err())
	for _, args := range [][]string{{"call", "api.ping"}, {"run", "--workers", "1"}} {
		r := stellar(t, env, args...)
		require.Equal(t, exitFailure, r.code, "%v: %s", args, r.err)
		require.NotContains(t, r.err, "not reachable")
		require.Contains(t, r.err, "the cluster's token")
	}
}
