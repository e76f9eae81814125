//go:build unix && !linux

package commandtask

import (
	"os/exec"
	"syscall"
)

// setProcessGroup makes the program the leader of a process group.
func setProcessGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// awaitExit waits until the program has ended. It reaps the program: there is no portable
// way to wait without that.
func awaitExit(cmd *exec.Cmd) { _ = cmd.Wait() }
