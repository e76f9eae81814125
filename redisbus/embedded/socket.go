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
)

// Socket is a Unix socket file through which other processes of the same user
// reach the server.
type Socket struct {
	path     string
	listener net.Listener
	done     sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{}
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
	k := &Socket{path: path, listener: l, conns: map[net.Conn]struct{}{}}
	k.done.Go(func() { k.accept(s) })
	s.mu.Lock()
	s.sockets = append(s.sockets, k)
	s.mu.Unlock()
	return k, nil
}

// Path returns the path of the socket file.
func (k *Socket) Path() string { return k.path }

func (k *Socket) accept(s *Server) {
	for {
		outside, err := k.listener.Accept()
		if err != nil {
			return
		}
		inside, err := s.dial()
		if err != nil {
			_ = outside.Close()
			continue
		}
		k.join(outside, inside)
	}
}

// join copies in both directions until either connection ends.
func (k *Socket) join(outside, inside net.Conn) {
	k.mu.Lock()
	k.conns[outside] = struct{}{}
	k.mu.Unlock()
	k.done.Go(func() {
		_, _ = io.Copy(inside, outside)
		_ = inside.Close()
	})
	k.done.Go(func() {
		_, _ = io.Copy(outside, inside)
		_ = outside.Close()
		k.mu.Lock()
		delete(k.conns, outside)
		k.mu.Unlock()
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
	for c := range k.conns {
		_ = c.Close()
	}
	k.mu.Unlock()
	k.done.Wait()
	return err
}
