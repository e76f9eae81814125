package cli

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/supervisor/cli/configcmd"
)

// allWrong is a file in which most things are.
const allWrong = `workers: 3
wrokers: 2
silent: maybe
redis-url: redis://ada:` + secret + `@127.0.0.1:99999/0
tasks:
  a b:
    command: [cat]
  make:
    command: convert - -
    timeuot: 30s
    output: 64KB
    timeout: 1
  echo:
    command: [cat]
  twice:
    command: [cat]
  twice:
    command: [cat]
  three:
    directory: /no/such
    environment: {STELLAR_TOKEN: ` + secret + `}
    command: [no-such-program, a]
    queue: "no good"
  nothing:
periodic:
  a: {task: x, cron: "0 6 * *"}
  b: {task: x, cron: "0 6 * * *", timezone: Nowhere/Land}
  c: {task: x, every: 1s, cron: "0 6 * * *"}
  d: {every: 10m}
  e: {task: x, every: 10ms}
  f: {task: x, every: 10m, timezone: UTC}
  g: {task: x, every: 10m, payload: {a: .inf}}
  h: {task: x, every: 10m, payload: {a: 1, a: 2}}
  i: {task: x, cron: "@daily", timezone: Local}
  j: {task: x, every: 10m, catch-up: sometimes}
`

func TestCheckReportsEverythingAtOnce(t *testing.T) {
	file := write(t, "stellar.yaml", allWrong)
	r := stellar(t, home(t).with("STELLAR_CONCURRENCY", "0").with("STELLAR_TOKEN", "short"), "config", "check", file)
	require.Equal(t, 78, r.code)
	for _, text := range []string{
		":2: wrokers: unknown key: did you mean workers?", ":3: silent: true or false is needed here",
		":4: redis-url: redis URL redis://127.0.0.1:99999/0: port 99999 is not between 1 and 65535",
		`:6: tasks.a b: task name "a b": use 1 to 200 letters`,
		":9: tasks.make.command: a list such as [program, argument]", ":10: tasks.make.timeuot: unknown key: did you mean timeout?",
		":11: tasks.make.output: a size such as 65536, 64KiB or 1MiB", ":12: tasks.make.timeout: a time such as",
		":13: tasks.echo: the program has a task of that name already", ":17: tasks.twice: it was set before in the same file",
		`:23: tasks.three: queue "no good"`, `:22: tasks.three: program "no-such-program": executable file not found`, ":20: tasks.three: directory: stat /no/such",
		":21: tasks.three: environment: STELLAR_TOKEN: names that begin with", ":24: tasks.nothing: names and their settings are needed here",
		`:26: periodic.a: periodic task a: schedule "0 6 * *"`, `:27: periodic.b.timezone: "Nowhere/Land" is not the name of a time zone`,
		":28: periodic.c: one of cron and every is needed", ":29: periodic.d: the name of the task that it enqueues is needed",
		":30: periodic.e: periodic task e: schedule every 10ms", ":31: periodic.f.timezone: it goes with cron only",
		":32: periodic.g.payload: a value that JSON can hold", ":33: periodic.h.payload: a value that JSON can hold",
		`:34: periodic.i.timezone: "Local" is not`, ":35: periodic.j.catch-up: true or false is needed here",
		"STELLAR_CONCURRENCY: 0 is not between", "STELLAR_TOKEN: token: weak secret: 5 bytes are too few",
	} {
		require.Contains(t, r.err, text)
	}
	require.NotContains(t, r.err, secret)
	require.Equal(t, 78, stellar(t, home(t), "--config", file).code, "run does not start with it")
}

