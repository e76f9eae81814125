package cli

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/worker/tasks"
)

func TestInstantsOfTheCommandLineAreBoundedAndNeverTakenForUnset(t *testing.T) {
	t.Parallel()
	idle(t, func(c console) {
		for _, flag := range []string{"--run-timeout", "--backoff", "--max-backoff", "--retention", "--unique-for", "--timeout"} {
			c.refused(2, flag+": 0 is too short", "enqueue", "--any-name", "mail", flag, "0s", "--unique", "u")
		}
		for _, flag := range []string{"--id", "--unique", "--queue", "--at", "--deadline"} {
			c.refused(2, flag+": it is empty", "enqueue", "--any-name", "mail", flag, "")
		}
		c.refused(2, "--timeout bounds --wait", "enqueue", "--any-name", "mail", "--timeout", "5s")
		c.refused(2, "--max-attempts: 0 is not 1 or more", "enqueue", "--any-name", "mail", "--max-attempts", "0")
		c.refused(2, "is not a time such as", "enqueue", "--any-name", "mail", "--at", "10000-01-01T00:00:00Z")
		for _, flag := range []string{"--at", "--deadline"} {
			c.refused(2, "use a time up to 9999-12-31T23:59:59Z", "enqueue", "--any-name", "mail", flag, "9999-12-31T23:59:59.9999Z")
		}
		c.run("enqueue", "--any-name", "mail", "--id", "far", "--at", "9999-12-31T23:59:59Z")
		c.run("enqueue", "--any-name", "mail", "--id", "past", "--at", "0001-01-01T00:00:00Z")
		c.refused(2, "--deadline: 0001-01-01T00:00:00Z is over before the task can begin", "enqueue", "--any-name", "mail", "--deadline", "0001-01-01T00:00:00Z")
		c.refused(2, "is over before the task can begin", "enqueue", "--any-name", "mail", "--deadline", "1h", "--in", "2h")
		c.refused(2, "is over before the task can begin", "enqueue", "--any-name", "mail", "--deadline", "2030-01-01T00:00:00Z", "--at", "2031-01-01T00:00:00Z")
		c.refused(2, "use a time up to", "tasks", "reschedule", "far", "--at", "9999-12-31T23:59:59.9999Z")
		var found []tasks.Task
		c.read(&found, "tasks", "list", "--state", "pending,delayed")
		require.Len(c, found, 2)
		require.Regexp(c, `far .* delayed +9999-12-31 `, c.run("tasks", "list"))
		require.NotContains(c, c.run("tasks", "explain", "far"), "2562047h")
	})
}
