//go:build unix

package guard

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// descriptor returns the number of the file of c, which stays its owner.
func descriptor(c syscall.Conn) (number int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	err = raw.Control(func(fd uintptr) { number = int(fd) })
	return number, err
}

// replaceProgram runs the program at path in this process, with the open files. It returns only if that failed.
//
// The caller is on the thread that has started the children: of the threads of this process only the
// caller's goes on, as the parent of its children, and the kernel tells those of the others of their
// parent's end.
func replaceProgram(path string, args, environment []string, files []int) error {
	syscall.ForkLock.Lock() // no other program may inherit the files
	defer syscall.ForkLock.Unlock()
	defer func() {
		for _, fd := range files {
			syscall.CloseOnExec(fd)
		}
	}()
	for _, fd := range files {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return os.NewSyscallError("fcntl", err)
		}
	}
	return os.NewSyscallError("exec", syscall.Exec(path, args, environment)) //nolint:gosec // the program from which this one was started
}
