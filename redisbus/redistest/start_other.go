//go:build !linux

package redistest

import "os/exec"

func startWithParent(cmd *exec.Cmd) error { return cmd.Start() }

func separate(*exec.Cmd) {}
