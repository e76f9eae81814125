package cli

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/redistest"
)

func TestWhatIsDeniedAndHowTokensChange(t *testing.T) {
	t.Parallel()
	for name, home := range map[string]environment{"embedded": home(t), "redis": home(t).with("REDIS_URL", redistest.Start(t).Config().URL)} {
		t.Run(name, func(t *testing.T) { changesTokens(t, home) })
	}
}

func changesTokens(t *testing.T, home environment) {
	env := home.with("STELLAR_TOKEN", "the-old-token-of-the-cluster")
	set := start(t, env, echoApp(), "--workers", "2", "--deny", "api.stop, api.cache.*")
	set.err.await(t, "node is running", 2)
	r := stellar(t, env, "call", "api.stop", "--all")
	require.Equal(t, 1, r.code, r.err)
	require.Contains(t, r.out, "denied")
	set.term()
	require.Zero(t, set.wait(t))

	// The second step of a change: signed with the new one, the old one accepted.
	both := home.with("STELLAR_TOKEN", "the-new-token-of-the-cluster").with("STELLAR_TOKEN_ALSO", "the-old-token-of-the-cluster")
	set = start(t, both, echoApp(), "--workers", "2", "--token-mode", "both")
	set.err.await(t, "node is running", 2)
	for _, mode := range []string{"hmac", "plain", "both"} {
		r = stellar(t, both, "call", "api.ping", "--all", "--token-mode", mode)
		require.Zero(t, r.code, mode+r.err)
	}
	set.term()
	require.Zero(t, set.wait(t))

	// A mode that its nodes do not understand is named, long before the call's time is over.
	set = start(t, both, echoApp(), "--workers", "2", "--token-mode", "plain")
	set.err.await(t, "node is running", 2)
	for _, args := range [][]string{{"api.ping"}, {"api.ping", "--node", "stellar-worker-2"}, {"api.ping", "--all"}} {
		r = stellar(t, both, append([]string{"call", "--timeout", "1m"}, args...)...)
		require.Equal(t, 1, r.code, r.err)
		require.Contains(t, r.out+r.err, "token mode plain", args)
	}
	set.term()
	require.Zero(t, set.wait(t))
}