func TestCheckAndRunKnowTheSameMistakes(t *testing.T) {
	dir := t.TempDir()
	file := write(t, "stellar.yaml", allWrong)
	long := filepath.Join(dir, strings.Repeat("x", 100))
	link, good, empty := filepath.Join(t.TempDir(), "link"), write(t, "good.yaml", "workers: 1\n"), write(t, "token", "")
	require.NoError(t, os.Symlink(dir, link))
	require.NoError(t, os.Symlink("none", filepath.Join(dir, "dangling")))
	short := home(t)["XDG_RUNTIME_DIR"]
	socket := filepath.Join(short, "s")
	listener, err := net.Listen("unix", socket)
	require.NoError(t, err)
	defer listener.Close()
	for name, c := range map[string]struct {
		env  environment
		says []string
	}{
		"a file, the environment": {
			environment{"STELLAR_CONFIG": file, "STELLAR_CONCURRENCY": "0", "STELLAR_WORKERS": "x", "STELLAR_TOKEN": "short", "STELLAR_ADMIN_ADDR": ":0"},
			[]string{":2: wrokers", ":35: periodic.j", "STELLAR_CONCURRENCY", "STELLAR_WORKERS", "STELLAR_TOKEN", "STELLAR_ADMIN_TOKEN"},
		},
		"a log file without a directory": {environment{"STELLAR_LOG_FILE": "/no/such/log"}, []string{"STELLAR_LOG_FILE: log file /no/such/log: no such file or directory"}},
		"a log file that is a directory": {environment{"STELLAR_LOG_FILE": dir}, []string{"STELLAR_LOG_FILE: log file " + dir + ": is a directory"}},
		"a pidfile without a directory":  {environment{"STELLAR_PIDFILE": "/no/such/pid"}, []string{"STELLAR_PIDFILE: pidfile /no/such/pid: no such file or directory"}},
		"a pidfile that is another file": {environment{"STELLAR_PIDFILE": file}, []string{"it is not the number of a process"}},
		"both and more": {
			environment{"STELLAR_PIDFILE": "/no/such/pid", "STELLAR_LOG_FILE": "/no/such/log", "STELLAR_WORKERS": "-1", "STELLAR_DENY": "no spaces"},
			[]string{"/no/such/pid", "/no/such/log", "STELLAR_WORKERS: -1", "no spaces"},
		},
		"an admin address of another host": {environment{"STELLAR_ADMIN_ADDR": "192.0.2.1:80", "STELLAR_ADMIN_TOKEN": secret}, []string{"STELLAR_ADMIN_ADDR: admin address 192.0.2.1:80"}},
		"one file for log and pidfile": {
			environment{"STELLAR_LOG_FILE": filepath.Join(dir, "one"), "STELLAR_PIDFILE": filepath.Join(link, "one")},
			[]string{"STELLAR_LOG_FILE: " + filepath.Join(dir, "one") + " is the file of STELLAR_PIDFILE as well: give each its own"},
		},
		"one file by a link to what is not there": {
			environment{"STELLAR_LOG_FILE": filepath.Join(dir, "dangling"), "STELLAR_SOCKET": filepath.Join(dir, "none")}, []string{"is the file of STELLAR_SOCKET as well"},
		},
		"the log in the configuration file": {environment{"STELLAR_CONFIG": good, "STELLAR_LOG_FILE": good}, []string{"is the file of STELLAR_CONFIG as well"}},
		"the pidfile in a secret's file":    {environment{"STELLAR_TOKEN_FILE": empty, "STELLAR_PIDFILE": empty}, []string{"is the file of STELLAR_TOKEN_FILE as well"}},
		"a log file that is a socket":       {environment{"STELLAR_LOG_FILE": socket}, []string{"STELLAR_LOG_FILE: log file " + socket}},
		"a long socket":                     {environment{"STELLAR_SOCKET": long}, []string{"STELLAR_SOCKET: the path is longer than 100 bytes"}},
		"a socket without a directory":      {environment{"STELLAR_SOCKET": "/no/such/s"}, []string{"STELLAR_SOCKET: /no/such/s: no such file or directory"}},
		"a service manager of no path":      {environment{"NOTIFY_SOCKET": "x"}, []string{"NOTIFY_SOCKET"}},
		"a watchdog of no time":             {environment{"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "often"}, []string{"WATCHDOG_USEC"}},
		"an id of several nodes":            {environment{"STELLAR_ID": "x", "STELLAR_WORKERS": "2"}, []string{"one node only"}},
		"weights beside other mistakes":     {environment{"STELLAR_QUEUES": "a=0,b=x", "STELLAR_GRACE": "0s"}, []string{"STELLAR_QUEUES", "STELLAR_GRACE"}},
	} {
		t.Run(name, func(t *testing.T) {
			env := home(t)
			maps.Copy(env, c.env)
			check, run := stellar(t, env, "config", "check"), stellar(t, env, "run")
			require.Equal(t, exitConfig, check.code)
			require.NotZero(t, run.code)
			require.Equal(t, check.err, run.err)
			for _, text := range c.says {
				require.Contains(t, run.err, text)
			}
		})
	}
}

// What another process has at the moment is no mistake: it may be the set which the
// configuration is for.
func TestCheckBesideTheSetThatRuns(t *testing.T) {
	t.Parallel()
	env := home(t)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := free.Addr().String()
	require.NoError(t, free.Close())
	env = env.with("STELLAR_ADMIN_ADDR", address).with("STELLAR_WORKERS", "1")
	require.Equal(t, result{0, "nothing is wrong: environment, no file (0 command tasks, 0 periodic tasks)\n", ""}, stellar(t, env, "config", "check"))
	set := start(t, env, echoApp())
	set.err.await(t, "node is running", 1)
	r := stellar(t, env, "config", "check")
	require.Zero(t, r.code, r.err)
	require.Contains(t, r.err, "STELLAR_ADMIN_ADDR: admin address "+address+": another process listens there")
	require.Contains(t, r.err, "no mistake of the configuration")
	second := stellar(t, env, "run")
	require.Equal(t, exitFailure, second.code)
	require.Equal(t, "stellar: admin address "+address+": another process listens there: stop it, or use another port\n", last(second.err))
	set.term()
	require.Zero(t, set.wait(t), set.err)
}

// last returns the last line.
func last(text string) string {
	lines := strings.SplitAfter(text, "\n")
	return lines[len(lines)-2]
}

func TestCheckTellsOfOtherDatabasesOnTheChannel(t *testing.T) {
	env := home(t).with("STELLAR_TOKEN", secret)
	for mode, told := range map[string]bool{"hmac": false, "plain": true, "both": true} {
		for database, is := range map[string]bool{"0": false, "5": told} {
			r := stellar(t, env.with("REDIS_URL", "redis://127.0.0.1:1/"+database).with("STELLAR_TOKEN_MODE", mode), "config", "check")
			require.Zero(t, r.code, r.err)
			require.Equal(t, is, strings.Contains(r.err, "other databases of this Redis hear each other"), "%s %s: %s", mode, database, r.err)
		}
	}
}

func TestCheckLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "pid")
	require.NoError(t, os.WriteFile(other, []byte(strconv.Itoa(os.Getppid())), 0o600))
	env := home(t).with("STELLAR_LOG_FILE", filepath.Join(dir, "log")).with("STELLAR_PIDFILE", other)
	require.Zero(t, stellar(t, env, "config", "check").code, "that process may be the one which the configuration is for")
	r := stellar(t, env, "run")
	require.Equal(t, exitConfig, r.code)
	require.Contains(t, r.err, "is running")
	require.NoError(t, os.Remove(filepath.Join(dir, "log")), "run opens it")
	require.Zero(t, stellar(t, env, "config", "check").code)
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, files, 1)
}

