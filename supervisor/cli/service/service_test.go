package service_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor/cli/service"
)

func TestMain(m *testing.M) { redistest.Main(m) }

// listen opens a socket as a service manager does.
func listen(t *testing.T, name string) *net.UnixConn {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.SetReadDeadline(time.Now().Add(20*time.Second)))
	return c
}

func TestNotify(t *testing.T) {
	dir, err := os.MkdirTemp("", "st-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for _, name := range []string{filepath.Join(dir, "s"), "@stellar-test-" + strconv.Itoa(os.Getpid())} {
		manager := listen(t, name)
		n, err := service.NewNotifier(name)
		require.NoError(t, err)
		require.True(t, n.Active())
		require.NoError(t, n.Send(service.Ready, service.Status("all\nis well")))
		b := make([]byte, 1<<10)
		size, err := manager.Read(b)
		require.NoError(t, err)
		require.Equal(t, "READY=1\nSTATUS=all is well", string(b[:size]))
		require.NoError(t, manager.Close())
		require.Error(t, n.Send(service.Alive), "nobody listens any more")
	}
	n, err := service.NewNotifier("")
	require.NoError(t, err)
	require.False(t, n.Active())
	require.NoError(t, n.Send(service.Ready))
	_, err = service.NewNotifier("vsock:2:1234")
	require.ErrorContains(t, err, "neither a path nor an abstract name")
}

func TestWatchdog(t *testing.T) {
	for _, c := range []struct {
		usec, pid string
		want      time.Duration
	}{{"", "", 0}, {"3000000", "", 3 * time.Second}, {"3000000", "7", 3 * time.Second}, {"3000000", "8", 0}} {
		got, err := service.Watchdog(c.usec, c.pid, 7)
		require.NoError(t, err)
		require.Equal(t, c.want, got)
	}
	for _, usec := range []string{"x", "0", "-1", "9223372036854775807"} {
		_, err := service.Watchdog(usec, "", 7)
		require.ErrorContains(t, err, "WATCHDOG_USEC")
	}
}

func TestPIDFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pid")
	remove, err := service.WritePIDFile(path)
	require.NoError(t, err)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, strconv.Itoa(os.Getpid())+"\n", string(text))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o644), info.Mode())
	require.NoError(t, service.CheckPIDFile(path), "it is our own")
	require.NoError(t, remove())
	require.NoFileExists(t, path)
	require.NoError(t, remove(), "somebody else removed it before")

	ended := exec.Command("true")
	require.NoError(t, ended.Run())
	for _, stale := range []string{strconv.Itoa(ended.Process.Pid), "", " \n"} {
		require.NoError(t, os.WriteFile(path, []byte(stale), 0o600))
		remove, err := service.WritePIDFile(path)
		require.NoError(t, err, "%q is taken over", stale)
		require.NoError(t, remove())
	}
	other := strconv.Itoa(os.Getppid())
	require.NoError(t, os.WriteFile(path, []byte(other), 0o600))
	_, err = service.WritePIDFile(path)
	require.ErrorIs(t, err, service.ErrRunning)
	require.ErrorContains(t, err, "process "+other)

	require.NoError(t, os.Remove(path))
	remove, err = service.WritePIDFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, []byte(other), 0o600))
	require.NoError(t, remove())
	require.FileExists(t, path, "it is somebody else's by now")

	for _, text := range []string{"root:x:0:0", "-1", "0"} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		require.ErrorContains(t, service.CheckPIDFile(path), "not the number of a process", text)
	}
	require.ErrorContains(t, service.CheckPIDFile(t.TempDir()), "not the number of a process")
	require.ErrorContains(t, service.CheckPIDFile(filepath.Join(path, "x")), "not a directory")
	require.ErrorContains(t, service.CheckPIDFile("/no/such/pid"), "no such file")
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1, "nothing temporary is left")
}

func TestALogFileMayBeMoved(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	require.NoError(t, os.WriteFile(path, []byte("old\n"), 0o600))
	l, err := service.OpenLogFile(path)
	require.NoError(t, err)
	say := func(text string) {
		t.Helper()
		_, err := l.Write([]byte(text + "\n"))
		require.NoError(t, err)
	}
	is := func(name, want string) {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, want, string(text))
	}
	say("one")
	require.NoError(t, os.Rename(path, path+".1"))
	say("two")
	is("log.1", "old\none\n")
	is("log", "two\n")
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Zero(t, info.Mode().Perm()&^os.FileMode(0o640))
	require.NoError(t, os.Truncate(path, 0))
	say("three")
	is("log", "three\n")
	require.NoError(t, os.Rename(path, path+".2"))
	require.NoError(t, os.Mkdir(path, 0o700), "the path cannot be opened")
	say("four")
	is("log.2", "three\nfour\n")
	require.NoError(t, l.Close())
	_, err = service.OpenLogFile(path)
	require.ErrorContains(t, err, "is a directory")
}
