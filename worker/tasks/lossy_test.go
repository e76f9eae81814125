package tasks_test

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"

	"github.com/stellarfw/stellar/redisbus/link"
)

// lossy passes everything on to Redis, and drops the connection instead of every
// so-manieth reply: the command has run, and its sender does not know.
type lossy struct {
	link.Config
	every, seen, lost atomic.Int64
}

func (l *lossy) config(t *testing.T) link.Config {
	t.Helper()
	dial := dialer(l.Config)
	return link.Config{Dial: func(ctx context.Context) (net.Conn, error) {
		c, err := dial(ctx)
		return &lossyConn{Conn: c, lossy: l}, err
	}}
}

// dialer returns how that Redis is dialled.
func dialer(cfg link.Config) func(ctx context.Context) (net.Conn, error) {
	if cfg.Dial != nil {
		return cfg.Dial
	}
	path := cfg.URL[len("unix://"):]
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
}

type lossyConn struct {
	net.Conn
	lossy *lossy
	wrote atomic.Bool
}

func (c *lossyConn) Write(p []byte) (int, error) {
	c.wrote.Store(true)
	return c.Conn.Write(p)
}

func (c *lossyConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	// Only replies to a command: a subscriber's messages are not answers.
	if every := c.lossy.every.Load(); err == nil && every > 0 && c.wrote.Swap(false) && c.lossy.seen.Add(1)%every == 0 {
		c.lossy.lost.Add(1)
		_ = c.Conn.Close()
		return 0, errors.New("connection lost with the reply")
	}
	return n, err
}
