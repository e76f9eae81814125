package cli

import (
	"cmp"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// complaints decodes the lines of JSON on standard error.
func complaints(t *testing.T, text string) (notes []string, failure string, code int) {
	t.Helper()
	for line := range strings.Lines(text) {
		var c struct {
			Note     *string `json:"note"`
			Question *string `json:"question"`
			Error    *string `json:"error"`
			ExitCode int     `json:"exitCode"`
		}
		require.NoError(t, json.Unmarshal([]byte(line), &c), text)
		if said := cmp.Or(c.Note, c.Question); said != nil {
			notes = append(notes, *said)
			continue
		}
		require.NotNil(t, c.Error, text)
		failure, code = *c.Error, c.ExitCode
	}
	return notes, failure, code
}

func TestErrorsAreJSONWhereTheOutputIs(t *testing.T) {
	t.Parallel()
	for _, args := range []string{
		"status -o json", "-o json status", "--output=json status", "status --frob -o json", "-o json frob", "-o json tasks frob", "call -o json",
		"-o json config check /no/such", "-o json --workers 2 status", "-o json tasks list --state frob", "-o json version frob",
	} {
		r := stellar(t, home(t), strings.Fields(args)...)
		require.NotZero(t, r.code)
		require.Empty(t, r.out, args)
		require.Equal(t, 1, strings.Count(r.err, "\n"), "%s: %s", args, r.err)
		_, failure, code := complaints(t, r.err)
		require.NotEmpty(t, failure, args)
		require.Equal(t, r.code, code, args)
	}
	require.Contains(t, stellar(t, home(t), "call", "--", "-o", "json").err, "stellar: ARGS-JSON", "that is behind two dashes")
	each(t, func(t *testing.T, at place) {
		r := stellar(t, at.env, "enqueue", "echo", "--any-name", "--queue", "nowhere", "-o", "json")
		require.Zero(t, r.code, r.err)
		notes, failure, _ := complaints(t, r.err)
		require.Equal(t, []string{"no node is live: the task waits until one that handles it starts"}, notes)
		require.Empty(t, failure)
		r = stellar(t, at.env, "tasks", "cancel", "a", "b", "-o", "json")
		_, failure, code := complaints(t, r.err)
		require.Equal(t, 1, code)
		require.Contains(t, failure, "cancel task a")
		require.Contains(t, failure, "cancel task b")
	})
}

func TestAnInterruptedCommandSaysHowFarItCame(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, at place) {
		waiting := start(t, at.env, nil, "enqueue", "echo", "--wait", "--any-name", "--id", "mine")
		waiting.err.await(t, "no node is live", 1)
		require.Eventually(t, func() bool { return stellar(t, at.env, "tasks", "show", "mine").code == 0 }, patient, 10*time.Millisecond)
		waiting.signals <- syscall.SIGINT
		require.Equal(t, 130, waiting.wait(t))
		require.Contains(t, waiting.err.String(), `stellar: interrupted: task mine goes on without this command: "stellar tasks wait mine" waits for it again`)
		again := stellar(t, at.env, "tasks", "wait", "mine", "--timeout", "20ms")
		require.Contains(t, again.err, "not done after 20ms: task mine goes on")
	})
}

// A command that asks before it destroys something has done nothing before the answer. Where errors
// are JSON, so is the question.
func TestAnInterruptedQuestionSaysThatNothingWasDone(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, at place) {
		at.fill(t, "old", 3)
		at.fill(t, "stellar", 3)
		for args, question := range map[string]string{
			"namespace remove old": "remove the namespace old with all its data", "cache clear": "destroy 3 entries and lists",
		} {
			asking := startReading(t, at.env, strings.Fields(args)...)
			asking.err.await(t, question, 1)
			asking.signals <- syscall.SIGINT
			require.Equal(t, 130, asking.wait(t))
			require.Contains(t, asking.err.String(), "\nstellar: interrupted: nothing was done\n")

			r := stellarReading(t, at.env, "no\n", strings.Fields(args)...)
			require.Equal(t, 1, r.code)
			require.Regexp(t, `: \nstellar: nothing was done\n$|N\] \nstellar: nothing was done\n$`, r.err, "on a line of its own")

			r = stellarReading(t, at.env, "what\n", append(strings.Fields(args), "-o", "json")...)
			require.Equal(t, 1, r.code)
			notes, failure, _ := complaints(t, r.err)
			require.Len(t, notes, 1)
			require.Contains(t, notes[0], question)
			require.Contains(t, failure, `nothing was done: "what" is not`)
		}
	})
}

