package cli

import (
	"context"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// requireConvention fails unless the JSON keeps to the convention of the manual (operate): a
// moment is a text in RFC 3339 and UTC whose name is at or ends in At; a length of time is a
// number of milliseconds whose name ends in Ms; nothing else has such a name or looks so.
func requireConvention(t *testing.T, text string) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	for d.More() {
		var document any
		require.NoError(t, d.Decode(&document), text)
		requireConventionOf(t, "", document)
	}
}

// lengths are names that a length of time could have if it had no unit.
var lengths = regexp.MustCompile(`(?i)(uptime|age|duration|timeout|ttl|oldest|wait|retention|backoff|lease|interval)$`)

func requireConventionOf(t *testing.T, name string, v any) {
	t.Helper()
	switch v := v.(type) {
	case map[string]any:
		for key, member := range v {
			if key != "payload" && key != "result" && key != "value" { // these are the user's
				requireConventionOf(t, key, member)
			}
		}
	case []any:
		for _, item := range v {
			requireConventionOf(t, name, item)
		}
	case string:
		at, err := time.Parse(time.RFC3339Nano, v)
		moment := name == "at" || strings.HasSuffix(name, "At")
		require.Equal(t, moment, err == nil, "%s: %s", name, v)
		if moment {
			require.Equal(t, time.UTC, at.Location(), "%s: %s", name, v)
		}
	case float64:
		require.NotRegexp(t, `(^at|At)$`, name, "a moment is a text")
		require.NotRegexp(t, lengths, name, "a length of time is in milliseconds, and its name ends in Ms")
		require.False(t, strings.HasSuffix(name, "Ms") && v < 0, name)
		require.True(t, v < 1e12 || name == "fence" || name == "seq", "%s: a time in seconds or milliseconds since 1970?", name)
	}
}

// What the transcripts do not show keeps to the convention as well: tasks in all states, and the
// answers of methods.
func TestAllJSONKeepsToTheConvention(t *testing.T) {
	t.Parallel()
	withSet(t, func() *worker.App {
		app := transcriptApp()
		tasks.Handle(app, tasks.Definition{Name: "slow", Timeout: time.Hour}, func(ctx context.Context, _ any) error {
			_ = tasks.SetProgress(ctx, 0.5, "half")
			<-ctx.Done()
			return ctx.Err()
		})
		return app
	}, func(t *testing.T, at place, _ *supervisortest.Set) {
		for _, args := range []string{
			"enqueue slow --id slow --deadline 2h", "enqueue fail --id dead --retention 1h", "enqueue echo --id done --retention 1h", "enqueue echo --id later --in 1h",
			"enqueue echo --id after --after slow", "enqueue echo --id gone --in 1h", "tasks cancel gone", "cache set k 1 --ttl 1h", "cache get k",
			"call api.cache.load [\"k\"]", "call api.cache.lock {\"key\":\"job\",\"ttl\":3600000}", "tasks wait done",
		} {
			stellar(t, at.env, strings.Fields(args)...)
		}
		require.Equal(t, 1, stellar(t, at.env, "tasks", "wait", "dead").code)
		require.Eventually(t, func() bool { return strings.Contains(stellar(t, at.env, "tasks", "show", "slow").out, "half") }, patient, 10*time.Millisecond)
		said := ""
		for _, args := range []string{
			"status", "tasks", "tasks list --state pending,parked,delayed,blocked,active,done,dead,cancelled", "tasks show slow", "tasks show dead", "tasks show done",
			"tasks explain slow", "tasks explain dead", "tasks periodic", "cache get k", "cache locks", "call api.ping --all", "call api.status", "call api.methods",
			"call api.set.status", "call api.cache.entry [\"k\"]", "call api.cache.checkLock [\"job\"]", "call api.cache.locks", "call api.tasks.counts", "call api.tasks.handled", "call api.tasks.list", "call api.tasks.periodic",
			"call api.tasks.get [\"slow\"]", "call api.tasks.queues", "call api.tasks.definitions", "call api.connections.list", "call api.tasks.explain [\"dead\"]",
		} {
			r := stellar(t, at.env, append(strings.Fields(args), "-o", "json")...)
			require.Zero(t, r.code, "%s: %s", args, r.err)
			said += r.out
			requireConvention(t, r.out)
		}
		for _, name := range []string{"startedAt", "endedAt", "dueAt", "enqueuedAt", "deadlineAt", "timeoutMs", "expiresAt", "createdAt", "uptimeMs", "leaseAgeMs", "waitMs", "nextAt"} {
			require.Contains(t, said, `"`+name+`": `)
		}
		require.Zero(t, stellar(t, at.env, "tasks", "cancel", "slow").code) // otherwise the set drains
	})
}
