//go:build unix

package service

import (
	"errors"
	"syscall"
)

// alive reports whether a process with that PID exists.
func alive(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}
