package cli

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/redistest"
)

// Everything on one machine dies, one after the other: a child, and then the guardian, whose children
// end the redis-server when they have drained. The next guardian goes on with the same data.
func TestAGuardianWithDataOfItsOwn(t *testing.T) {
	t.Parallel()
	env := home(t)
	data := filepath.Join(redistest.DataDir(t), "data")
	begin := func() *household {
		g := &household{t: t, env: env.with("STELLAR_DATA", data)}
		g.start("stubborn", "--processes", "2", "--workers", "1")
		g.err.await(t, "node is running", 2)
		return g
	}
	first := begin()
	require.Zero(t, stellar(t, first.env, "cache", "set", "kept", "7").code)
	children := first.children()
	require.Len(t, children, 2)
	require.NoError(t, syscall.Kill(children[0], syscall.SIGKILL))
	first.err.await(t, "took over from the process", 1)
	first.err.await(t, "node is running", 3)
	children = first.children()
	first.signal(t, syscall.SIGKILL)
	for _, child := range children {
		first.eventually(func() bool { return !isAlive(child) }, "the children drain")
	}
	first.err.await(t, "it saves its data and ends", 1)

	second := begin()
	r := stellar(t, second.env, "cache", "get", "kept")
	require.Zero(t, r.code, r.err)
	require.Equal(t, "7", strings.TrimSpace(r.out))
	second.signal(t, syscall.SIGTERM)
	require.Zero(t, second.wait(t), second.err)
	require.Contains(t, second.err.String(), "the redis-server has saved its data and ended")
}
