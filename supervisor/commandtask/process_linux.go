package commandtask

import (
	"errors"
	"os/exec"
	"syscall"
)

// setProcessGroup makes the program the leader of a process group, and has the program killed when
// the thread that started it ends.
func setProcessGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// awaitExit waits until the program has ended, without reaping it.
func awaitExit(cmd *exec.Cmd) {
	const byPID = 1 // P_PID
	for {
		_, _, errno := syscall.Syscall6(
			syscall.SYS_WAITID, byPID, uintptr(cmd.Process.Pid), 0, syscall.WEXITED|syscall.WNOWAIT, 0, 0)
		if !errors.Is(errno, syscall.EINTR) {
			return
		}
	}
}
