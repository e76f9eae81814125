// Package redistest runs one test scenario on every kind of Redis that the project
// supports: the embedded Redis and a real redis-server.
package redistest

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/embedded"
	"github.com/stellarfw/stellar/redisbus/link"
)

// Each runs the scenario twice, as subtests "embedded" and "redis", each time on a new
// and empty Redis.
func Each(t *testing.T, scenario func(t *testing.T, cfg link.Config)) {
	t.Helper()
	t.Run("embedded", func(t *testing.T) { scenario(t, Embedded(t).Config()) })
	t.Run("redis", func(t *testing.T) { scenario(t, Start(t).Config()) })
}

// EachAndCluster is [Each], and a third time on a Redis Cluster, as "cluster".
func EachAndCluster(t *testing.T, scenario func(t *testing.T, cfg link.Config)) {
	t.Helper()
	Each(t, scenario)
	t.Run("cluster", func(t *testing.T) { scenario(t, StartCluster(t).Config()) })
}

// Embedded starts an embedded Redis for the length of the test.
func Embedded(t testing.TB) *embedded.Server {
	t.Helper()
	s := embedded.New()
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// Client opens a client with which a test looks at the data on Redis.
func Client(t testing.TB, cfg link.Config) *redis.Client {
	t.Helper()
	c, err := link.OpenClient(cfg, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Server is a real redis-server process on a socket file of its own. The process ends
// with the test, and is killed when the test process ends (see [StartWithTest]).
type Server struct {
	dir, network, address string
	password              string
	tls                   *tls.Config
	args                  []string
	cmd                   *exec.Cmd
	ended                 chan struct{}
}

var serial atomic.Int64

// Start runs redis-server without persistence; args are further options of redis-server,
// such as "--appendonly", "yes". A machine without redis-server fails the test.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	s := newServer(t)
	s.network, s.address = "unix", filepath.Join(s.dir, "s"+strconv.FormatInt(serial.Add(1), 10))
	s.args = append([]string{
		"--port", "0", "--unixsocket", s.address, "--dir", s.dir, "--save", "", "--appendonly", "no",
		"--enable-debug-command", "yes", "--loglevel", "warning",
	}, args...)
	s.mustRun(t)
	return s
}

func newServer(t testing.TB) *Server {
	t.Helper()
	// Not t.TempDir: the path of a Unix socket has a limit of 107 bytes.
	dir, err := os.MkdirTemp("", "redis-")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{dir: dir}
	t.Cleanup(func() {
		s.Kill()
		_ = os.RemoveAll(dir)
	})
	return s
}

func (s *Server) mustRun(t testing.TB) {
	t.Helper()
	if err := s.Run(); err != nil {
		t.Fatal(err)
	}
}

// Config returns the configuration to connect to this server.
func (s *Server) Config() link.Config { return link.Config{URL: "unix://" + s.address} }

// Run starts the process and waits until the server answers. After [Server.Kill] it starts
// the process again, with the data in its directory.
func (s *Server) Run() error {
	said, err := s.begin()
	if err != nil {
		return err
	}
	return s.await(said)
}

// begin starts the process and returns the builder that collects its output.
func (s *Server) begin(args ...string) (*strings.Builder, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, errors.New("redis-server is missing: run \"make test\", which installs it, or install the package redis-server")
	}
	s.cmd = exec.Command(path, append(slices.Clone(s.args), args...)...)
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.cmd.Stderr = s.cmd.Stdout
	if err := startWithParent(s.cmd); err != nil {
		return nil, fmt.Errorf("start redis-server: %w", err)
	}
	var said strings.Builder
	s.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			fmt.Fprintln(&said, lines.Text())
		}
		_ = cmd.Wait()
		close(ended)
	}(s.cmd, s.ended)
	return &said, nil
}

// patience is how long a server may take for what takes milliseconds on a machine at rest.
const patience = time.Minute

func (s *Server) await(said *strings.Builder) error {
	c := redis.NewClient(s.options())
	defer func() { _ = c.Close() }()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		select {
		case <-s.ended:
			return fmt.Errorf("redis-server ended at once: %s", said)
		default:
		}
		if c.Ping(context.Background()).Err() == nil {
			return nil
		}
	}
	s.Kill()
	return fmt.Errorf("redis-server did not answer within %s: %s", patience, said)
}

// options returns the options of a client of this server.
func (s *Server) options() *redis.Options {
	return &redis.Options{
		Network: s.network, Addr: s.address, Password: s.password, TLSConfig: s.tls,
		MaxRetries: -1, DialerRetries: 1, DisableIdentity: true, Protocol: 2,
	}
}

// Kill ends the process with SIGKILL and waits for its end. Its files stay.
func (s *Server) Kill() {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	<-s.ended
	if s.network == "unix" {
		_ = os.Remove(s.address)
	}
}

// PID returns the process's id, for signals such as SIGSTOP.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Info returns one field of the server's INFO.
func Info(t testing.TB, c redis.UniversalClient, section, field string) string {
	t.Helper()
	text, err := c.Info(context.Background(), section).Result()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(text, "\r\n") {
		if k, v, ok := strings.Cut(line, ":"); ok && k == field {
			return v
		}
	}
	t.Fatalf("INFO %s has no field %s", section, field)
	return ""
}
