package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/stellarfw/stellar/redisbus/embedded"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/supervisor/cli/config"
)

// runtimeDir returns the directory with the sockets of this user's sets. All programs
// share it, so that the commands of one program find the sets of another.
func runtimeDir(s *config.Settings) string {
	if dir, ok := s.Env("XDG_RUNTIME_DIR"); ok && filepath.IsAbs(dir) {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return filepath.Join(dir, "stellar")
		}
	}
	tmp, ok := s.Env("TMPDIR")
	if !ok || tmp == "" {
		tmp = os.TempDir()
	}
	return filepath.Join(tmp, "stellar-"+strconv.Itoa(os.Getuid()))
}

// checkPrivate returns an error unless the directory belongs to this user and is closed
// to others: commands trust any process that answers on a socket in it.
func checkPrivate(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return config.Invalidf("%s is a symbolic link: remove it, or choose a socket with --socket", dir)
	case !info.IsDir():
		return config.Invalidf("%s is not a directory: remove it, or choose a socket with --socket", dir)
	case !ownedByUs(info):
		return config.Invalidf("%s belongs to another user: do not trust it; choose a socket with --socket", dir)
	case info.Mode().Perm()&0o077 != 0:
		return config.Invalidf("%s is open to other users (mode %04o): run chmod 0700 on it, or choose a socket with --socket",
			dir, info.Mode().Perm())
	}
	return nil
}

// Listen opens the socket through which commands reach the embedded Redis server, and
// returns the path of the socket. An error need not be fatal: a set runs without the
// socket too, but commands cannot reach it.
func Listen(ctx context.Context, s *config.Settings, server *embedded.Server) (path string, err error) {
	path = s.Socket
	if path == "" {
		dir := runtimeDir(s)
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", err
		}
		if err := checkPrivate(dir); err != nil {
			return "", err
		}
		path = filepath.Join(dir, fmt.Sprintf("%s-%d.sock", s.Namespace, os.Getpid()))
	}
	if len(path) > config.MaxSocketPath {
		return "", config.Invalidf("socket %s: the path is longer than %d bytes: choose a shorter one with --socket", path, config.MaxSocketPath)
	}
	clearDead(path)
	if _, err := server.Listen(ctx, path); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return "", config.Invalidf("socket %s: the file exists and is in use: choose another one with --socket", path)
		}
		return "", config.Invalidf("%w", err)
	}
	return path, nil
}

// clearDead reports whether a process listens on the socket at path. It removes the
// file of a socket without a listener.
func clearDead(path string) (live bool) {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != fs.ModeSocket {
		return false
	}
	c, err := net.Dial("unix", path) //nolint:noctx // it answers or refuses at once
	if err == nil {
		_ = c.Close()
		return true
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		_ = os.Remove(path)
	}
	return false
}

// findSocket returns the path of the socket of the only running set in the namespace.
// It returns an error if none or more than one runs.
func (e *Env) findSocket() (string, error) {
	s := e.Settings
	if s.Socket != "" {
		if !clearDead(s.Socket) {
			return "", config.As(ErrNoSet, fmt.Errorf("no running set found at the socket %s", s.Socket))
		}
		return s.Socket, nil
	}
	dir := runtimeDir(s)
	err := checkPrivate(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	entries, _ := os.ReadDir(dir)
	var live, other []string
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		namespace, ok := namespaceOf(e.Name())
		if !ok || !clearDead(path) {
			continue
		}
		if namespace == s.Namespace {
			live = append(live, path)
		} else {
			other = append(other, namespace)
		}
	}
	switch {
	case len(live) == 1:
		return live[0], nil
	case len(live) > 1:
		return "", config.Usagef("several sets run here: choose one with --socket (or STELLAR_SOCKET): %s", strings.Join(live, ", "))
	case len(other) > 0:
		return "", config.As(ErrNoSet, fmt.Errorf(
			"no running set found in namespace %s: choose one that runs with --namespace: %s", s.Namespace, strings.Join(other, ", ")))
	default:
		return "", config.As(ErrNoSet, fmt.Errorf("no running set found: start one (%s run), or set REDIS_URL", e.Program))
	}
}

// namespaceOf returns the namespace of a socket file named NAMESPACE-PID.sock.
func namespaceOf(file string) (string, bool) {
	name, ok := strings.CutSuffix(file, ".sock")
	i := strings.LastIndexByte(name, '-')
	if !ok || i < 1 {
		return "", false
	}
	return name[:i], true
}

// dialSocket returns a dial function that connects to the Unix socket at path.
func dialSocket(path string) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		c, err := d.DialContext(ctx, "unix", path)
		if err != nil {
			return nil, link.DialError(err)
		}
		if err := checkPeer(c, path); err != nil {
			return nil, errors.Join(err, c.Close())
		}
		return c, nil
	}
}

// checkSocket returns the error of checkPeer for the process that listens on the socket.
func checkSocket(ctx context.Context, path string) error {
	c, err := dialSocket(path)(ctx)
	if err != nil {
		return err
	}
	return c.Close()
}

// checkPeer returns an error unless the process at the other end belongs to this user or to
// root: a command believes what it answers, and gives it data.
func checkPeer(c net.Conn, path string) error {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return config.Invalidf("socket %s: it is no Unix socket", path)
	}
	uid, err := peerOf(u, path)
	if err != nil {
		return config.Invalidf("socket %s: whose process listens there? %w", path, err)
	}
	if uid != os.Geteuid() && uid != 0 {
		return config.Invalidf("socket %s: the process that listens there belongs to another user (%d): do not trust it; "+
			"if it is your set, run the command as that user", path, uid)
	}
	return nil
}
