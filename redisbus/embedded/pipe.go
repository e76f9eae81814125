package embedded

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// pipe is one end of a connection inside the process.
type pipe struct {
	in, out *stream
	closed  atomic.Bool
}

// newPipe returns the two ends of a connection. The limits are of what the server writes.
func newPipe(l limits) (client, server *pipe) {
	requests, replies := newStream(limits{}), newStream(l)
	client, server = &pipe{in: replies, out: requests}, &pipe{in: requests, out: replies}
	replies.cut = func() { _ = server.Close() }
	return client, server
}

// Read implements [net.Conn]. Its error is [io.ErrClosedPipe] if this end was closed, and
// [io.EOF] if the other end was.
func (p *pipe) Read(b []byte) (int, error) {
	if p.closed.Load() {
		return 0, io.ErrClosedPipe
	}
	n, err := p.in.Read(b)
	if errors.Is(err, io.EOF) && p.closed.Load() {
		err = io.ErrClosedPipe
	}
	return n, err
}

// Write implements [net.Conn]. It never waits.
func (p *pipe) Write(b []byte) (int, error) {
	n, err := p.out.Write(b)
	if errors.Is(err, errSlow) {
		_ = p.Close()
	}
	return n, err
}

// Close ends both directions. The other end still reads what was written before.
func (p *pipe) Close() error {
	p.closed.Store(true)
	_ = p.in.Close()
	return p.out.Close()
}

// LocalAddr implements [net.Conn].
func (p *pipe) LocalAddr() net.Addr { return address{} }

// RemoteAddr implements [net.Conn].
func (p *pipe) RemoteAddr() net.Addr { return address{} }

// SetDeadline implements [net.Conn].
func (p *pipe) SetDeadline(t time.Time) error { return p.SetReadDeadline(t) }

// SetReadDeadline implements [net.Conn].
func (p *pipe) SetReadDeadline(t time.Time) error {
	p.in.setDeadline(t)
	return nil
}

// SetWriteDeadline does nothing: writes never wait.
func (p *pipe) SetWriteDeadline(time.Time) error { return nil }

// address is the address of both ends of a pipe.
type address struct{}

// Network implements [net.Addr].
func (address) Network() string { return "pipe" }

// String implements [net.Addr].
func (address) String() string { return "pipe" }
