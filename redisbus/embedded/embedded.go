// Package embedded is the Redis of a single process: miniredis, in memory,
// reached through in-process pipes. Nothing listens on a network.
//
// It is for a single machine without a Redis, for tests and for trying things out: its
// data ends with the process. It uses the process's clock, so that nodes on it can run
// inside a testing/synctest bubble on virtual time.
package embedded

import (
	"context"
	"errors"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"

	"github.com/stellarfw/stellar/redisbus/link"
)

// Server is one embedded Redis. It starts with the first connection.
//
// No client holds up another: one that does not read what it asked for is cut (with 32 MiB
// after 5 s, with 256 MiB at once), and so is one that does not speak Redis's protocol.
type Server struct {
	redis  *miniredis.Miniredis
	expiry expiry
	// patience is how long Close waits for the commands that run.
	patience time.Duration
	limits   limits
	// bits is the size of miniredis's integers.
	bits   int
	broken atomic.Pointer[string] // the error of all commands, "" for none

	mu      sync.Mutex
	serving *server.Server // nil before the first connection
	sockets []*Socket
	closed  bool
}

// New returns an empty server, to be closed with [Server.Close].
func New() *Server {
	m := miniredis.NewMiniRedis()
	return &Server{
		redis: m, expiry: expiry{redis: m, last: time.Now()}, patience: 5 * time.Second, limits: defaultLimits(), bits: strconv.IntSize,
	}
}

// Dial opens a connection through an in-process pipe. It never waits.
func (s *Server) Dial(ctx context.Context) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, link.DialError(err)
	}
	inside, outside := newPipe(s.limits)
	if err := s.serve(outside); err != nil {
		return nil, link.DialError(err)
	}
	return inside, nil
}

// serve takes on a connection, and closes it at the server's end.
func (s *Server) serve(c net.Conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	if s.serving == nil {
		first, err := s.redis.Dial() // starts a server that listens nowhere
		if err != nil {
			return err
		}
		_ = first.Close()
		serving := s.redis.Server()
		scripts, err := newScripts(s.redis, serving)
		if err != nil {
			return err
		}
		serving.SetPreHook(s.hook(serving, scripts))
		s.serving = serving
	}
	s.serving.ServeConn(serverConn{c, &s.expiry})
	return nil
}

// serverConn is the server's end of a connection: what has expired is gone before the server
// gets a command.
type serverConn struct {
	net.Conn

	expiry *expiry
}

// Read implements [net.Conn].
func (c serverConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.expiry.advance()
	}
	return n, err
}

// Config returns the configuration to connect to this server.
func (s *Server) Config() link.Config { return link.Config{Dial: s.Dial} }

// hook returns what every command passes first.
func (s *Server) hook(serving *server.Server, scripts *scripts) server.Hook {
	narrow := narrow{serving}
	return func(c *server.Peer, name string, args ...string) bool {
		if broken := s.broken.Load(); broken != nil && *broken != "" {
			c.WriteError(*broken)
			return true
		}
		return scripts.run(c, name, args) || s.bits == 32 && narrow.run(c, name, args...)
	}
}

// Break makes every command fail with the error message, such as "LOADING Redis is loading
// the dataset in memory", until Break is called with "".
func (s *Server) Break(message string) { s.broken.Store(&message) }

// Close ends all connections and sockets and drops the server's data. It returns an error if
// a command, such as a script that loops, still runs after 5 seconds.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	sockets := s.sockets
	s.mu.Unlock()
	var errs []error
	for _, k := range sockets {
		errs = append(errs, k.Close())
	}
	return errors.Join(append(errs, s.stop())...)
}

// stop ends miniredis.
func (s *Server) stop() error {
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.redis.CtxCancel()
		s.redis.FlushAll() // wakes commands that block, which might miss the wake of Close
		s.redis.Close()
	}()
	timeout := time.NewTimer(s.patience)
	defer timeout.Stop()
	select {
	case <-stopped:
		return nil
	case <-timeout.C:
		return errors.New("the embedded redis still runs a command: it was not stopped")
	}
}
