//go:build !unix

package commandtask

import (
	"errors"
	"os/exec"
)

// account is the user as whom a program runs: here only that of this process.
type account struct{ environment []string }

func lookUpAccount(text string) (account, error) {
	if text == "" {
		return account{}, nil
	}
	return account{}, errors.New("programs cannot run as other users on this system: leave it out")
}

func (account) isOther() bool   { return false }
func (account) apply(*exec.Cmd) {}
