package cli

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
)

// maxSocketPath is the longest path that a Unix socket can have, with room for
// the name under which it is made.
const maxSocketPath = 100

// runtimeDir is where the sockets of this user's sets are.
func (p *program) runtimeDir() string {
	if dir, ok := p.input.env("XDG_RUNTIME_DIR"); ok && filepath.IsAbs(dir) {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return filepath.Join(dir, "stellar")
		}
	}
	tmp, ok := p.input.env("TMPDIR")
	if !ok || tmp == "" {
		tmp = os.TempDir()
	}
	return filepath.Join(tmp, "stellar-"+strconv.Itoa(os.Getuid()))
}

// checkPrivate makes sure that nobody else can put a socket into the directory,
// or has made it: who answers there is who wrote our tasks.
func checkPrivate(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return configf("%s is a symbolic link: remove it, or choose a socket with --socket", dir)
	case !info.IsDir():
		return configf("%s is not a directory: remove it, or choose a socket with --socket", dir)
	case !ownedByUs(info):
		return configf("%s belongs to another user: do not trust it; choose a socket with --socket", dir)
	case info.Mode().Perm()&0o077 != 0:
		return configf("%s is open to other users (mode %04o): run chmod 0700 on it, or choose a socket with --socket", dir, info.Mode().Perm())
	}
	return nil
}

// listen offers the embedded Redis to the commands. Only where the user asked
// for a certain file a failure is an error; otherwise the set runs without.
func (p *program) listen(ctx context.Context, server *embedded.Server) (path string, err error) {
	path = p.socket
	if path == "" {
		dir := p.runtimeDir()
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", err
		}
		if err := checkPrivate(dir); err != nil {
			return "", err
		}
		path = filepath.Join(dir, fmt.Sprintf("%s-%d.sock", p.namespace, os.Getpid()))
	}
	if len(path) > maxSocketPath {
		return "", configf("socket %s: the path is longer than %d bytes: choose a shorter one with --socket", path, maxSocketPath)
	}
	clearDead(path)
	if _, err := server.Listen(ctx, path); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return "", configf("socket %s: the file exists and is in use: choose another one with --socket", path)
		}
		return "", configf("%w", err)
	}
	return path, nil
}

// clearDead removes a socket file that nobody listens at any more, and reports
// whether somebody does.
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

// findSocket returns the socket of the one running set of the namespace.
func (p *program) findSocket() (string, error) {
	if p.socket != "" {
		if !clearDead(p.socket) {
			return "", &kindError{errNoSet, fmt.Errorf("no running set found at the socket %s", p.socket)}
		}
		return p.socket, nil
	}
	dir := p.runtimeDir()
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
		if namespace == p.namespace {
			live = append(live, path)
		} else {
			other = append(other, namespace)
		}
	}
	switch {
	case len(live) == 1:
		return live[0], nil
	case len(live) > 1:
		return "", usagef("several sets run here: choose one with --socket (or STELLAR_SOCKET):\n  %s", strings.Join(live, "\n  "))
	case len(other) > 0:
		return "", &kindError{errNoSet, fmt.Errorf(
			"no running set found in namespace %s: choose one that runs with --namespace: %s", p.namespace, strings.Join(other, ", "))}
	default:
		return "", &kindError{errNoSet, errors.New("no running set found: start one (stellar run), or set REDIS_URL")}
	}
}

// namespaceOf takes the name of a socket file apart.
func namespaceOf(file string) (string, bool) {
	name, ok := strings.CutSuffix(file, ".sock")
	i := strings.LastIndexByte(name, '-')
	if !ok || i < 1 {
		return "", false
	}
	return name[:i], true
}

// through is how to reach a Redis behind a socket file.
func through(path string) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		c, err := d.DialContext(ctx, "unix", path)
		if err != nil {
			return nil, link.DialError(err)
		}
		return c, nil
	}
}