// startReading starts a command whose standard input has nothing yet.
func startReading(t *testing.T, env environment, args ...string) *running {
	t.Helper()
	stdin, end := io.Pipe()
	r := &running{out: newOutput(), err: newOutput(), signals: make(chan os.Signal, 3), code: make(chan int, 1)}
	r.begin(t, env, nil, stdin, args)
	t.Cleanup(func() {
		r.kill()
		_ = end.Close()
	})
	return r
}

func TestStatusShowsHowOldALeaseIs(t *testing.T) {
	t.Parallel()
	withSet(t, echoApp, func(t *testing.T, at place, _ *supervisortest.Set) {
		require.Regexp(t, `(?m)^NODE .* LEASE AGE +UPTIME +TASKS .*\nstellar-worker-1 .* running +\d+s +\d+s +0 `, stellar(t, at.env, "status").out)
		var got struct {
			Nodes []struct {
				LeaseAgeMs *int64 `json:"leaseAgeMs"`
			} `json:"nodes"`
		}
		require.NoError(t, json.Unmarshal([]byte(stellar(t, at.env, "status", "-o", "json").out), &got))
		require.Len(t, got.Nodes, 3)
		for _, n := range got.Nodes {
			require.NotNil(t, n.LeaseAgeMs)
			require.Less(t, *n.LeaseAgeMs, patient.Milliseconds())
		}
	})
}

func TestAPeriodicTaskThatNobodyRegistersIsTold(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, at place) {
		app := echoApp()
		for _, name := range []string{"daily", "weekly"} {
			app.RegisterPeriodic(tasks.Periodic{Name: name, Task: "echo", Schedule: tasks.Cron("0 6 * * *", time.UTC)})
		}
		set := supervisortest.StartWith(t, app, supervisor.Config{Workers: 1, Redis: at.cfg})
		client := redistest.Client(t, at.cfg)
		registered := at.cfg.Keys().Registered()
		require.Eventually(t, func() bool { return client.HExists(t.Context(), registered, "daily").Val() }, patient, 10*time.Millisecond)
		require.NotContains(t, stellar(t, at.env, "tasks", "periodic").out, "orphaned")
		require.Equal(t, "stellar: no periodic task dayly (did you mean daily?): \"stellar tasks periodic\" lists them\n",
			stellar(t, at.env, "tasks", "periodic", "pause", "dayly").err)
		require.NoError(t, set.Stop())
		require.NotContains(t, stellar(t, at.env, "tasks", "periodic").out, "orphaned", "it may be a restart")
		require.Zero(t, stellar(t, at.env, "tasks", "periodic", "set", "weekly", "--task", "echo", "--every", "1h").code, "its name is free")
		now, err := client.Time(t.Context()).Result()
		require.NoError(t, err)
		require.NoError(t, client.HSet(t.Context(), registered, "daily", now.Add(-2*time.Hour).UnixMilli()).Err())
		out := stellar(t, at.env, "tasks", "periodic").out
		require.Regexp(t, `(?m)^daily +echo .* orphaned `, out)
		require.Regexp(t, `\n\ndaily: no running program has registered it for 2h0m\ds: it does not tick; "stellar tasks periodic remove daily" forgets it\n$`, out)
		require.Contains(t, stellar(t, at.env, "tasks", "periodic", "-o", "json").out, `"orphaned": true`)
		require.Zero(t, stellar(t, at.env, "tasks", "periodic", "remove", "daily").code)
		require.False(t, client.HExists(t.Context(), registered, "daily").Val(), "nothing of it is left")
		require.NoError(t, client.HSet(t.Context(), at.cfg.Keys().Definitions(), "old", `{"task":"echo","queue":"default","schedule":"every 1h0m0s","payload":null,"catchUp":false}`).Err())
		require.NotContains(t, stellar(t, at.env, "tasks", "periodic").out, "orphaned", "older programs do not tell")
	})
}

