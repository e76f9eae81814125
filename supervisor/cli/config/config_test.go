package config

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/worker"
)

// environment is what a test gives the settings.
type environment map[string]string

func (e environment) lookup(name string) (string, bool) {
	v, ok := e[name]
	return v, ok
}

// parsed returns the settings as the command run would find them.
func parsed(t *testing.T, env environment, args ...string) (*Settings, error) {
	t.Helper()
	s := New(env.lookup)
	run := &urfave.Command{
		Name: "run", Flags: s.RunFlags(), Action: s.Action(func(context.Context, []string) error { return nil }),
		Writer: io.Discard, ErrWriter: io.Discard,
	}
	return s, run.Run(t.Context(), append([]string{"run"}, args...))
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestFlagsWinOverEnvironmentOverFileOverDefaults(t *testing.T) {
	file := write(t, "stellar.yaml", "workers: 3\nconcurrency: 7\ndrain: 9s\nnamespace: from-file\nworker-prefix: filed\nqueues: [mail, default]\nsilent: true\n")
	env := environment{
		"STELLAR_CONFIG": file, "STELLAR_WORKERS": "5", "STELLAR_NAMESPACE": "from-env", shutdownTimeout: "1500", "STELLAR_TITLE": "",
	}
	s, err := parsed(t, env, "--workers", "8")
	require.NoError(t, err)
	require.Equal(t, 8, s.Workers, "the flag")
	require.Equal(t, "from-env", s.Namespace, "the environment")
	require.Equal(t, 1500*time.Millisecond, s.Drain, "the environment, in milliseconds")
	require.Equal(t, 7, s.concurrency, "the file")
	require.Equal(t, "filed", s.prefix, "the file, by the flag's other name")
	require.Equal(t, []string{"mail", "default"}, s.queues)
	require.True(t, s.silent)
	require.Equal(t, 3*time.Second, s.grace, "the default")
	require.Empty(t, s.Title, "an empty variable is none")
	for flag, want := range map[string]Rank{
		"workers": FromFlag, "namespace": FromEnvironment, "drain": FromEnvironment, "concurrency": FromFile, "queues": FromFile, "grace": FromDefault,
	} {
		require.Equal(t, want, s.Origin(flag).Rank, flag)
	}
}

func TestStellarsOwnNamesAreKept(t *testing.T) {
	env := environment{"STELLAR_TITLE": "mine", shutdownTimeout: "2s"}
	s, err := parsed(t, env, "--cluster", "--workers=1", "--id", "boss", "--silent", "--workerPrefix", "hostname", "--queues", "a, b", "--queues", "c")
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b", "c"}, s.queues)
	require.Equal(t, "mine", s.Title)
	require.Equal(t, 2*time.Second, s.Drain)
	cfg, err := s.Set()
	require.NoError(t, err)
	host, err := os.Hostname()
	require.NoError(t, err)
	require.Equal(t, host, cfg.WorkerPrefix)
	require.Equal(t, "boss", cfg.ID)

	s, err = parsed(t, nil, "--id", "boss", "--worker-prefix", "w")
	require.NoError(t, err)
	cfg, err = s.Set()
	require.NoError(t, err)
	require.Equal(t, 1, cfg.Workers, "an id is that of a set of one")
	require.Equal(t, "w", cfg.WorkerPrefix)
	require.Equal(t, worker.DefaultConcurrency, cfg.Concurrency)
}

// A dash precedes the number of a node in any case: as in the original, "app-" is "app".
func TestADashAtTheEndOfAWorkerPrefixIsTheSameAsNone(t *testing.T) {
	host, err := os.Hostname()
	require.NoError(t, err)
	for prefix, want := range map[string]string{
		"app": "app", "app-": "app", "app--": "app", "a-b-": "a-b", "hostname": host, "hostname-": host, strings.Repeat("a", supervisor.MaxPrefix) + "-": strings.Repeat("a", supervisor.MaxPrefix),
	} {
		file := write(t, "stellar.yaml", "worker-prefix: "+prefix+"\n")
		for from, settings := range map[string]struct {
			env  environment
			args []string
		}{
			"flag": {nil, []string{"--workerPrefix", prefix}}, "alias": {nil, []string{"--worker-prefix=" + prefix}},
			"environment": {environment{"STELLAR_WORKER_PREFIX": prefix}, nil}, "file": {nil, []string{"--config", file}},
		} {
			s, err := parsed(t, settings.env, settings.args...)
			require.NoError(t, err, from)
			cfg, err := s.Set()
			require.NoError(t, err, from)
			require.Equal(t, want, cfg.WorkerPrefix, from)
		}
	}
	for _, prefix := range []string{"-", "--"} {
		_, err := parsed(t, environment{"STELLAR_WORKER_PREFIX": prefix})
		require.ErrorContains(t, err, "not dashes alone")
	}
}

func TestWhereRedisIs(t *testing.T) {
	file := write(t, "stellar.yaml", "redis-url: redis://filed:1\n")
	cases := map[string]struct {
		env  environment
		args []string
		url  string
	}{
		"nothing":                {},
		"a URL":                  {env: environment{"REDIS_URL": "redis://u:p@h:1/2"}, url: "redis://u:p@h:1/2"},
		"host":                   {env: environment{"REDIS_HOST": "h"}, url: "redis://h:6379/0"},
		"port and db":            {env: environment{"REDIS_PORT": "7", "REDIS_DB": "3"}, url: "redis://127.0.0.1:7/3"},
		"an address of IPv6":     {env: environment{"REDIS_HOST": "::1"}, url: "redis://[::1]:6379/0"},
		"both: the URL":          {env: environment{"REDIS_URL": "redis://h:1", "REDIS_HOST": "other"}, url: "redis://h:1"},
		"a flag over a variable": {env: environment{"REDIS_URL": "redis://h:1"}, args: []string{"--redis-host", "flagged"}, url: "redis://flagged:6379/0"},
		"a variable over a file": {env: environment{"STELLAR_CONFIG": file, "REDIS_HOST": "h"}, url: "redis://h:6379/0"},
		"the file":               {env: environment{"STELLAR_CONFIG": file}, url: "redis://filed:1"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s, err := parsed(t, c.env, c.args...)
			require.NoError(t, err)
			cfg, configured, err := s.Redis()
			require.NoError(t, err)
			require.Equal(t, c.url, cfg.URL)
			require.Equal(t, c.url != "", configured)
		})
	}
}

