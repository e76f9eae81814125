package admin

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
)

// listener is one that can stop to accept connections without being closed.
type listener struct {
	net.Listener

	parked, closed       chan struct{} // closed when it accepts no more, and by Close
	parkedOnce, closeOne sync.Once
}

func newListener(l net.Listener) *listener {
	return &listener{Listener: l, parked: make(chan struct{}), closed: make(chan struct{})}
}

// Accept implements [net.Listener].
func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		l.parkedOnce.Do(func() { close(l.parked) })
		<-l.closed
		return nil, net.ErrClosed
	}
	return conn, err
}

// Close implements [net.Listener].
func (l *listener) Close() error {
	l.closeOne.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// Detach has the server accept no more connections, and returns its listener, for [Config.Listener]: who connects
// from now on waits until another server accepts. It returns when those are answered that were connected before,
// or ctx ends. The context of Serve is to end then.
func (s *Server) Detach(ctx context.Context) (*os.File, error) {
	l, ok := s.listener.Listener.(*net.TCPListener)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	f, err := l.File()
	if err != nil {
		return nil, err
	}
	s.http.SetKeepAlivesEnabled(false)
	if err := l.SetDeadline(time.Unix(1, 0)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	select {
	case <-s.listener.parked:
	case <-ctx.Done():
	}
	for s.connections.any() && ctx.Err() == nil {
		_ = link.Sleep(ctx, time.Millisecond)
	}
	return f, nil
}
