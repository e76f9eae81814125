//go:build !unix

package commandtask

import "os/exec"

// separate does nothing: there are no process groups here.
func separate(*exec.Cmd) {}

// awaitExit waits until the program has ended.
func awaitExit(cmd *exec.Cmd) { _ = cmd.Wait() }

// terminate ends the program: it cannot be asked to.
func terminate(cmd *exec.Cmd) { _ = cmd.Process.Kill() }

// kill ends the program.
func kill(cmd *exec.Cmd) { _ = cmd.Process.Kill() }
