//go:build unix

package commandtask

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"
)

// account is the user as whom a program runs. The zero value is the user of this process.
type account struct {
	credential  *syscall.Credential
	environment []string // the variables that tell a program who it is
}

// lookUpAccount returns the account of a user's name or number, with the user's groups, or of
// UID:GID, without further groups. The text "" and the user of this process are the zero value.
func lookUpAccount(text string) (a account, err error) {
	if text == "" {
		return a, nil
	}
	as := &syscall.Credential{}
	if u, g, both := strings.Cut(text, ":"); both {
		if as.Uid, err = number(u); err == nil {
			as.Gid, err = number(g)
		}
		if err != nil {
			return a, fmt.Errorf("%q: use UID:GID with two numbers, such as 1000:1000", text)
		}
		a.environment = []string{"HOME=/"}
	} else {
		who, err := findUser(text)
		if err != nil {
			return a, fmt.Errorf("%q: there is no such user here: create it, or use UID:GID", text)
		}
		if as, err = credentialOf(who); err != nil {
			return a, fmt.Errorf("%q: %w", text, err)
		}
		a.environment = []string{"HOME=" + who.HomeDir, "USER=" + who.Username, "LOGNAME=" + who.Username}
	}
	switch {
	case os.Geteuid() == 0:
		a.credential = as
		return a, nil
	case int(as.Uid) == os.Geteuid() && int(as.Gid) == os.Getegid():
		return account{}, nil
	default:
		return account{}, errors.New("only a process of root can run programs as other users: run it as root, or leave this out")
	}
}

func findUser(text string) (*user.User, error) {
	if _, err := number(text); err == nil {
		return user.LookupId(text)
	}
	return user.Lookup(text)
}

// credentialOf returns the numbers of a user and of the user's groups.
func credentialOf(who *user.User) (*syscall.Credential, error) {
	ids, err := who.GroupIds()
	if err != nil {
		return nil, err
	}
	all := make([]uint32, 0, 2+len(ids))
	for _, text := range append([]string{who.Uid, who.Gid}, ids...) {
		n, err := number(text)
		if err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return &syscall.Credential{Uid: all[0], Gid: all[1], Groups: all[2:]}, nil
}

func number(text string) (uint32, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	return uint32(n), err
}

// isOther reports whether the account is another one than that of this process.
func (a account) isOther() bool { return a.credential != nil && a.credential.Uid != 0 }

// apply has the program run as the user.
func (a account) apply(cmd *exec.Cmd) { cmd.SysProcAttr.Credential = a.credential }
