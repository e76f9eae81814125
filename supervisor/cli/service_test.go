package cli

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// manager is a service manager's end of the notifications.
type manager struct {
	socket string
	said   *output
}

func newManager(t *testing.T, socket string) *manager {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	require.NoError(t, err)
	m := &manager{socket: socket, said: newOutput()}
	read := make(chan struct{})
	go func() {
		defer close(read)
		b := make([]byte, 4<<10)
		for {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			_, _ = fmt.Fprintf(m.said, "%s\n", b[:n])
		}
	}()
	t.Cleanup(func() { _ = c.Close(); <-read })
	return m
}

// testService is about the built program as a service.
func testService(t *testing.T, path string) {
	t.Run("it tells the service manager how it is", func(t *testing.T) {
		t.Parallel()
		for _, name := range []string{"", "@stellar-" + strconv.Itoa(os.Getpid())} {
			env := home(t)
			if name == "" {
				name = filepath.Join(env["XDG_RUNTIME_DIR"], "notify")
			}
			m := newManager(t, name)
			set := launch(t, path, env.with("NOTIFY_SOCKET", name).with("WATCHDOG_USEC", "100000"), "--workers", "2")
			m.said.await(t, "STATUS=running: 2 of 2 nodes ready\n", 1)
			m.said.await(t, "WATCHDOG=1\n", 3)
			require.NoError(t, set.cmd.Process.Signal(syscall.SIGTERM))
			require.Zero(t, set.wait(t), set.err)
			m.said.await(t, "STATUS=stopped\n", 1)
			said := m.said.String()
			order := -1
			for _, text := range []string{
				"STATUS=starting: 0 of 2 nodes ready\n", "READY=1\n", "STATUS=running: 2 of 2 nodes ready\n", "STOPPING=1\n", "STATUS=draining\n",
			} {
				at := strings.Index(said, text)
				require.Greater(t, at, order, "%q in\n%s", text, said)
				order = at
			}
			require.Equal(t, 1, strings.Count(said, "READY=1"))
			require.Equal(t, 1, strings.Count(said, "STOPPING=1"))
		}
	})

	t.Run("one that is not ready does not say so", func(t *testing.T) {
		t.Parallel()
		env := home(t)
		m := newManager(t, filepath.Join(env["XDG_RUNTIME_DIR"], "notify"))
		env = env.with("NOTIFY_SOCKET", m.socket).with("REDIS_URL", "redis://127.0.0.1:1")
		log := filepath.Join(env["XDG_RUNTIME_DIR"], "log")
		failed := launch(t, path, env, "--workers", "1", "--pidfile", filepath.Join(env["XDG_RUNTIME_DIR"], "pid"), "--log-file", log)
		require.Equal(t, 69, failed.wait(t))
		require.Contains(t, failed.err.String(), "not reachable", "also to those who do not look into the log file")
		awaitText(t, log, "not reachable")
		m.said.await(t, "STATUS=stopped", 1)
		require.NotContains(t, m.said.String(), "READY")
		require.NoFileExists(t, filepath.Join(env["XDG_RUNTIME_DIR"], "pid"))
	})

	t.Run("pidfile", func(t *testing.T) {
		t.Parallel()
		env := home(t)
		file := filepath.Join(env["XDG_RUNTIME_DIR"], "pid")
		dead := exec.Command("true")
		require.NoError(t, dead.Run())
		require.NoError(t, os.WriteFile(file, []byte(strconv.Itoa(dead.Process.Pid)), 0o600))
		set := launch(t, path, env, "--workers", "1", "--pidfile", file)
		require.Equal(t, set.cmd.Process.Pid, awaitPID(t, file, set.cmd.Process.Pid), "a stale one is taken over")
		second := launch(t, path, home(t), "--workers", "1", "--pidfile", file)
		require.Equal(t, 78, second.wait(t))
		require.Contains(t, second.err.String(), fmt.Sprintf("process %d is running", set.cmd.Process.Pid))
		require.FileExists(t, file)
		require.NoError(t, set.cmd.Process.Signal(syscall.SIGTERM))
		require.Zero(t, set.wait(t))
		require.NoFileExists(t, file)
	})

	t.Run("log file", func(t *testing.T) {
		t.Parallel()
		env := home(t)
		file := filepath.Join(env["XDG_RUNTIME_DIR"], "log")
		set := launch(t, path, env, "--workers", "1", "--log-file", file)
		awaitText(t, file, "node is running")
		require.NoError(t, os.Rename(file, file+".1"))
		require.NoError(t, set.cmd.Process.Signal(syscall.SIGTERM))
		require.Zero(t, set.wait(t))
		awaitText(t, file, "set has stopped")
		require.Empty(t, set.err.String())
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			require.True(t, json.Valid([]byte(line)), line)
		}
		require.Equal(t, 78, launch(t, path, env, "--log-file", "/no/such/log").wait(t))
	})

	t.Run("exit codes of bad configurations", func(t *testing.T) {
		t.Parallel()
		path := plain(t)
		file := write(t, "stellar.yaml", "tasks:\n  gone: {command: [no-such-program]}\n")
		for _, args := range [][]string{{"config", "check", file}, {"--config", file}, {"--pidfile", "/no/such/pid"}} {
			require.Equal(t, 78, launch(t, path, home(t), args...).wait(t), args)
		}
		require.Equal(t, 78, launch(t, path, home(t).with("NOTIFY_SOCKET", "vsock:1:2")).wait(t))
		require.Equal(t, 2, launch(t, path, home(t), "--redis-url", "redis://host:99999").wait(t))
		require.Zero(t, launch(t, path, home(t), "config", "check").wait(t))
	})

	t.Run("a program dies with the process that runs it", func(t *testing.T) {
		t.Parallel()
		env := home(t)
		pidFile := filepath.Join(env["XDG_RUNTIME_DIR"], "sleeper")
		file := write(t, "stellar.yaml", "tasks:\n  sleep: {command: [sh, -c, \"echo $$ >"+pidFile+"; exec sleep 1000\"]}\n")
		env = env.with("STELLAR_CONFIG", file)
		set := launch(t, path, env, "--workers", "1")
		set.err.await(t, "node is running", 1)
		require.Zero(t, launch(t, path, env, "enqueue", "sleep").wait(t))
		sleeper := awaitPID(t, pidFile, 0)
		process, err := os.FindProcess(sleeper)
		require.NoError(t, err)
		require.NoError(t, process.Signal(syscall.Signal(0)))
		require.NoError(t, set.cmd.Process.Kill())
		_ = set.cmd.Wait()
		require.Eventually(t, func() bool {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", sleeper))
			return err != nil || strings.Contains(string(stat), ") Z ") // nobody may be there to reap it
		}, patient, time.Millisecond)
	})
}

// awaitPID waits until the file holds that number, or any if it is 0.
func awaitPID(t *testing.T, file string, want int) (pid int) {
	t.Helper()
	require.Eventually(t, func() bool {
		text, _ := os.ReadFile(file)
		pid, _ = strconv.Atoi(strings.TrimSpace(string(text)))
		return pid != 0 && (want == 0 || pid == want)
	}, patient, time.Millisecond)
	return pid
}

func awaitText(t *testing.T, file, want string) {
	t.Helper()
	require.Eventually(t, func() bool {
		text, _ := os.ReadFile(file)
		return strings.Contains(string(text), want)
	}, patient, time.Millisecond)
}
