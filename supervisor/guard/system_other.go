//go:build !unix

package guard

import (
	"errors"
	"net"
	"os"
	"syscall"
)

// Supported reports whether this system can run a guardian.
const Supported = false

const self = ""

// Measures reports whether this system tells how much memory a process has.
const Measures = false

func residentMemory(int) int64 { return 0 }

func attributes() *syscall.SysProcAttr { return nil }

func adopt() error { return nil }

func killSession(int) int { return 0 }

func reapOrphans(map[int]bool) map[int]bool { return nil }

func socketPair() (ours, theirs *os.File, err error) { return nil, nil, errors.ErrUnsupported }

func closeOnExec(int) {}

type files struct{ conn *net.UnixConn }

func (f *files) Read(b []byte) (int, error) { return f.conn.Read(b) }

func (*files) next() (net.Conn, error) { return nil, errors.ErrUnsupported }

func (*files) close() {}

func writeWith(conn *net.UnixConn, b []byte, _ *os.File) (int, error) { return conn.Write(b) }
