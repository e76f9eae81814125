package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/redistest"
)

// binary is the built program as a process.
type binary struct {
	out, err *output
	cmd      *exec.Cmd
}

func launch(t *testing.T, path string, env environment, args ...string) *binary {
	t.Helper()
	b := prepare(t, path, env, args...)
	require.NoError(t, b.cmd.Start())
	return b
}

// prepare returns the program before its start.
func prepare(t *testing.T, path string, env environment, args ...string) *binary {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*patient)
	b := &binary{out: newOutput(), err: newOutput(), cmd: exec.CommandContext(ctx, path, args...)}
	b.cmd.Stdout, b.cmd.Stderr = b.out, b.err
	// The race detector would have every process sleep for a second at its end.
	b.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "GORACE=atexit_sleep_ms=0"}
	for k, v := range env {
		b.cmd.Env = append(b.cmd.Env, k+"="+v)
	}
	t.Cleanup(func() {
		cancel()
		_ = b.cmd.Wait()
	})
	return b
}

func (b *binary) wait(t *testing.T) int {
	t.Helper()
	err := b.cmd.Wait()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exit.ExitCode()
	}
	require.NoError(t, err)
	return 0
}

// built returns the path of the program, built once and like the tests: for tests of how a
// set runs.
func built(t *testing.T) string {
	t.Helper()
	path, err := build()
	require.NoError(t, err)
	return path
}

// plain returns the path of the program, built once and without the race detector, with which
// a process begins five times as fast: for tests of what commands print, one process each.
func plain(t *testing.T) string {
	t.Helper()
	path, err := buildPlain()
	require.NoError(t, err)
	return path
}

// binaries is the directory of the programs; TestMain removes it.
var binaries string

var (
	build      = sync.OnceValues(func() (string, error) { return buildWith(race, binaries) })
	buildPlain = sync.OnceValues(func() (string, error) { return buildWith("-race=false", filepath.Join(binaries, "plain")) })
)

func buildWith(flag, directory string) (path string, err error) {
	path = filepath.Join(directory, "stellar")
	out, err := exec.Command("go", "build", flag, "-buildvcs=false", "-o", path, "../..").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
}

// TestTheBinary lets the operating system have its say.
func TestTheBinary(t *testing.T) {
	t.Parallel()
	path := built(t)

	t.Run("a set on the embedded Redis stops at SIGTERM", func(t *testing.T) {
		t.Parallel()
		env := home(t)
		set := launch(t, path, env, "--workers", "2")
		set.err.await(t, "node is running", 2)
		status := launch(t, path, env, "status")
		require.Zero(t, status.wait(t), status.err)
		require.Contains(t, status.out.String(), "stellar-worker-2")
		require.NoError(t, set.cmd.Process.Signal(syscall.SIGTERM))
		require.Zero(t, set.wait(t), set.err)
		require.Contains(t, set.err.String(), "set has stopped")
	})

	t.Run("a set on a real Redis leaves only the work behind", func(t *testing.T) {
		t.Parallel()
		cfg := redistest.Start(t).Config()
		env := home(t).with("REDIS_URL", cfg.URL)
		first, second := launch(t, path, env, "--workers", "2"), launch(t, path, env, "run", "--cluster", "--workers", "2")
		first.err.await(t, "node is running", 2)
		second.err.await(t, "node is running", 2)
		require.Contains(t, first.err.String()+second.err.String(), `"node":"stellar-worker-4"`, "one cluster of four")
		for _, args := range [][]string{
			{"enqueue", "echo", "1", "--wait"}, {"enqueue", "echo", "2", "--in", "1h"},
			{"call", "api.cache.save", `{"key": "a", "value": 1}`},
		} {
			require.Zero(t, launch(t, path, env, args...).wait(t))
		}
		for _, set := range []*binary{first, second} {
			require.NoError(t, set.cmd.Process.Signal(syscall.SIGINT))
			require.Zero(t, set.wait(t), set.err)
			require.Contains(t, set.err.String(), "lives of nodes")
		}
		client := redistest.Client(t, cfg)
		keys, err := client.Keys(t.Context(), "*").Result()
		require.NoError(t, err)
		slices.Sort(keys)
		work := []string{"cache:a", "clock", "definitions", "delayed:default", "done", "epoch", "history", "kept", "layout", "next", "queues", "reaping", "ready", "results", "retained", "stats", "tasks", "token"}
		for _, key := range keys {
			name, ok := strings.CutPrefix(key, "{stellar}:")
			require.True(t, ok, key)
			if strings.HasPrefix(name, "producer:") { // these end by themselves
				require.LessOrEqual(t, client.PTTL(t.Context(), key).Val(), time.Minute)
				continue
			}
			if list, is := strings.CutPrefix(name, "retained:"); is {
				require.Regexp(t, "^[0-9a-f]+$", list)
				continue
			}
			if strings.HasPrefix(name, "events") || strings.HasPrefix(name, "charts") { // the timeline and the history outlive it
				continue
			}
			require.Contains(t, work, name, "a key of the set itself is left")
		}
	})

	t.Run("a third signal ends it at once", func(t *testing.T) {
		t.Parallel()
		set := launch(t, path, home(t), "--workers", "1")
		set.err.await(t, "node is running", 1)
		for range 3 {
			require.NoError(t, set.cmd.Process.Signal(syscall.SIGTERM))
		}
		began := time.Now()
		require.Contains(t, []int{0, 143}, set.wait(t), "the drain may have been faster")
		require.Less(t, time.Since(began), 5*time.Second)
	})

	t.Run("the Redis client's lines are in the log", func(t *testing.T) {
		t.Parallel()
		testRedisLog(t, path)
	})

	t.Run("nobody reads what it says", func(t *testing.T) {
		t.Parallel()
		testPipes(t, path)
	})

	t.Run("as a service", func(t *testing.T) {
		t.Parallel()
		testService(t, path)
	})

	t.Run("exit codes", func(t *testing.T) {
		t.Parallel()
		path := plain(t)
		for code, args := range map[int][]string{0: {"version"}, 2: {"--frob"}, 69: {"status", "--redis-url", "redis://127.0.0.1:1"}, 78: {"--config", "/no/such"}} {
			b := launch(t, path, home(t), args...)
			require.Equal(t, code, b.wait(t), b.err)
		}
	})
}
