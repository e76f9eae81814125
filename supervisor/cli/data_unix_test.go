//go:build unix

package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor/ownredis"
	"github.com/stellarfw/stellar/worker/tasks"
)

// serverOf returns the number of the process of the redis-server on the directory.
func serverOf(t *testing.T, dir string) int {
	t.Helper()
	var state struct {
		PID int `json:"pid"`
	}
	text, err := os.ReadFile(filepath.Join(dir, "redis.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &state))
	return state.PID
}

// serverLives reports whether the process lives, and is no zombie.
func serverLives(pid int) bool {
	said, _ := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
	return len(said) > 0 && said[0] != 'Z'
}

// enqueueing enqueues tasks for a day ahead until the function is called, and counts
// those that were acknowledged.
func enqueueing(t *testing.T, dir string) (*atomic.Int64, func()) {
	t.Helper()
	cfg, err := ownredis.Find(t.Context(), dir)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	client := tasks.NewClient(ctx, redistest.Client(t, cfg), cfg.Keys(), &tasks.Registry{})
	acknowledged := &atomic.Int64{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			_, err := client.EnqueueWith(ctx, "echo", nil, tasks.Options{
				ID: fmt.Sprintf("task-%d", acknowledged.Load()), In: 24 * time.Hour, AnyName: true,
			})
			if err == nil { // otherwise it is given again, and may be there already
				acknowledged.Add(1)
			}
		}
	}()
	return acknowledged, func() { cancel(); <-done; client.Close() }
}

// requireTasks fails unless all tasks are there that were acknowledged.
func requireTasks(t *testing.T, dir string, acknowledged int64) {
	t.Helper()
	cfg, err := ownredis.Find(t.Context(), dir)
	require.NoError(t, err)
	inspector := tasks.NewInspector(redistest.Client(t, cfg), cfg.Keys())
	for i := range acknowledged {
		_, err := inspector.Get(t.Context(), fmt.Sprintf("task-%d", i))
		require.NoError(t, err, "%d of %d", i, acknowledged)
	}
}

func TestNoTaskIsLostWhateverOfADurableSetIsKilled(t *testing.T) {
	t.Parallel()
	dir := redistest.DataDir(t)
	env := home(t).with("STELLAR_DATA", dir)
	set := launch(t, built(t), env, "--workers", "2", "--durability", "always")
	set.err.await(t, "node is running", 2)
	acknowledged, stop := enqueueing(t, dir)
	for range 3 {
		before, server := acknowledged.Load(), serverOf(t, dir)
		require.Eventually(t, func() bool { return acknowledged.Load() > before+5 }, patient, time.Millisecond)
		require.NoError(t, syscall.Kill(server, syscall.SIGKILL))
		require.Eventually(t, func() bool { return acknowledged.Load() > before+20 }, patient, time.Millisecond)
		require.NotEqual(t, server, serverOf(t, dir))
	}
	require.NoError(t, set.cmd.Process.Kill())
	_ = set.cmd.Wait()
	server, before := serverOf(t, dir), acknowledged.Load()
	require.Eventually(t, func() bool { return acknowledged.Load() > before }, patient, time.Millisecond, "the server lives")

	second := launch(t, built(t), env, "--workers", "1")
	second.err.await(t, "node is running", 1)
	require.Equal(t, server, serverOf(t, dir), "it is the same server")
	third := launch(t, built(t), env, "--workers", "1")
	require.Equal(t, 78, third.wait(t))
	require.Contains(t, third.err.String(), fmt.Sprintf("process %d runs on it", second.cmd.Process.Pid))

	stop()
	require.NoError(t, second.cmd.Process.Signal(syscall.SIGTERM))
	require.Zero(t, second.wait(t), second.err)
	require.False(t, serverLives(server))
	require.NoFileExists(t, filepath.Join(dir, "redis.sock"))
	require.Equal(t, 69, stellar(t, env, "status").code)

	last := launch(t, built(t), env, "--workers", "1")
	last.err.await(t, "node is running", 1)
	requireTasks(t, dir, acknowledged.Load())
	r := stellar(t, env, "enqueue", "echo", `"hello"`, "--wait")
	require.Zero(t, r.code, r.err)
	require.NoError(t, last.cmd.Process.Signal(syscall.SIGTERM))
	require.Zero(t, last.wait(t), last.err)
}

// A third signal ends the process at once, and leaves no server behind.
func TestTheThirdSignalEndsTheServerOfASetAsWell(t *testing.T) {
	t.Parallel()
	for _, processes := range []string{"0", "1"} {
		t.Run(processes, func(t *testing.T) {
			t.Parallel()
			dir := redistest.DataDir(t)
			env := home(t).with("STELLAR_DATA", dir)
			set := launchApp(t, "stubborn", env, "--workers", "1", "--processes", processes, "--drain", "1h")
			set.err.await(t, "node is running", 1)
			server := serverOf(t, dir)
			require.Zero(t, stellar(t, env, "enqueue", "stubborn").code)
			set.err.await(t, "stubborn begins", 1)
			set.signal(t, syscall.SIGTERM)
			set.err.await(t, "stopping: ", 1)
			set.signal(t, syscall.SIGTERM)
			set.err.await(t, "stopping within a second", 1)
			set.signal(t, syscall.SIGTERM)
			require.Contains(t, []int{143, 75}, set.wait(t), set.err)
			require.Eventually(t, func() bool { return !serverLives(server) }, patient, 5*time.Millisecond)
		})
	}
}

func TestTheDataOfASetIsGivenOnceAndInOneWay(t *testing.T) {
	t.Parallel()
	dir := redistest.DataDir(t)
	env := home(t)
	for name, c := range map[string]struct {
		env  environment
		args []string
		code int
		said string
	}{
		"with a URL":        {env.with("REDIS_URL", "redis://127.0.0.1:1"), []string{"--data", dir}, 2, "--data and REDIS_URL"},
		"with a host":       {env.with("STELLAR_DATA", dir), []string{"--redis-host", "h"}, 2, "STELLAR_DATA and --redis-host"},
		"a command":         {env.with("REDIS_PORT", "6379"), []string{"status", "--data", dir}, 2, "--data and REDIS_PORT"},
		"a password":        {env.with("REDIS_PASS", "secret-of-16-bytes"), []string{"--data", dir}, 78, "the server of --data has none"},
		"durability":        {env, []string{"--data", dir, "--durability", "never"}, 2, `"never": use everysec or always`},
		"durability alone":  {env, []string{"--durability", "always"}, 2, "no directory is given"},
		"not a directory":   {env, []string{"--data", "/dev/null"}, 78, "not a directory"},
		"nobody runs on it": {env, []string{"tasks", "list", "--data", dir}, 69, "run --data " + dir},
		"no such directory": {env, []string{"tasks", "list", "--data", dir + "-none"}, 78, "no such file"},
		"a backup in it":    {env, []string{"data", "backup", "--data", dir, filepath.Join(dir, "dump.rdb")}, 2, "is in the data directory"},
		"no directory":      {env, []string{"data", "check"}, 2, "--data, or in STELLAR_DATA"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := stellar(t, c.env, c.args...)
			require.Equal(t, c.code, r.code, r.err)
			require.Contains(t, r.err, c.said)
		})
	}
	t.Run("without a redis-server", func(t *testing.T) {
		t.Parallel()
		b := prepare(t, built(t), env, "--data", dir)
		b.cmd.Env = append(b.cmd.Env, "PATH="+t.TempDir())
		require.NoError(t, b.cmd.Start())
		require.Equal(t, 2, b.wait(t))
		require.Contains(t, b.err.String(), "apt-get install redis-server")
	})
}

