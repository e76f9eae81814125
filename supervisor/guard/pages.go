package guard

import (
	"net"
	"sync"
)

// Listener returns the listener of the connections on which the guardian hands over requests for the pages of this
// process. It is closed when the guardian has gone.
func (c *Child) Listener() net.Listener { return c.pages }

// pages implements net.Listener.
type pages struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPages() *pages {
	return &pages{conns: make(chan net.Conn, mostHanded), closed: make(chan struct{})}
}

// add hands a connection to Accept, or closes it where too many wait.
func (p *pages) add(conn net.Conn) {
	select {
	case p.conns <- conn:
	default:
		_ = conn.Close()
	}
}

// Accept implements net.Listener.
func (p *pages) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (p *pages) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// Addr implements net.Listener.
func (p *pages) Addr() net.Addr { return &net.UnixAddr{Name: "guardian", Net: "unix"} }
