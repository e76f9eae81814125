//go:build unix

package cli

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// A log file that is a pipe without a reader once held run up for ever.
func TestASetDoesNotWaitForTheReaderOfItsLog(t *testing.T) {
	t.Parallel()
	env := home(t)
	pipe := filepath.Join(env["XDG_RUNTIME_DIR"], "log")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	env = env.with("STELLAR_LOG_FILE", pipe)
	check := stellar(t, env, "config", "check")
	require.Zero(t, check.code)
	require.Contains(t, check.err, "STELLAR_LOG_FILE: log file "+pipe+": nobody reads this pipe")
	set := start(t, env, echoApp(), "--workers", "1")
	awaitNode(t, env)
	set.term()
	require.Zero(t, set.wait(t))
	require.Contains(t, set.err.String(), "nobody reads this pipe: the lines of the log are lost until somebody does")
}
