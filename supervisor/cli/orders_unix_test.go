//go:build unix

package cli

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSignalsOfTheBinary(t *testing.T) {
	t.Parallel()
	path := built(t)
	places(t, func(t *testing.T, env environment) {
		set := launch(t, path, env, "--workers", "2")
		set.err.await(t, "node is running", 2)
		first := lives(awaitNodes(t, env, 2))

		set.signal(t, syscall.SIGHUP)
		set.err.await(t, "reload is done", 1)
		second := lives(awaitNodes(t, env, 2))
		set.signal(t, syscall.SIGUSR2)
		set.err.await(t, "roll is done", 1)
		third := lives(awaitNodes(t, env, 2))
		for _, life := range third {
			require.NotContains(t, append(first, second...), life)
		}

		set.signal(t, syscall.SIGTTIN)
		awaitNodes(t, env, 3)
		for n := range 4 { // once more than there are nodes
			set.signal(t, syscall.SIGTTOU)
			set.err.await(t, `"order":"one node less"`, n+1)
		}
		awaitNodes(t, env, 0)
		set.signal(t, syscall.SIGTTIN)
		set.signal(t, syscall.SIGTTIN) // as one with the other if the process has not heard the first yet
		require.NotEmpty(t, awaitAny(t, env).Nodes)

		set.signal(t, syscall.SIGTSTP)
		set.err.await(t, "set is quiet", 1)
		require.Zero(t, stellar(t, env, "enqueue", "echo", "1", "--id", "quiet").code)
		s, _ := statusFor(t, env)
		require.True(t, s.Sets[0].Quiet)
		require.Contains(t, stellar(t, env, "status").out, "quiet, no tasks are claimed")
		require.NotContains(t, set.err.String(), `"payload":"1"`)
		set.signal(t, syscall.SIGSTOP)
		set.signal(t, syscall.SIGCONT) // also ends the quiet
		set.err.await(t, `"payload":"1"`, 1)

		require.Zero(t, stellar(t, env, "quiet").code)
		set.signal(t, syscall.SIGSTOP)
		set.signal(t, syscall.SIGCONT) // not one that a command began
		more := strings.Count(set.err.String(), `"order":"one node more"`)
		set.signal(t, syscall.SIGTTIN)
		set.err.await(t, `"order":"one node more"`, more+1)
		require.True(t, awaitAny(t, env).Sets[0].Quiet)

		set.signal(t, syscall.SIGTERM)
		require.Zero(t, set.wait(t), set.err)
		require.Contains(t, set.err.String(), "0 crashes")
	})
}

// awaitAny waits until the last change of the size is over.
func awaitAny(t *testing.T, env environment) (s shown) {
	t.Helper()
	require.Eventually(t, func() bool {
		s, _ = statusFor(t, env)
		return len(s.Sets) == 1 && s.Sets[0].Ready == s.Sets[0].Workers
	}, patient, 20*time.Millisecond)
	return s
}

func TestADrainOfTheBinary(t *testing.T) {
	t.Parallel()
	places(t, func(t *testing.T, env environment) {
		// What finishes in its time and what never returns drain side by side.
		set := launchApp(t, "stubborn", env, "--workers", "2", "--drain", "2s", "--grace", "200ms", "--concurrency", "2")
		set.err.await(t, "node is running", 2)
		require.Zero(t, stellar(t, env, "enqueue", "stubborn", "--id", "mule").code)
		set.err.await(t, "stubborn begins", 1)
		for n := range 2 {
			require.Zero(t, stellar(t, env, "enqueue", "slow", "1000", "--id", fmt.Sprint("slow-", n)).code)
		}
		require.Eventually(t, func() bool {
			s, _ := statusFor(t, env)
			in := 0
			for _, n := range s.Nodes {
				in += n.TasksInHand
			}
			return in == 3
		}, patient, 10*time.Millisecond)
		set.signal(t, syscall.SIGTERM)
		set.err.await(t, "stopping: ", 1)
		for n, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGUSR2, syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGTSTP} {
			set.signal(t, s)
			set.err.await(t, "ignored: the set is stopping", n+1)
		}
		require.Equal(t, 75, set.wait(t), set.err)
		require.Regexp(t, `drain deadline exceeded: still running: mule"`, set.err.String())
		require.Contains(t, set.err.String(), "2 tasks done of 3 started")
		require.Contains(t, set.err.String(), "supervisor/cli.stubborn.func", "where it hangs")
	})
}
