package service

import "golang.org/x/sys/unix"

// Undumpable closes the process's environment and memory to other processes of its user: no
// debugger attaches to it, nothing reads them in /proc, and it leaves no core dump. A process
// of root can still read them. done is false where the system cannot do that.
func Undumpable() (done bool, err error) {
	err = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	return err == nil, err
}
