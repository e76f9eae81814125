//go:build unix

package commandtask

import (
	"os/exec"
	"syscall"
)

// terminate asks the program and its children to end.
func terminate(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }

// kill kills all processes that are left in the program's group.
func kill(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
