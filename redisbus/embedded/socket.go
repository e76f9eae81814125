package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	// acceptPause is the pause after a connection that could not be accepted.
	acceptPause = 50 * time.Millisecond
	// drainTime is how long a client may take to read its last replies.
	drainTime = time.Second
)

// Socket is a Unix socket file through which other processes of the same user
// reach the server.
type Socket struct {
	path     string
	listener net.Listener
	done     sync.WaitGroup

	mu     sync.Mutex
	ended  chan struct{} // closed by Close
	closed bool
	conns  map[*socketConn]struct{}
}

// Listen accepts connections on a new socket file with mode 0600. The file must not exist
// yet; [Socket.Close] and [Server.Close] remove it.
func (s *Server) Listen(ctx context.Context, path string) (*Socket, error) {
	// The file is made in a directory that only its owner can enter, and linked to path
	// after Chmod, so that other users can never connect to it.
	private, err := os.MkdirTemp(filepath.Dir(path), ".s")
	if err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	defer os.RemoveAll(private)
	temporary := filepath.Join(private, "s")
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", temporary)
	if err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	err = os.Chmod(temporary, 0o600)
	if err == nil {
		err = os.Link(temporary, path) // unlike Rename, it replaces nothing
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("socket %s: %w", path, err), l.Close())
	}
	k := &Socket{path: path, listener: l, ended: make(chan struct{}), conns: map[*socketConn]struct{}{}}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.Join(fmt.Errorf("socket %s: %w", path, net.ErrClosed), k.Close())
	}
	s.sockets = append(s.sockets, k)
	k.done.Go(func() { k.accept(s) })
	return k, nil
}

// Path returns the path of the socket file.
func (k *Socket) Path() string { return k.path }

func (k *Socket) accept(s *Server) {
	for {
		c, err := k.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // such as for want of file descriptors
			select {
			case <-k.ended:
				return
			case <-time.After(acceptPause):
			}
			continue
		}
		k.serve(s, c)
	}
}

// serve connects c with the server until either ends.
func (k *Socket) serve(s *Server, c net.Conn) {
	conn := newSocketConn(c, s.limits)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed || s.serve(conn) != nil {
		_ = c.Close()
		return
	}
	k.conns[conn] = struct{}{}
	k.done.Go(func() {
		conn.send()
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.conns, conn)
	})
}

// Close ends the socket's connections, removes its file and waits for its goroutines.
func (k *Socket) Close() error {
	err := k.listener.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	if e := os.Remove(k.path); err == nil && !errors.Is(e, os.ErrNotExist) {
		err = e
	}
	k.mu.Lock()
	if !k.closed {
		k.closed = true
		close(k.ended)
	}
	for c := range k.conns {
		c.drop()
	}
	k.mu.Unlock()
	k.done.Wait()
	return err
}

// socketConn is the server's end of a connection through a socket: its writes never wait.
type socketConn struct {
	net.Conn

	requests requestReader
	replies  *stream
}

func newSocketConn(c net.Conn, l limits) *socketConn {
	conn := &socketConn{Conn: c, requests: requestReader{Reader: c}, replies: newStream(l)}
	conn.replies.cut = conn.drop
	return conn
}

// send copies the replies to the client until the server or the client ends the connection.
func (c *socketConn) send() {
	_, _ = io.Copy(c.Conn, c.replies)
	c.drop()
}

// Read implements [net.Conn].
func (c *socketConn) Read(b []byte) (int, error) { return c.requests.Read(b) }

// Write implements [net.Conn].
func (c *socketConn) Write(b []byte) (int, error) {
	n, err := c.replies.Write(b)
	if errors.Is(err, errSlow) {
		c.drop()
	}
	return n, err
}

// Close ends the connection once the client has the replies that were written, at the latest
// after drainTime.
func (c *socketConn) Close() error {
	now := time.Now()
	_ = c.Conn.SetReadDeadline(now)
	_ = c.Conn.SetWriteDeadline(now.Add(drainTime))
	return c.replies.Close()
}

// drop ends the connection at once.
func (c *socketConn) drop() {
	_ = c.replies.Close()
	_ = c.Conn.Close()
}
