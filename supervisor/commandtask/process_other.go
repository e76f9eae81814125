//go:build !unix

package commandtask

import "os/exec"

// setProcessGroup does nothing: there are no process groups here.
func setProcessGroup(*exec.Cmd) {}

// awaitExit waits until the program has ended.
func awaitExit(cmd *exec.Cmd) { _ = cmd.Wait() }

// terminate kills the program: there is no signal that asks it to end.
func terminate(cmd *exec.Cmd) { _ = cmd.Process.Kill() }

// kill kills the program.
func kill(cmd *exec.Cmd) { _ = cmd.Process.Kill() }