func TestSecretsComeFromTheEnvironmentOrAFile(t *testing.T) {
	pass, token := write(t, "pass", "hunter22\n"), write(t, "token", "0123456789abcdef0123")
	s, err := parsed(t, environment{"REDIS_HOST": "h", "REDIS_PASS_FILE": pass, "STELLAR_TOKEN_FILE": token, "REDIS_USER": "ada"})
	require.NoError(t, err)
	cfg, _, err := s.Redis()
	require.NoError(t, err)
	require.Equal(t, "hunter22", cfg.Password.Reveal())
	require.Equal(t, "0123456789abcdef0123", cfg.Token.Reveal())
	require.Equal(t, "ada", cfg.Username)
}

const fine = `tasks:
  thumbnails.make:
    command: [cat, "-"]
    queue: images
    timeout: 30s
    max-attempts: 5
    backoff: 1s
    max-backoff: 10s
    output: 64KiB
    retention: 1h
    snooze: 2m
    directory: /
    environment: {KEY: a secret, N: 7}
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

func TestTasksOfTheFile(t *testing.T) {
	s, err := parsed(t, nil, "--config", write(t, "stellar.yaml", fine))
	require.NoError(t, err)
	p, err := s.Prepare(t.Context(), func() (*worker.App, error) { return worker.NewApp(), nil })
	require.NoError(t, err)
	require.Len(t, p.Commands, 2)
	c := p.Commands[0]
	require.Equal(t, []any{
		"thumbnails.make", "images", 30 * time.Second, 5, time.Second, 10 * time.Second, time.Hour, 64 << 10, 2 * time.Minute, "/",
	}, []any{c.Name, c.Queue, c.Timeout, c.MaxAttempts, c.Backoff, c.MaxBackoff, c.Retention, c.Output, c.Snooze, c.Directory})
	require.Equal(t, map[string]string{"KEY": "a secret", "N": "7"}, c.Environment)
	require.Equal(t, -1, p.Commands[1].Output, "nothing is kept")
	require.Contains(t, p.App.Tasks(), "thumbnails.make")
	require.Len(t, p.Periodics, 2)
	require.True(t, p.Periodics[0].CatchUp)
	require.Equal(t, "0 6 * * * Europe/Berlin", p.Periodics[0].Schedule.String())
	require.JSONEq(t, `{"a": [1, 2.5, "x"]}`, string(p.Periodics[0].Payload.(json.RawMessage)))
	require.Equal(t, "every 10m0s", p.Periodics[1].Schedule.String())
}

func TestAnEmptyValueInAnEnvironmentIsRefused(t *testing.T) {
	s, err := parsed(t, nil, "--config", write(t, "stellar.yaml", "tasks:\n  a: {command: [cat], environment: {KEY: }}\n"))
	require.NoError(t, err)
	_, err = s.Prepare(t.Context(), func() (*worker.App, error) { return worker.NewApp(), nil })
	require.ErrorContains(t, err, "stellar.yaml:2: tasks.a.environment: a mapping of names to texts, each name once, is needed here")
}

// What is wrong with the directory, or with the program, of a server that runs is not the matter of a child.
func TestAChildDoesNotCheckTheServerOfItsGuardian(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	newApp := func() (*worker.App, error) { return worker.NewApp(), nil }
	s, err := parsed(t, nil, "--data", "/dev/null")
	require.NoError(t, err)
	_, err = s.Prepare(t.Context(), newApp)
	require.ErrorContains(t, err, "--data")
	s.LeaveToGuardian()
	_, err = s.Prepare(t.Context(), newApp)
	require.NoError(t, err)
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "65536": 65536, "64KiB": 64 << 10, "3 MiB": 3 << 20, "2GiB": 2 << 30} {
		n, err := ParseSize(text)
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
	for _, text := range []string{"", "-1", "64KB", "1.5MiB", "many", "9999999GiB"} {
		_, err := ParseSize(text)
		require.ErrorContains(t, err, "is not a size", text)
	}
}

func TestQueuesWithWeights(t *testing.T) {
	queues, weights, err := parseQueues([]string{"critical=6", "default=3", "low"})
	require.NoError(t, err)
	require.Equal(t, []string{"critical", "default", "low"}, queues)
	require.Equal(t, map[string]int{"critical": 6, "default": 3}, weights)
	_, weights, err = parseQueues([]string{"a", "b"})
	require.NoError(t, err)
	require.Nil(t, weights, "strict")
}