func TestAQueueThatNoNodeServesIsWarnedOf(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, at place) {
		supervisortest.StartWith(t, enqueueApp(), supervisor.Config{Workers: 1, Redis: at.cfg, Queues: []string{"default"}})
		require.Equal(t, "stellar: no live node serves the queue nowhere: the task waits until one does\n", stellar(t, at.env, "enqueue", "echo", "--queue", "nowhere").err)
		require.Contains(t, stellar(t, at.env, "enqueue", "mail").err, "no live node serves the queue post", "that of its definition")
		require.Zero(t, stellar(t, at.env, "enqueue", "echo", "--queue", "defalt", "--id", "typo").code)
		require.Contains(t, stellar(t, at.env, "tasks", "explain", "typo").out, "  - no live node serves the queue defalt: was default meant?\n")
		require.Empty(t, stellar(t, at.env, "enqueue", "echo").err)
	})
}

func TestATaskThatNobodyHasDefinedIsWarnedOf(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, at place) {
		supervisortest.StartWith(t, enqueueApp(), supervisor.Config{Workers: 1, Redis: at.cfg})
		require.Eventually(t, func() bool { return stellar(t, at.env, "enqueue", "echo").err == "" }, patient, 10*time.Millisecond, "until the node claims")
		require.Equal(t, "stellar: no program has defined the task eco (did you mean echo?): it waits until a node that handles it starts\n",
			stellar(t, at.env, "enqueue", "eco", "--any-name", "--id", "lost").err)
		require.Empty(t, stellar(t, at.env, "enqueue", "echo", "--any-name", "--id", "found", "--retention", "1h").err)
		for _, args := range []string{"tasks list --name ech", "tasks cancel --name ech", "tasks retry --name ech --dry-run"} {
			r := stellar(t, at.env, strings.Fields(args)...)
			require.Zero(t, r.code)
			require.Equal(t, "stellar: no program has defined a task ech (did you mean echo?)\n", r.err, args)
		}
		require.Empty(t, stellar(t, at.env, "tasks", "list", "--name", "mail").err)

		// The cluster counts it as pending, and says that nobody handles it.
		require.Eventually(t, func() bool {
			return strings.HasPrefix(stellar(t, at.env, "tasks", "explain", "lost").out, "lost is parked")
		}, patient, 10*time.Millisecond)
		require.Contains(t, stellar(t, at.env, "status").out, "\ntasks: 1 pending (1 of them parked: no node handles their tasks), 0 delayed, ")
		require.Contains(t, stellar(t, at.env, "status", "-o", "json").out, `"parked": 1,`)
	})
}

func TestASecretInTheFileIsToldWhereItBelongs(t *testing.T) {
	t.Parallel()
	for key, belongs := range map[string]string{
		"redis-password": "REDIS_PASS, or redis-pass-file", "redisPassword": "REDIS_PASS, or redis-pass-file", "REDIS_PASS": "REDIS_PASS, or redis-pass-file",
		"password": "REDIS_PASS, or redis-pass-file", "redis_sentinel_pass": "REDIS_SENTINEL_PASS, or redis-sentinel-pass-file",
		"STELLAR_TOKEN": "STELLAR_TOKEN, or token-file", "serverToken": "STELLAR_TOKEN, or token-file", "tokenAlso": "STELLAR_TOKEN_ALSO, or token-also-file",
		"adminToken": "STELLAR_ADMIN_TOKEN, or admin-token-file",
	} {
		r := stellar(t, home(t), "config", "check", write(t, "f.yaml", key+": "+secret+"\n"))
		require.Equal(t, 78, r.code)
		require.Contains(t, r.err, key+": unknown key: secrets do not belong in this file: set the variable "+belongs+": FILE")
		require.NotContains(t, r.err, secret)
	}
	r := stellar(t, home(t), "config", "check", write(t, "f.yaml", "redis-url: redis://:"+secret+"@h:1\n"))
	require.Zero(t, r.code)
	require.Contains(t, r.err, "f.yaml:1: redis-url: it holds a password: secrets do not belong in this file: set the variable REDIS_PASS, or redis-pass-file: FILE")
	require.NotContains(t, r.err, secret)
}

