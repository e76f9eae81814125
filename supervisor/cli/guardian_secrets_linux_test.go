package cli

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/internal_test/collector"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor/guard"
	"github.com/stellarfw/stellar/worker/tasks"
)

func TestAnAppThatCannotBeMadeIsToldOnce(t *testing.T) {
	t.Parallel()
	g := guardian(t, "closed", 0, nil, "--processes", "3")
	require.Equal(t, exitFailure, g.wait(t), g.err)
	require.Equal(t, 1, strings.Count(g.err.String(), "the shop's database is away"), g.err)
}

func TestSecretsOfAGuardianAreNotInItsChildren(t *testing.T) {
	t.Parallel()
	const token, key = "0123456789-secret-token-0123456789", "secret-key-of-the-collector"
	traces := collector.Start(t)
	env := home(t).with("STELLAR_TOKEN", token).with("OTEL_EXPORTER_OTLP_ENDPOINT", traces.URL).
		with("OTEL_EXPORTER_OTLP_HEADERS", "api-key="+key)
	g := guardian(t, "guarded", 2, env, "--processes", "2", "--workers", "1", "--log-level", "debug")
	require.Equal(t, 2, strings.Count(g.err.String(), "the app is made"), "the guardian makes no app")
	for _, pid := range g.children() {
		for _, file := range []string{"environ", "cmdline"} {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
			require.NoError(t, err)
			require.NotEmpty(t, text)
			for _, secret := range []string{token, key, g.cfg.URL, "REDIS_URL", "STELLAR_TOKEN", "_HEADERS"} {
				require.NotContains(t, string(text), secret)
			}
		}
	}
	require.NotContains(t, g.err.String(), token)
	require.NotContains(t, g.err.String(), key)
	for range 20 {
		g.enqueue("echo", 1, tasks.Options{})
	}
	g.eventually(func() bool { return g.counts().Done == 20 }, "they work with them all the same")
	g.signal(t, syscall.SIGINT)
	require.Zero(t, g.wait(t), g.err)
	spans := traces.Named("process default")
	require.Len(t, spans, 20, "children export what is left before they end")
	for _, s := range spans {
		require.NotEqual(t, g.cmd.Process.Pid, s.Resource["process.pid"])
		require.Equal(t, "stellar", s.Resource["service.name"])
	}
	for _, h := range traces.Headers() {
		require.Equal(t, key, h.Get("Api-Key"))
	}
	require.Equal(t, 2, strings.Count(g.err.String(), "traces are exported by OTLP over HTTP"), "the guardian exports none")
	for _, text := range []string{`"process":0`, `"process":1`} {
		require.Contains(t, g.err.String(), text)
	}
}

// The guardian alone, of a binary without the race detector, which takes most of the memory.
func TestAGuardianIsSmall(t *testing.T) {
	t.Parallel()
	cfg := redistest.Start(t).Config()
	b := prepare(t, plain(t), home(t).with("REDIS_URL", cfg.URL), "--processes", "2", "--workers", "1")
	require.NoError(t, redistest.StartWithTest(b.cmd))
	b.err.await(t, "node is running", 2)
	require.Less(t, privateMemory(t, b.cmd.Process.Pid), 15<<10)
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", b.cmd.Process.Pid))
	require.NoError(t, err)
	require.NotContains(t, string(environ), guard.Variable)
	require.NoError(t, b.cmd.Process.Signal(syscall.SIGTERM))
	require.Zero(t, b.wait(t), b.err)
}
