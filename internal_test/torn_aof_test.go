package internal_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/redistest"
)

// The page guarantees says what to do when Redis has cut a torn end off its AOF: otherwise its
// next start may replay the beginning of the transaction that the end was torn from.
func TestWhatTheManualSaysOfATornAOFKeepsTransactionsWhole(t *testing.T) {
	t.Parallel()
	for name, repair := range map[string]struct {
		truncated string // aof-load-truncated
		before    func(t *testing.T, dir string)
		after     func(t *testing.T, c *redis.Client)
	}{
		"rewritten": {truncated: "yes", after: func(t *testing.T, c *redis.Client) {
			t.Helper()
			require.NoError(t, c.BgRewriteAOF(t.Context()).Err())
			require.Eventually(t, func() bool {
				return redistest.Info(t, c, "persistence", "aof_rewrite_in_progress") == "0" &&
					redistest.Info(t, c, "persistence", "aof_rewrite_scheduled") == "0"
			}, time.Minute, 10*time.Millisecond)
			require.Equal(t, "ok", redistest.Info(t, c, "persistence", "aof_last_bgrewrite_status"))
		}},
		"fixed before the start": {truncated: "no", before: func(t *testing.T, dir string) {
			t.Helper()
			fix := exec.CommandContext(t.Context(), "redis-check-aof", "--fix", filepath.Join(dir, "appendonlydir", "appendonly.aof.manifest"))
			fix.Stdin = strings.NewReader("y\n")
			said, err := fix.CombinedOutput()
			require.NoError(t, err, "%s", said)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			args := []string{"--dir", dir, "--appendonly", "yes", "--appendfsync", "always", "--aof-load-truncated", repair.truncated}
			run := func(commands ...func(c *redis.Client)) []any {
				server := redistest.Start(t, args...)
				defer server.Kill()
				c := redistest.Client(t, server.Config())
				values := c.MGet(t.Context(), "whole", "a", "b", "c").Val()
				for _, command := range commands {
					command(c)
				}
				return values
			}
			transaction := func(keys ...string) func(c *redis.Client) {
				return func(c *redis.Client) {
					require.NoError(t, c.Eval(t.Context(), "for _, key in ipairs(KEYS) do redis.call('SET', key, 1) end return 1", keys).Err())
				}
			}
			run(transaction("whole"), transaction("a", "b", "c"))
			tear(t, dir)
			if repair.before != nil {
				repair.before(t, dir)
			}
			half := []any{"1", nil, nil, nil}
			require.Equal(t, half, run(func(c *redis.Client) {
				if repair.after != nil {
					repair.after(t, c)
				}
			}, transaction("d", "e")), "the torn transaction is not there")
			require.Equal(t, half, run(), "nor half of it at the next start")
		})
	}
}

// tear cuts the AOF in the last command of its last transaction.
func tear(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "appendonlydir", "*.incr.aof"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	whole, err := os.ReadFile(files[0])
	require.NoError(t, err)
	at := bytes.LastIndex(whole, []byte("\r\nc\r\n"))
	require.Positive(t, at)
	require.NoError(t, os.WriteFile(files[0], whole[:at+3], 0o600))
}
