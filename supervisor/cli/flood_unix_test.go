//go:build unix

package cli

import (
	"context"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/redistest"
)

// Connections to the health pages, however many, take nothing from the nodes: neither memory
// nor the files of a process that may open few.
func TestAFloodOfConnections(t *testing.T) {
	t.Parallel()
	flood := 15_000
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	flood = min(flood, int(limit.Cur)-2000)
	env := home(t).with("REDIS_URL", redistest.Start(t).Config().URL)
	set := launch(t, "/bin/sh", env, "-c", `ulimit -n 256 && exec "$0" "$@"`, built(t), "--workers", "2", "--admin-addr", "127.0.0.1:0")
	set.err.await(t, "serving the health pages", 1)
	addr := address.FindStringSubmatch(set.err.String())[1]
	set.err.await(t, "node is running", 2)
	for range flood {
		c, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		_, _ = io.WriteString(c, "GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
	}
	client := &http.Client{Timeout: patient, Transport: &http.Transport{DisableKeepAlives: true}}
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/healthz", http.NoBody)
	require.NoError(t, err)
	response, err := client.Do(r)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusOK, response.StatusCode)
	t.Logf("/healthz answered after %s beside %d connections", time.Since(began), flood)
	task := stellar(t, env, "enqueue", "echo", "7", "--wait", "--timeout", patient.String())
	require.Equal(t, "7\n", task.out, "%s%s", task.err, set.err)
	require.NotContains(t, set.err.String(), "too many open files")
	require.NoError(t, set.cmd.Process.Signal(syscall.SIGTERM))
	require.Zero(t, set.wait(t), set.err)
}
