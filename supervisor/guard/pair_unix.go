//go:build unix

package guard

import (
	"os"
	"syscall"
)

// socketPair returns two connected sockets, which other programs do not inherit.
func socketPair() (ours, theirs *os.File, err error) {
	syscall.ForkLock.RLock() // not every system makes them closed on exec in one step
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return os.NewFile(uintptr(fds[0]), "child"), os.NewFile(uintptr(fds[1]), "guardian"), nil
}

func closeOnExec(fd int) { syscall.CloseOnExec(fd) }
