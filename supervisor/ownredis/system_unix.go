//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package ownredis

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
)

// maxSocket is the length of the longest path of a socket, in bytes.
const maxSocket = len(syscall.RawSockaddrUnix{}.Path) - 1

// Kinds of locks.
const (
	exclusive = syscall.LOCK_EX
	shared    = syscall.LOCK_SH
)

var errLocked = errors.New("locked")

// open opens the file of a lock, which is no link; flag is os.O_CREATE to make it if there is none.
func open(path string, flag int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|flag|syscall.O_NOFOLLOW, 0o600)
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("%s is a symbolic link: remove it", path)
	}
	return f, err
}

// flock locks the file without waiting. It returns errLocked if another open file has a lock that excludes
// it. The lock ends when the file is closed in every process that has it.
func flock(f *os.File, kind int) error {
	for {
		err := syscall.Flock(int(f.Fd()), kind|syscall.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EWOULDBLOCK):
			return errLocked
		default:
			return fmt.Errorf("lock %s: %w", f.Name(), err)
		}
	}
}

// supported returns nil: see the other systems.
func supported() error { return nil }

// separate gives the process a session of its own, so that neither the signals of a terminal nor
// the end of this process reach it.
func separate(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

// terminate asks the process to save and end.
func terminate(pid int) error { return syscall.Kill(pid, syscall.SIGTERM) }

// killGroup ends what is left of the session that a process, which has ended, was the first of.
func killGroup(pid int) error { return syscall.Kill(-pid, syscall.SIGKILL) }

// exists reports whether there is a process of that number.
func exists(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}

// reap frees the number of a process that has ended, if it was a child of this process: it was
// started before this process began to run another program.
func reap(pid int) {
	var status syscall.WaitStatus
	_, _ = syscall.Wait4(pid, &status, syscall.WNOHANG, nil)
}

func ownedByUs(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Geteuid()
}
