package config

import (
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/worker"
)

func newApp() (*worker.App, error) { return worker.NewApp(), nil }

// wrong returns what the command run finds wrong.
func wrong(t *testing.T, env environment, args ...string) error {
	t.Helper()
	s := New(env.lookup)
	run := &urfave.Command{
		Name: "run", Flags: s.RunFlags(), Writer: io.Discard, ErrWriter: io.Discard,
		Action: s.SetAction(newApp, func(context.Context, Prepared) error { return nil }),
	}
	return run.Run(t.Context(), append([]string{"run"}, args...))
}

// bad are values of no type, but those of texts.
var bad = map[string]string{"integer": "many", "boolean": "maybe", "duration": "soon"}

var good = map[string]string{"integer": "1", "boolean": "true", "duration": "1s"}

func TestAValueOfALowerRankIsNotJudged(t *testing.T) {
	const token = "what --require-token asks for"
	for _, f := range New(nil).RunFlags() {
		name, kind := f.Names()[0], kindOf(f)
		if bad[kind] == "" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			variable := f.(urfave.DocGenerationFlag).GetEnvVars()[0]
			file := write(t, "stellar.yaml", fmt.Sprintf("%s: %s\n", name, bad[kind]))
			flag := fmt.Sprintf("--%s=%s", name, good[kind])
			require.NoError(t, wrong(t, environment{variable: bad[kind], "STELLAR_TOKEN": token}, flag))
			require.NoError(t, wrong(t, environment{"STELLAR_CONFIG": file, "STELLAR_TOKEN": token}, flag))
			require.NoError(t, wrong(t, environment{"STELLAR_CONFIG": file, variable: good[kind], "STELLAR_TOKEN": token}))
			require.ErrorContains(t, wrong(t, environment{"STELLAR_CONFIG": file}), file+":1: "+name)
			err := wrong(t, environment{"STELLAR_CONFIG": file, variable: bad[kind]})
			require.ErrorContains(t, err, variable+": ")
			require.NotContains(t, err.Error(), file, "the environment wins over it")
		})
	}
}

func TestWhatIsNotUsedIsNotJudged(t *testing.T) {
	const link = "tcp://10.0.0.1:6379"
	file := write(t, "stellar.yaml", "redis-db: many\nredis-port: many\n")
	for name, c := range map[string]struct {
		env  environment
		args []string
	}{
		"a port beside a URL":             {env: environment{"REDIS_URL": "redis://h", "REDIS_PORT": link}},
		"a port out of range":             {env: environment{"REDIS_URL": "redis://h", "REDIS_PORT": "70000", "REDIS_DB": "-1"}},
		"a port beside a URL of a flag":   {env: environment{"REDIS_PORT": link}, args: []string{"--redis-url", "redis://h"}},
		"a database of a file":            {env: environment{"STELLAR_CONFIG": file, "REDIS_URL": "redis://h"}},
		"a URL beside a host of a flag":   {env: environment{"REDIS_URL": "http://h"}, args: []string{"--redis-host", "h"}},
		"the password of other Sentinels": {env: environment{"REDIS_URL": "redis://h", "REDIS_SENTINEL_PASS_FILE": "/no/such"}},
		"the token of no pages":           {env: environment{"STELLAR_ADMIN_TOKEN_FILE": "/no/such"}},
		"a prefix beside an id":           {env: environment{"STELLAR_WORKER_PREFIX": "no good"}, args: []string{"--id", "boss"}},
		"the watchdog of no manager":      {env: environment{"WATCHDOG_USEC": "often"}},
	} {
		t.Run(name, func(t *testing.T) { require.NoError(t, wrong(t, c.env, c.args...)) })
	}
}

// Where a setting decides, it is judged as before.
func TestWhatIsUsedIsJudged(t *testing.T) {
	for name, c := range map[string]struct {
		env  environment
		says string
	}{
		"a port beside a host":          {environment{"REDIS_HOST": "h", "REDIS_PORT": "70000"}, "REDIS_PORT: 70000 is not between"},
		"a port over a URL of the file": {environment{"STELLAR_CONFIG": write(t, "f", "redis-url: redis://h\n"), "REDIS_PORT": "x"}, "REDIS_PORT"},
		"the password of Sentinels":     {environment{"REDIS_URL": "redis+sentinel://h/p", "REDIS_SENTINEL_PASS_FILE": "/no/such"}, "/no/such"},
		"the token of pages":            {environment{"STELLAR_ADMIN_ADDR": ":0", "STELLAR_ADMIN_TOKEN_FILE": "/no/such"}, "/no/such"},
		"a prefix":                      {environment{"STELLAR_WORKER_PREFIX": "no good"}, "STELLAR_WORKER_PREFIX"},
		"the watchdog":                  {environment{"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "often"}, "WATCHDOG_USEC"},
	} {
		t.Run(name, func(t *testing.T) { require.ErrorContains(t, wrong(t, c.env), c.says) })
	}
}

func TestAServiceLinkThatWouldBeUsedIsExplained(t *testing.T) {
	for _, env := range []environment{{"REDIS_PORT": "tcp://10.0.0.1:6379"}, {"REDIS_PORT": "tcp://10.0.0.1:6379", "REDIS_HOST": "redis"}} {
		err := wrong(t, env)
		require.ErrorIs(t, err, ErrUsage)
		require.ErrorContains(t, err, `REDIS_PORT: "tcp://10.0.0.1:6379" is not a port: Kubernetes sets this variable in pods beside a service named redis`)
		require.ErrorContains(t, err, "Set REDIS_URL")
		require.ErrorContains(t, err, "enableServiceLinks: false")
	}
}
