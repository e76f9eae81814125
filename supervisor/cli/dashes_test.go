package cli

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Ids and keys that look like flags, as somebody who enqueues may choose them to have an
// operator's command do more than was meant.
func TestIDsThatLookLikeFlags(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, at place) {
		run := func(args ...string) result { return stellar(t, at.env, args...) }
		ids := []string{"-x", "-5", "--all", "--dry-run", "--state", "--", "-"}
		for _, id := range ids {
			r := run("enqueue", "t", "--any-name", "--in", "1h", "--id="+id)
			require.Zero(t, r.code, "%s: %s", id, r.err)
		}
		require.Zero(t, run("enqueue", "t", "--any-name", "--id", "follows", "--after=--all").code)
		require.Zero(t, run("enqueue", "t", "--any-name", "--in", "1h", "--id", "bystander").code)
		require.Zero(t, run("enqueue", "--any-name", "--in", "1h", "--id=typed", "--", "-name", "-5").code)
		for _, id := range ids {
			for _, command := range []string{"show", "explain", "wait --timeout 50ms", "reschedule --in 2h", "rerun", "cancel", "retry", "delete"} {
				args := append(append([]string{"tasks"}, strings.Fields(command)...), "--", id)
				r := run(args...)
				require.NotContains(t, r.err, "unknown flag", args)
				require.NotContains(t, r.out, "bystander", args)
				if command == "wait --timeout 50ms" {
					require.Contains(t, r.err, "not done after 50ms", args)
					continue
				}
				require.Zero(t, r.code, "%v: %s", args, r.err)
			}
		}
		r := run("tasks", "list")
		require.Contains(t, r.out, "bystander")
		require.Contains(t, r.out, "typed")
		require.Equal(t, 4, strings.Count(r.out, "\n"), "the header, these and what followed: %s", r.out)
		for _, key := range ids {
			require.Zero(t, run("cache", "set", "--", key, "1").code, key)
			require.Equal(t, "1\n", run("cache", "get", "--", key).out, key)
			require.Zero(t, run("cache", "del", "--", key).code, key)
		}
		for _, command := range []string{"pause", "resume", "limit --tasks 5", "delete-queue"} {
			r := run(append(append([]string{"tasks"}, strings.Fields(command)...), "--", "--all")...)
			require.NotContains(t, r.err, "unknown flag", command)
		}
		// Without -- it is told what to do.
		for _, args := range [][]string{{"tasks", "show", "-x"}, {"tasks", "delete", "--x"}, {"cache", "get", "-k"}, {"call", "-m"}} {
			r := run(args...)
			require.Equal(t, 2, r.code)
			require.Contains(t, r.err, "put -- before arguments that begin with -", args)
		}
	})
}
