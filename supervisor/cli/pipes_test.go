package cli

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/redistest"
)

// noReader returns the end of a pipe that nobody reads.
func noReader(t *testing.T) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	require.NoError(t, r.Close())
	t.Cleanup(func() { _ = w.Close() })
	return w
}

// testPipes is about the built program when nobody reads its output any more.
func testPipes(t *testing.T, path string) {
	t.Run("a set goes on without those who read its log", func(t *testing.T) {
		t.Parallel()
		r, w, err := os.Pipe()
		require.NoError(t, err)
		env := home(t).with("STELLAR_CONFIG", write(t, "f", "tasks: {pipe: {command: [sh, -c, 'kill -PIPE $$; echo alive']}}"))
		set := prepare(t, path, env, "--workers", "2", "--admin-addr", "127.0.0.1:0")
		set.cmd.Stdout, set.cmd.Stderr = noReader(t), w
		require.NoError(t, set.cmd.Start())
		require.NoError(t, w.Close())
		lines, address := bufio.NewScanner(r), ""
		for address == "" && lines.Scan() {
			if m := regexp.MustCompile(`"address":"([^"]*)"`).FindStringSubmatch(lines.Text()); m != nil {
				address = m[1]
			}
		}
		require.NoError(t, r.Close(), "as head -1 does")
		awaitNode(t, env)
		require.NotZero(t, launch(t, path, env, "enqueue", "pipe", "--wait", "--max-attempts", "1").wait(t), "the signal ends the programs of tasks as ever")
		resp, err := http.Get("http://" + address + "/status")
		require.NoError(t, err)
		defer resp.Body.Close()
		var page struct {
			LostLogLines int `json:"lostLogLines"`
		}
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&page))
		require.Positive(t, page.LostLogLines)
		require.NoError(t, set.cmd.Process.Signal(syscall.SIGTERM))
		require.Zero(t, set.wait(t))
	})

	t.Run("commands end quietly", func(t *testing.T) {
		t.Parallel()
		path := plain(t)
		cfg := redistest.Start(t).Config()
		env := home(t).with("REDIS_URL", cfg.URL)
		for _, args := range [][]string{{"status"}, {"tasks"}, {"cache", "keys"}, {"cache", "export"}, {"config", "show"}, {"config", "check"}, {"version"}, {"demo", "."}} {
			if args[0] == "cache" {
				require.Zero(t, launch(t, path, env, "cache", "set", "k", "1").wait(t))
			}
			b := prepare(t, path, env, args...)
			b.cmd.Stdout = noReader(t)
			require.NoError(t, b.cmd.Start())
			require.Equal(t, 141, b.wait(t), args)
			require.Empty(t, b.err.String(), args)
		}
		keys, err := redistest.Client(t, cfg).Keys(t.Context(), "*demo*").Result()
		require.NoError(t, err)
		require.Empty(t, keys, "the demo removes its namespace")
		b := prepare(t, path, env, "frob")
		b.cmd.Stderr = noReader(t)
		require.NoError(t, b.cmd.Start())
		require.Equal(t, exitUsage, b.wait(t), "the error is lost, its code is not")
	})
}
