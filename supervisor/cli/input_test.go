package cli

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/worker"
)

// parsed returns the program as the command run would find it.
func parsed(t *testing.T, env environment, args ...string) (*program, error) {
	t.Helper()
	p := newProgram(Process{Env: env.lookup, Stdout: newOutput(), Stderr: newOutput()}, builtinApp())
	cmd := p.command()
	cmd.Command("run").Action = p.action(func(context.Context, []string) error { return nil })
	return p, cmd.Run(t.Context(), append([]string{"stellar"}, args...))
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
	p, err := parsed(t, env, "--workers", "8")
	require.NoError(t, err)
	require.Equal(t, 8, p.workers, "the flag")
	require.Equal(t, "from-env", p.namespace, "the environment")
	require.Equal(t, 1500*time.Millisecond, p.drain, "the environment, in milliseconds")
	require.Equal(t, 7, p.concurrency, "the file")
	require.Equal(t, "filed", p.prefix, "the file, by the flag's other name")
	require.Equal(t, []string{"mail", "default"}, p.queues)
	require.True(t, p.silent)
	require.Equal(t, 3*time.Second, p.grace, "the default")
	require.Empty(t, p.title, "an empty variable is none")
	for flag, want := range map[string]rank{
		"workers": fromFlag, "namespace": fromEnvironment, "drain": fromEnvironment, "concurrency": fromFile, "queues": fromFile, "grace": fromDefault,
	} {
		require.Equal(t, want, p.input.origin(flag).rank, flag)
	}
}

func TestStellarsOwnNamesAreKept(t *testing.T) {
	env := environment{"STELLAR_TITLE": "mine", shutdownTimeout: "2s"}
	p, err := parsed(t, env, "run", "--cluster", "--workers=1", "--id", "boss", "--silent", "--workerPrefix", "hostname", "--queues", "a, b", "--queues", "c")
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b", "c"}, p.queues)
	require.Equal(t, "mine", p.title)
	require.Equal(t, 2*time.Second, p.drain)
	cfg, err := p.setConfig()
	require.NoError(t, err)
	host, err := os.Hostname()
	require.NoError(t, err)
	require.Equal(t, host, cfg.WorkerPrefix)
	require.Equal(t, "boss", cfg.ID)

	p, err = parsed(t, nil, "--id", "boss", "--worker-prefix", "w")
	require.NoError(t, err)
	cfg, err = p.setConfig()
	require.NoError(t, err)
	require.Equal(t, 1, cfg.Workers, "an id is that of a set of one")
	require.Equal(t, "w", cfg.WorkerPrefix)
	require.Equal(t, worker.DefaultConcurrency, cfg.Concurrency)
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
			p, err := parsed(t, c.env, c.args...)
			require.NoError(t, err)
			cfg, configured, err := p.redis()
			require.NoError(t, err)
			require.Equal(t, c.url, cfg.URL)
			require.Equal(t, c.url != "", configured)
		})
	}
}

func TestSecretsComeFromTheEnvironmentOrAFile(t *testing.T) {
	pass, token := write(t, "pass", "hunter22\n"), write(t, "token", "0123456789abcdef0123")
	p, err := parsed(t, environment{"REDIS_HOST": "h", "REDIS_PASS_FILE": pass, "STELLAR_TOKEN_FILE": token, "REDIS_USER": "ada"})
	require.NoError(t, err)
	cfg, _, err := p.redis()
	require.NoError(t, err)
	require.Equal(t, "hunter22", cfg.Password.Reveal())
	require.Equal(t, "0123456789abcdef0123", cfg.Token.Reveal())
	require.Equal(t, "ada", cfg.Username)
}
