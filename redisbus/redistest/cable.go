package redistest

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// Cable is a network between a client and Redis in which a test can cause faults. Dial,
// given as [link.Config.Dial], leads through it.
type Cable struct {
	// To opens a connection to Redis.
	To func(ctx context.Context) (net.Conn, error)

	Refuse atomic.Bool  // new connections fail
	Dials  atomic.Int64 // counts the calls of Dial

	mu    sync.Mutex
	conns map[*cableConn]struct{}
	drop  int // how many of the next answers are lost, each with its connection
}

// cableConn is one connection through a [Cable].
type cableConn struct {
	net.Conn
	cable    *Cable
	swallows chan struct{} // closed by [Cable.BlackHole]
	once     sync.Once     // closes swallows
}

var errCut = errors.New("cut")

// Dial opens a connection. It is for [link.Config.Dial].
func (c *Cable) Dial(ctx context.Context) (net.Conn, error) {
	c.Dials.Add(1)
	if c.Refuse.Load() {
		return nil, &net.OpError{Op: "dial", Net: "test", Err: errCut}
	}
	conn, err := c.To(ctx)
	if err != nil {
		return nil, err
	}
	w := &cableConn{Conn: conn, cable: c, swallows: make(chan struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conns == nil {
		c.conns = map[*cableConn]struct{}{}
	}
	c.conns[w] = struct{}{}
	return w, nil
}

// BlackHole makes the connections that are open now lose all data in both directions,
// without an error.
func (c *Cable) BlackHole() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for w := range c.conns {
		w.once.Do(func() { close(w.swallows) })
	}
}

// Cut breaks the connections that are open now.
func (c *Cable) Cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for w := range c.conns {
		_ = w.Conn.Close()
	}
}

// LoseAnswers breaks a connection in place of each of the next n answers.
func (c *Cable) LoseAnswers(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop = n
}

// swallowing reports whether the connection loses all data.
func (w *cableConn) swallowing() bool {
	select {
	case <-w.swallows:
		return true
	default:
		return false
	}
}

func (w *cableConn) Read(b []byte) (int, error) {
	for {
		n, err := w.Conn.Read(b)
		if err != nil {
			return n, err
		}
		w.cable.mu.Lock()
		lose := w.cable.drop > 0
		if lose {
			w.cable.drop--
		}
		w.cable.mu.Unlock()
		if lose {
			_ = w.Conn.Close()
			return 0, io.EOF
		}
		if !w.swallowing() {
			return n, nil
		}
	}
}

func (w *cableConn) Write(b []byte) (int, error) {
	if w.swallowing() {
		return len(b), nil
	}
	return w.Conn.Write(b)
}

func (w *cableConn) Close() error {
	w.cable.mu.Lock()
	delete(w.cable.conns, w)
	w.cable.mu.Unlock()
	return w.Conn.Close()
}
