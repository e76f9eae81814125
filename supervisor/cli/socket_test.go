package cli

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/redistest"
)

// offered makes a socket file of an embedded Redis in the run-time directory.
func offered(t *testing.T, env environment, name string) string {
	t.Helper()
	dir := filepath.Join(env["XDG_RUNTIME_DIR"], "stellar")
	require.NoError(t, os.MkdirAll(dir, 0o700))
	path := filepath.Join(dir, name)
	_, err := redistest.Embedded(t).Listen(t.Context(), path)
	require.NoError(t, err)
	return path
}

// dead makes a socket file that nobody listens at.
func dead(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	require.NoError(t, err)
	l.SetUnlinkOnClose(false)
	require.NoError(t, l.Close())
}

func TestTheOneLiveSocketIsFoundAndDeadOnesAreRemoved(t *testing.T) {
	env := home(t)
	path := offered(t, env, "stellar-1.sock")
	gone := filepath.Join(filepath.Dir(path), "stellar-2.sock")
	dead(t, gone)
	r := stellar(t, env, "status")
	require.Zero(t, r.code, r.err)
	require.Contains(t, r.out, "no live nodes in namespace stellar at "+path)
	require.NoFileExists(t, gone)
	require.FileExists(t, path)
}

func TestSeveralSocketsAreToBeChosenFrom(t *testing.T) {
	env := home(t)
	a, b := offered(t, env, "stellar-1.sock"), offered(t, env, "stellar-2.sock")
	r := stellar(t, env, "status")
	require.Equal(t, 2, r.code)
	for _, text := range []string{a, b, "--socket", "STELLAR_SOCKET"} {
		require.Contains(t, r.err, text)
	}
	require.Zero(t, stellar(t, env, "status", "--socket", a).code)
	require.Zero(t, stellar(t, env.with("STELLAR_SOCKET", b), "status").code)
}

func TestSocketsOfOtherNamespacesAreNamed(t *testing.T) {
	env := home(t)
	offered(t, env, "my-shop-1.sock")
	r := stellar(t, env, "status")
	require.Equal(t, 69, r.code)
	require.Contains(t, r.err, "--namespace: my-shop")
	require.Zero(t, stellar(t, env, "status", "--namespace", "my-shop").code)
}

func TestADirectoryThatOthersCanWriteToIsRefused(t *testing.T) {
	cases := map[string]struct {
		make func(t *testing.T, dir string)
		says string
	}{
		"open": {func(t *testing.T, dir string) {
			require.NoError(t, os.Mkdir(dir, 0o700))
			require.NoError(t, os.Chmod(dir, 0o755))
		}, "chmod 0700"},
		"link": {func(t *testing.T, dir string) { require.NoError(t, os.Symlink(t.TempDir(), dir)) }, "symbolic link"},
		"file": {func(t *testing.T, dir string) { require.NoError(t, os.WriteFile(dir, nil, 0o600)) }, "not a directory"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			env := home(t)
			dir := filepath.Join(env["XDG_RUNTIME_DIR"], "stellar")
			c.make(t, dir)
			r := stellar(t, env, "status")
			require.Equal(t, 78, r.code)
			require.Contains(t, r.err, dir)
			require.Contains(t, r.err, c.says)

			set := start(t, env, echoApp(), "--workers", "1")
			set.err.await(t, "node is running", 1)
			require.Contains(t, set.err.String(), "commands cannot reach this set", "the set itself runs all the same")
			require.Contains(t, set.err.String(), c.says)
			set.term()
			require.Zero(t, set.wait(t))
		})
	}
}

func TestTheSocketAndItsDirectoryAreTheUsersAlone(t *testing.T) {
	env := home(t)
	env["TMPDIR"] = env["XDG_RUNTIME_DIR"]
	delete(env, "XDG_RUNTIME_DIR")
	set := start(t, env, echoApp(), "--workers", "1")
	set.err.await(t, "node is running", 1)
	sockets, err := filepath.Glob(filepath.Join(env["TMPDIR"], "stellar-*", "stellar-*.sock"))
	require.NoError(t, err)
	require.Len(t, sockets, 1)
	for path, mode := range map[string]os.FileMode{sockets[0]: 0o600, filepath.Dir(sockets[0]): 0o700} {
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode().Perm(), path)
	}
	set.term()
	require.Zero(t, set.wait(t))
	require.NoFileExists(t, sockets[0])
}

func TestASocketThatCannotBeIsAnError(t *testing.T) {
	env := home(t)
	taken := offered(t, env, "stellar-1.sock")
	for path, says := range map[string]string{
		taken: "in use", "/no/such/dir/s": "no such file",
		"/tmp/" + strings.Repeat("x", 100): "longer than",
	} {
		r := stellar(t, env, "--workers", "1", "--socket", path)
		require.Equal(t, 78, r.code, r.err)
		require.Contains(t, r.err, says)
	}
}