func TestTheDemoOnARedisOfItsOwn(t *testing.T) {
	t.Parallel()
	dir, tree := redistest.DataDir(t), t.TempDir()
	for i := range 20 {
		require.NoError(t, os.WriteFile(filepath.Join(tree, fmt.Sprint(i)), []byte("some words\n"), 0o600))
	}
	r := stellar(t, home(t), "demo", tree, "--data", dir, "--workers", "2", "--crash-every", "20ms")
	require.Zero(t, r.code, r.err)
	require.Contains(t, r.out, "The sums are equal")
	_, err := ownredis.Find(t.Context(), dir)
	require.ErrorIs(t, err, ownredis.ErrNotRunning)
}

func TestTheConfigurationSaysThatASetRunsARedisOfItsOwn(t *testing.T) {
	t.Parallel()
	file := write(t, "stellar.yaml", "data: /srv/data\ndurability: always\n")
	r := stellar(t, home(t), "config", "show", "--config", file)
	require.Zero(t, r.code, r.err)
	require.Contains(t, r.out, "Redis: a redis-server of one's own, with its data in /srv/data")
	r = stellar(t, home(t).with("REDIS_URL", "redis://127.0.0.1:1"), "config", "check", file)
	require.Equal(t, 78, r.code, r.err)
	require.Contains(t, r.err, "stellar.yaml:1: data and REDIS_URL")
	open := t.TempDir()
	require.NoError(t, os.Chmod(open, 0o755))
	require.NoError(t, os.Chmod(filepath.Dir(open), 0o755))
	r = stellar(t, home(t).with("STELLAR_DATA", filepath.Dir(open)), "config", "check")
	require.Equal(t, 78, r.code, r.err)
	require.Contains(t, r.err, "STELLAR_DATA: data directory")
	require.Contains(t, r.err, "chmod 0700")
	require.Zero(t, stellar(t, home(t).with("STELLAR_DATA", open), "config", "check").code, "an empty one is closed by run")
}

func TestDataCommandsTellWhatIsDamaged(t *testing.T) {
	t.Parallel()
	dir := redistest.DataDir(t)
	env := home(t).with("STELLAR_DATA", dir)
	require.Zero(t, stellar(t, env, "demo", t.TempDir()).code-2, "there is nothing to count")
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "appendonlydir")))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "appendonly.aof"), []byte("*1\r\n$5\r\nMULTI\r\n*2\r\n$3"), 0o600))
	r := stellar(t, env, "data", "check")
	require.Zero(t, r.code, r.err)
	require.Contains(t, r.out, "the last 21 bytes are a write that was cut off")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "appendonly.aof"), []byte("*1\r\n$4\r\nPING\r\nhello\r\n"), 0o600))
	r = stellar(t, env, "data", "check")
	require.Equal(t, 1, r.code, r.err)
	require.Contains(t, r.out, "redis-check-aof --fix")
	require.Contains(t, r.out, "14 bytes can be read, the last 7 cannot")
	require.Contains(t, r.err, "the data is damaged")
	require.Equal(t, 69, stellar(t, env, "run").code)
}