// fine is a file with a command task, a periodic one and secrets in every place.
const fine = `workers: 3
redis-url: redis://ada:` + secret + `@127.0.0.1:1/0?sentinel_password=` + secret + `
drain: 7s
tasks:
  thumbnails.make:
    command: [cat, "redis://:` + secret + `@h"]
    queue: images
    timeout: 30s
    max-attempts: 5
    backoff: 1s
    max-backoff: 10s
    output: 64KiB
    retention: 1h
    snooze: 2m
    directory: /
    environment: {KEY: ` + secret + `, N: 7}
  two: {command: [cat], output: 0}
periodic:
  cleanup:
    task: thumbnails.make
    cron: "0 6 * * *"
    timezone: Europe/Berlin
    payload: {a: [1, 2.5, x]}
    catch-up: true
  sweep: {task: two, every: 10m}
`

func TestCheckOfWhatIsFine(t *testing.T) {
	env := home(t)
	file := write(t, "stellar.yaml", fine)
	require.Equal(t, result{0, "nothing is wrong: " + file + " (2 command tasks, 2 periodic tasks)\n",
		"stellar: " + file + ":2: redis-url: it holds a password: secrets do not belong in this file: set the variable REDIS_PASS, or redis-pass-file: FILE\n",
	}, stellar(t, env, "config", "check", file))
	lost := write(t, "lost.yaml", "periodic:\n  nightly: {task: reports.make, every: 24h}\n")
	require.Equal(t, result{
		0, "nothing is wrong: " + lost + " (0 command tasks, 1 periodic task)\n",
		"stellar: " + lost + ":2: periodic task nightly: this program has no handler for its task reports.make: it waits for a program that has one\n",
	}, stellar(t, env, "config", "check", lost))
	require.Equal(t, 0, stellar(t, env.with("STELLAR_CONFIG", file), "config", "check").code)
	require.Contains(t, stellar(t, env, "config", "check").out, "environment, no file")
	r := stellar(t, env, "config", "check", "/no/such.yaml")
	require.Equal(t, 78, r.code)
	require.Contains(t, r.err, "/no/such.yaml: no such file")
	require.Equal(t, 78, stellar(t, env.with("STELLAR_DENY", "no spaces"), "config", "check", file).code)
	require.Equal(t, 78, stellar(t, env.with("STELLAR_ADMIN_ADDR", ":0"), "config", "check", file).code)
	require.Equal(t, 2, stellar(t, env, "config", "check", file, file).code)
	require.Equal(t, 2, stellar(t, env, "config").code)
	require.Equal(t, 2, stellar(t, env, "config", "frob").code)
}

