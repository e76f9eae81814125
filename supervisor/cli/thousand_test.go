package cli

import (
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/redistest"
)

// A thousand nodes are more than the race detector can follow: so they run in a program
// that was built without it.
func TestAThousandNodesStartAndStop(t *testing.T) {
	path := plain(t)
	for name, env := range map[string]environment{
		"embedded": home(t),
		"redis":    home(t).with("REDIS_URL", redistest.Start(t, "--maxclients", "4000").Config().URL),
	} {
		t.Run(name, func(t *testing.T) {
			set := launch(t, path, env, "--workers", "1000")
			set.err.await(t, "node is running", 1000)
			set.err.await(t, "1000 Stellar members have joined the cluster: stellar-worker-1 to stellar-worker-1000", 1)
			require.NoError(t, set.cmd.Process.Signal(syscall.SIGTERM))
			require.Zero(t, set.wait(t), set.err)
			text := set.err.String()
			require.Contains(t, text, "; 0 crashes")
			require.Equal(t, 1, strings.Count(text, "Stellar members have joined"), "one announcement, however long it took")
			require.Less(t, strings.Count(text, "\n"), 3000, "a few lines for each node at most")
		})
	}
}
