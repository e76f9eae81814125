//go:build unix

package link

import (
	"net"
	"syscall"
)

// HungUp reports whether the peer has closed a connection on which nothing is to be read, as
// far as the system tells. It does not wait.
func HungUp(conn net.Conn) bool {
	to, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := to.SyscallConn()
	if err != nil {
		return false
	}
	hungUp := false
	err = raw.Read(func(fd uintptr) bool {
		var one [1]byte
		n, err := syscall.Read(int(fd), one[:])
		hungUp = n >= 0 && err == nil || err != nil && err != syscall.EAGAIN && err != syscall.EINTR
		return true
	})
	return hungUp || err != nil
}