func TestShowTellsWhereEachValueComesFrom(t *testing.T) {
	file := write(t, "stellar.yaml", fine)
	pass := write(t, "pass", secret)
	env := home(t).with("STELLAR_CONFIG", file).with("STELLAR_SHUTDOWN_TIMEOUT", "1500").with("STELLAR_TOKEN", secret).
		with("STELLAR_ADMIN_TOKEN", secret).with("REDIS_PASS_FILE", pass)
	r := stellar(t, env, "config", "show", "--namespace", "shop")
	require.Zero(t, r.code, r.err)
	for _, row := range []string{
		`workers +3 +file ` + file + `:1`, `drain +1\.5s +environment STELLAR_SHUTDOWN_TIMEOUT`, `namespace +shop +flag --namespace`,
		`grace +3s +default`, `redis-url +redis://ada:\[redacted\]@127\.0\.0\.1:1/0\?sentinel_password=\[redacted\] +file ` + file + `:2`,
		`REDIS_PASS +\[redacted\] +file ` + pass, `STELLAR_TOKEN +\[redacted\] +environment STELLAR_TOKEN`, `STELLAR_TOKEN_ALSO +default`,
		`tasks\.thumbnails\.make +cat redis://\[redacted\]@h|cat redis://:\[redacted\]@h +file ` + file + `:5`,
		`periodic\.sweep +two, every 10m0s +file ` + file + `:25`, `Redis: redis://127\.0\.0\.1:1/0\n`,
	} {
		require.Regexp(t, row, r.out)
	}
	require.NotContains(t, r.out+r.err, secret)

	r = stellar(t, env, "config", "show", "-o", "json")
	require.Zero(t, r.code, r.err)
	require.NotContains(t, r.out+r.err, secret)
	var shown struct {
		Redis    string               `json:"redis"`
		Settings []configcmd.Setting  `json:"settings"`
		Tasks    []configcmd.Task     `json:"tasks"`
		Periodic []configcmd.Periodic `json:"periodic"`
	}
	require.NoError(t, json.Unmarshal([]byte(r.out), &shown))
	require.Contains(t, shown.Settings, configcmd.Setting{Name: "workers", Value: "3", Source: "file", Where: file + ":1"})
	require.Contains(t, shown.Settings, configcmd.Setting{Name: "concurrency", Value: "10", Source: "default", Where: ""})
	require.Equal(t, []string{"KEY", "N"}, shown.Tasks[0].Environment, "names alone")
	require.Equal(t, file+":19", shown.Periodic[0].Where)

	r = stellar(t, home(t), "config", "show", "--id", "boss")
	require.Regexp(t, `workers +1 +default`, r.out)
	require.Contains(t, r.out, "Redis: embedded")
	require.Equal(t, 2, stellar(t, home(t), "config", "show", "--workers", "-1").code)
}

