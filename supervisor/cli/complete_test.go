package cli

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// completed returns the values that a completion offers for the last of the words.
func completed(t *testing.T, env environment, words ...string) (values []string) {
	t.Helper()
	r := stellar(t, env, append([]string{completeWord}, words...)...)
	require.Zero(t, r.code, r.err)
	require.Empty(t, r.err)
	for line := range strings.Lines(r.out) {
		value, _, tabbed := strings.Cut(line, "\t")
		require.True(t, tabbed, line)
		values = append(values, value)
	}
	return values
}

func TestWordsAreCompleted(t *testing.T) {
	t.Parallel()
	env := home(t)
	for _, c := range []struct {
		words string // the last one is to be completed
		want  string // all of them
	}{
		{"enq", "enqueue"},
		{"tasks pe", "periodic"},
		{"-o json tasks pe", "periodic"},
		{"tasks periodic re", "resume remove"},
		{"help tasks del", "delete delete-queue"},
		{"--work", "--workers --workerPrefix"},
		{"run --silent --work", "--workers --workerPrefix"},
		{"tasks cancel --dry", "--dry-run"},
		{"call --no", "--node --no-wait"},
		{"status --out", "--output"},
		{"status -o ", "table json"},
		{"status --output=j", "--output=json"},
		{"tasks list --state d", "delayed done dead"},
		{"tasks list --state pending,can", "pending,cancelled"},
		{"tasks list --state=pending,can", "--state=pending,cancelled"},
		{"tasks list --state=dead,d", "--state=dead,delayed --state=dead,done"},
		{"run --log-level w", "warn"},
		{"run --token-mode ", "hmac plain both"},
		{"enqueue echo --priority ", "high normal low"},
		{"manual gua", "guardian guarantees"},
		{"completion ", "bash zsh fish pwsh"},
		{"tasks cancel -- --dry", ""},
		{"cache export ", ""},        // a file: the shell knows
		{"enqueue echo ", ""},        // a payload
		{"tasks show ", ""},          // no cluster is there
		{"frob ", ""},                // no command
		{"tasks list frob ", ""},     // no argument
		{"status --queue ", ""},      // no flag of it
		{"scale --node nobody ", ""}, // a number
	} {
		require.Equal(t, strings.Fields(c.want), append([]string{}, completed(t, env, strings.Split(c.words, " ")...)...), c.words)
	}
	require.Contains(t, completed(t, env), "run")
	require.Contains(t, completed(t, env), "run")
	require.NotContains(t, completed(t, env, ""), completeWord)
}

// ofTheCluster are words whose values a running cluster knows.
var ofTheCluster = []struct{ words, want string }{
	{"tasks list --queue po", "post"},
	{"tasks pause default po", "post"},
	{"tasks list --name m", "mail"},
	{"enqueue b", "broken"},
	{"enqueue mail --queue=p", "--queue=post"},
	{"run --queues default,p", "default,post"},
	{"call api.pi", "api.ping"},
	{"run --deny api.log,api.pi", "api.log,api.ping"},
	{"call api.ping --node stellar-worker-", "stellar-worker-1 stellar-worker-2 stellar-worker-3"},
	{"tasks show order:", "order:1 order:2"},
	{"enqueue mail --after order:", "order:1 order:2"},
	{"tasks cancel order:1 order:", "order:1 order:2"},
	{"cache get us", "user:7"},
	{"--namespace other cache get us", ""},
	{"tasks periodic pause da", "daily"},
	{"namespace remove da", ""}, // no periodic tasks
}

func TestValuesOfTheClusterAreCompleted(t *testing.T) {
	t.Parallel()
	app := func() *worker.App {
		app := enqueueApp()
		app.RegisterPeriodic(tasks.Periodic{Name: "daily", Task: "echo", Schedule: tasks.Every(24 * time.Hour)})
		return app
	}
	withSet(t, app, func(t *testing.T, at place, _ *supervisortest.Set) {
		prepareCompletion(t, at.env)
		require.Eventually(t, func() bool { return strings.Contains(stellar(t, at.env, "tasks", "periodic").out, "daily") }, patient, 20*time.Millisecond)
		for _, c := range ofTheCluster {
			require.Equal(t, strings.Fields(c.want), append([]string{}, completed(t, at.env, strings.Split(c.words, " ")...)...), c.words)
		}
	})
}

