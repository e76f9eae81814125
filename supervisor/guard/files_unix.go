//go:build unix

package guard

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
)

// files reads a connection over which files come, too, each with a line of its own.
type files struct {
	conn    *net.UnixConn
	control [128]byte // has room for more files than come with a line

	mu     sync.Mutex
	came   []*os.File
	closed bool
}

// mostFiles is how many files wait until their lines are read. More than one line is read at a time, but no
// honest guardian sends so many.
const mostFiles = 256

// Read implements io.Reader.
func (f *files) Read(b []byte) (int, error) {
	n, controls, _, _, err := f.conn.ReadMsgUnix(b, f.control[:])
	if controls > 0 {
		f.take(f.control[:controls])
	}
	if n == 0 && err == nil {
		return 0, net.ErrClosed // the other end has closed it
	}
	return n, err
}

func (f *files) take(control []byte) {
	messages, _ := syscall.ParseSocketControlMessage(control)
	for i := range messages {
		fds, _ := syscall.ParseUnixRights(&messages[i])
		for _, fd := range fds {
			syscall.CloseOnExec(fd)
			f.add(os.NewFile(uintptr(fd), "connection"))
		}
	}
}

func (f *files) add(file *os.File) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || len(f.came) == mostFiles {
		_ = file.Close()
		return
	}
	f.came = append(f.came, file)
}

// next returns the connection that came with the line that was read last.
func (f *files) next() (net.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.came) == 0 {
		return nil, errors.New("no file came with the line")
	}
	file := f.came[0]
	f.came = f.came[1:]
	conn, err := net.FileConn(file)
	return conn, errors.Join(err, file.Close())
}

func (f *files) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, file := range f.came {
		_ = file.Close()
	}
	f.came, f.closed = nil, true
}

// writeWith writes to the connection, with a file for the other end; nil for none.
func writeWith(conn *net.UnixConn, b []byte, file *os.File) (int, error) {
	if file == nil {
		return conn.Write(b)
	}
	n, _, err := conn.WriteMsgUnix(b, syscall.UnixRights(int(file.Fd())), nil)
	if err == nil && n < len(b) {
		var more int
		more, err = conn.Write(b[n:])
		n += more
	}
	return n, err
}
