// Package embedded is the Redis of a single process: miniredis, in memory,
// reached through in-process pipes. Nothing listens on a network.
//
// It is for a single machine without a Redis, for tests and for trying things out: its
// data ends with the process. It uses the process's clock, so that nodes on it can run
// inside a testing/synctest bubble on virtual time.
package embedded

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/stellarfw/stellar/redisbus/link"
)

// Server is one embedded Redis. It starts with the first connection.
type Server struct {
	redis  *miniredis.Miniredis
	expiry expiry

	mu      sync.Mutex
	sockets []*Socket
	closed  bool
}

// New returns an empty server, to be closed with [Server.Close].
func New() *Server {
	m := miniredis.NewMiniRedis()
	return &Server{redis: m, expiry: expiry{redis: m, last: time.Now()}}
}

// Dial opens a connection through an in-process pipe.
func (s *Server) Dial(context.Context) (net.Conn, error) { return s.dial() }

func (s *Server) dial() (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, link.DialError(net.ErrClosed)
	}
	c, err := s.redis.Dial()
	if err != nil {
		return nil, err
	}
	return &pipe{Conn: c, before: s.expiry.advance}, nil
}

// Config returns the configuration to connect to this server.
func (s *Server) Config() link.Config { return link.Config{Dial: s.Dial} }

// Break makes every command fail with the error message, such as "LOADING Redis is loading
// the dataset in memory", until Break is called with "".
func (s *Server) Break(message string) { s.redis.SetError(message) }

// Close ends all connections and sockets and drops the server's data.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	sockets := s.sockets
	s.mu.Unlock()
	var err error
	for _, k := range sockets {
		if e := k.Close(); err == nil {
			err = e
		}
	}
	s.redis.Close()
	return err
}
