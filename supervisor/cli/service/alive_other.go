//go:build !unix

package service

import "os"

// alive reports whether there is a process of that number.
func alive(pid int) bool {
	p, err := os.FindProcess(pid) // it opens the process here
	if err == nil {
		_ = p.Release()
	}
	return err == nil
}
