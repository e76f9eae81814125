//go:build !unix

package service

import "os"

// alive reports whether a process with that PID exists.
func alive(pid int) bool {
	p, err := os.FindProcess(pid) // unlike on Unix, it fails if there is no such process
	if err == nil {
		_ = p.Release()
	}
	return err == nil
}
