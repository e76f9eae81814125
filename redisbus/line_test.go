package redisbus_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// link is a way to Redis that a test can cut, in the ways in which networks do.
type link struct {
	dial func(ctx context.Context) (net.Conn, error)

	refuse atomic.Bool // connecting fails
	dials  atomic.Int64

	mu    sync.Mutex
	conns map[*wire]struct{}
	drop  int // so many answers are lost, each with its connection
}

type wire struct {
	net.Conn
	link *link
	free chan struct{} // closed with the connection
	once sync.Once
}

var errCut = errors.New("cut")

func (l *link) Dial(ctx context.Context) (net.Conn, error) {
	l.dials.Add(1)
	if l.refuse.Load() {
		return nil, &net.OpError{Op: "dial", Net: "test", Err: errCut}
	}
	c, err := l.dial(ctx)
	if err != nil {
		return nil, err
	}
	w := &wire{Conn: c, link: l, free: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns == nil {
		l.conns = map[*wire]struct{}{}
	}
	l.conns[w] = struct{}{}
	return w, nil
}

// blackHole makes what is on the way vanish without a word, both ways, on the
// connections that are open now.
func (l *link) blackHole() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for w := range l.conns {
		w.once.Do(func() { close(w.free) })
	}
}

// loseAnswers breaks a connection in place of each of the next n answers.
func (l *link) loseAnswers(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop = n
}

func (w *wire) dark() bool {
	select {
	case <-w.free:
		return true
	default:
		return false
	}
}

func (w *wire) Read(b []byte) (int, error) {
	for {
		n, err := w.Conn.Read(b)
		if err != nil {
			return n, err
		}
		w.link.mu.Lock()
		lose := w.link.drop > 0
		if lose {
			w.link.drop--
		}
		w.link.mu.Unlock()
		if lose {
			_ = w.Conn.Close()
			return 0, io.EOF
		}
		if !w.dark() {
			return n, nil
		}
	}
}

func (w *wire) Write(b []byte) (int, error) {
	if w.dark() {
		return len(b), nil
	}
	return w.Conn.Write(b)
}

func (w *wire) Close() error {
	w.link.mu.Lock()
	delete(w.link.conns, w)
	w.link.mu.Unlock()
	return w.Conn.Close()
}