// TestAPasswordInTheFileShowsNowhere tries what prints something about Redis.
func TestAPasswordInTheFileShowsNowhere(t *testing.T) {
	t.Parallel() // some wait for seconds
	for _, url := range []string{
		"redis://ada:" + secret + "@127.0.0.1:1/0", "redis://:" + secret + "@127.0.0.1:99999/0", "redis://:" + secret + "/x@h", "redis://" + secret + "@[",
		"http://:" + secret + "@h", "redis://ada:" + secret + "@127.0.0.1:1/zero", "redis+sentinel://ada:" + secret + "@127.0.0.1:1/primary?sentinel_password=" + secret,
	} {
		file := write(t, "stellar.yaml", fmt.Sprintf("redis-url: %q\nnamespace: shop\n", url))
		for _, args := range [][]string{
			{"run", "--workers", "1", "--log-level", "trace"}, {"status"}, {"call", "api.ping"}, {"config", "check"}, {"config", "show"}, {"config", "show", "-o", "json"},
		} {
			t.Run(strings.Join(args, " "), func(t *testing.T) {
				t.Parallel()
				r := stellar(t, home(t).with("STELLAR_CONFIG", file), args...)
				require.NotContains(t, r.out+r.err, secret, url)
			})
		}
	}
}

func TestTheHelpNamesTheFlagsOfRun(t *testing.T) {
	require.Contains(t, stellar(t, home(t), "--help").out, "stellar run --help")
	for _, flag := range []string{"--pidfile", "--log-file", "--silent"} {
		require.Contains(t, stellar(t, home(t), "run", "--help").out, flag)
	}
}

func TestACommandTaskRuns(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := write(t, "stellar.yaml", `
tasks:
  shout: {command: [tr, a-z, A-Z]}
  tick: {command: [sh, -c, "cat >>ticks"], directory: `+dir+`}
  leak: {command: [env]}
periodic:
  ticking: {task: tick, every: 1s, payload: tock}
`)
	env := home(t).with("STELLAR_CONFIG", file).with("PATH", os.Getenv("PATH"))
	set := start(t, env.with("STELLAR_TOKEN", secret), echoApp(), "--workers", "1")
	set.err.await(t, "node is running", 1)
	env = env.with("STELLAR_TOKEN", secret)
	require.Equal(t, "\"HELLO\"\n", stellar(t, env, "enqueue", "shout", `"hello"`, "--wait").out)
	leaked := stellar(t, env, "enqueue", "leak", "--wait")
	require.Contains(t, leaked.out, "STELLAR_TASK_ID=")
	require.NotContains(t, leaked.out, secret)
	require.Eventually(t, func() bool {
		text, _ := os.ReadFile(filepath.Join(dir, "ticks"))
		return strings.HasPrefix(string(text), `"tock"`)
	}, patient, 10*time.Millisecond)
	set.term()
	require.Zero(t, set.wait(t), set.err)
}