func TestTheFaultOfAFileIsToldWithTheFile(t *testing.T) {
	t.Parallel()
	short, none := write(t, "short", "short"), "/no/such"
	const tls = "redis-url: rediss://h:1\n"
	for text, says := range map[string]string{
		"token-file: " + short:                                          ":1: token-file: " + short + ": token: weak secret",
		"token-file: " + none:                                           ":1: token-file: " + none + ": no such file",
		"token-also-file: " + short:                                     ":1: token-also-file: " + short + ": token to accept as well: weak secret",
		"admin-addr: 127.0.0.1:0\nadmin-token-file: " + short:           ":2: admin-token-file: " + short + ": admin token: weak secret",
		"redis-host: h\nredis-pass-file: " + none:                       ":2: redis-pass-file: " + none + ": no such file",
		tls + "redis-cert-file: " + short + "\nredis-key-file: " + none: ":3: redis-key-file: ",
		tls + "redis-key-file: " + short + "\nredis-cert-file: " + none: ":3: redis-cert-file: ",
		tls + "redis-key-file: " + short:                                ":2: redis-key-file: ",
		tls + "redis-ca-file: " + short:                                 ":2: redis-ca-file: ",
		"redis-url: redis://h:1\nredis-ca-file: " + short:               ":2: redis-ca-file: ",
		"redis-url: rediss://h:x\nredis-ca-file: " + short:              ":1: redis-url: ",
	} {
		r := stellar(t, home(t), "config", "check", write(t, "f.yaml", text+"\n"))
		require.Equal(t, 78, r.code, r.err)
		require.Contains(t, r.err, "f.yaml"+says, text)
		require.NotContains(t, r.err, "STELLAR_TOKEN:")
	}
	require.Contains(t, stellar(t, home(t), "status", "--token-file", short).err, "stellar: --token-file: "+short+": token: weak secret")
	require.Contains(t, stellar(t, home(t).with("STELLAR_TOKEN_FILE", short), "status").err, "stellar: STELLAR_TOKEN_FILE: "+short+": token: weak secret")
	require.Contains(t, stellar(t, home(t).with("REDIS_URL", "rediss://h:1").with("REDIS_KEY_FILE", short), "status").err, "stellar: REDIS_KEY_FILE: ")
}

// One of something is not several.
func TestNumbersHaveTheirNouns(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, at place) {
		supervisortest.StartWith(t, worker.NewApp(), supervisor.Config{Workers: 1, Redis: at.cfg})
		file := filepath.Join(t.TempDir(), "f")
		require.Zero(t, stellar(t, at.env, "cache", "set", "k", "1").code)
		require.Regexp(t, `^exported 1 entry, skipped 0, \d+ bytes: `, stellar(t, at.env, "cache", "export", file).out)
		require.Contains(t, stellar(t, at.env, "scale", "1").out, "from 1 to 1 node\n")
		require.Contains(t, stellar(t, at.env, "reload").out, ": 1 node runs anew\n")
		require.Zero(t, stellar(t, at.env, "enqueue", "echo", "--any-name", "--id", "first", "--in", "1h").code)
		require.Zero(t, stellar(t, at.env, "enqueue", "echo", "--any-name", "--id", "then", "--after", "first").code)
		require.Contains(t, stellar(t, at.env, "tasks").out, "\n1 task waits for other tasks; 0 dead and")
		require.Contains(t, stellar(t, at.env, "tasks", "explain", "then").out, "1 more of the tasks that it is to follow is done\n")
	})
}