// What is asked for is found however much else there is.
func TestValuesBeyondTheFirstAreCompleted(t *testing.T) {
	t.Parallel()
	withSet(t, echoApp, func(t *testing.T, at place, set *supervisortest.Set) {
		api, ctx := set.Node("stellar-worker-1").API(), t.Context()
		for n := range 2 * mostValues {
			require.NoError(t, api.Cache.Save(ctx, fmt.Sprintf("many:%03d", n), 1, 0))
			_, err := api.Tasks.EnqueueWith(ctx, "echo", nil, tasks.Options{ID: fmt.Sprintf("many:%03d", n), In: time.Hour})
			require.NoError(t, err)
		}
		for _, key := range []string{"user:7", "a*b", "a[1]", `a\1`} {
			require.NoError(t, api.Cache.Save(ctx, key, 1, 0))
		}
		_, err := api.Tasks.EnqueueWith(ctx, "echo", nil, tasks.Options{ID: "order:1", In: 2 * time.Hour})
		require.NoError(t, err)
		_, err = api.Tasks.EnqueueWith(ctx, "echo", nil, tasks.Options{ID: "over:1", Retention: time.Hour})
		require.NoError(t, err)
		_, err = api.Tasks.Wait(ctx, "over:1")
		require.NoError(t, err)
		for words, want := range map[string][]string{
			"tasks show over": {"over:1"}, "cache get us": {"user:7"}, "cache get a*": {"a*b"}, "cache get a[": {"a[1]"}, `cache get a\`: {`a\1`}, "tasks show ord": {"order:1"},
			"cache get many:39": strings.Fields("many:390 many:391 many:392 many:393 many:394 many:395 many:396 many:397 many:398 many:399"),
		} {
			require.Equal(t, want, completed(t, at.env, strings.Split(words, " ")...), words)
		}
		require.Len(t, completed(t, at.env, "tasks", "show", "many"), mostValues)
	})
}

func prepareCompletion(t *testing.T, env environment) {
	t.Helper()
	for _, args := range [][]string{
		{"enqueue", "mail", "--id", "order:1", "--in", "1h"}, {"enqueue", "mail", "--id", "order:2", "--in", "2h"}, {"cache", "set", "user:7", "1"},
	} {
		require.Zero(t, stellar(t, env, args...).code)
	}
}

// The script runs in a bash that has nothing but itself, and completes what is typed.
func TestBashCompletesWithoutOtherPackages(t *testing.T) {
	t.Parallel()
	bash, err := exec.LookPath("bash") // which the project's own scripts need, too
	require.NoError(t, err)
	path := plain(t)
	withSet(t, enqueueApp, func(t *testing.T, at place, _ *supervisortest.Set) {
		prepareCompletion(t, at.env)
		script := filepath.Join(t.TempDir(), "script")
		require.NoError(t, os.WriteFile(script, []byte(stellar(t, at.env, "completion", "bash").out), 0o600))
		complete := func(line string) []string {
			ctx, cancel := context.WithTimeout(t.Context(), patient)
			defer cancel()
			cmd := exec.CommandContext(ctx, bash, "--norc", "--noprofile", "-uc",
				`. "$1"; COMP_LINE=$2 COMP_POINT=${#2}; _stellar_complete; printf '%s\n' "${COMPREPLY[@]}"`, "bash", script, line)
			cmd.Env = []string{"PATH=" + filepath.Dir(path) + ":" + os.Getenv("PATH"), "GORACE=atexit_sleep_ms=0"}
			for k, v := range at.env {
				cmd.Env = append(cmd.Env, k+"="+v)
			}
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", out)
			return strings.Fields(string(out))
		}
		require.Equal(t, []string{"enqueue"}, complete("stellar enq"))
		require.Contains(t, complete("stellar "), "tasks")
		require.Equal(t, []string{"1", "2"}, complete("stellar tasks show order:"), "bash replaces what is behind the colon")
		require.Equal(t, []string{"json"}, complete("stellar status --output=j"))
		require.Equal(t, []string{"stellar-worker-2"}, complete("stellar call api.ping --node stellar-worker-2"))
		require.Empty(t, complete("stellar tasks show $(touch /tmp/pwned)"), "nothing that is typed is run")
		require.True(t, slices.Contains(complete("stellar call "), "api.methods"))
	})
}
