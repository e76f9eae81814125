//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package ownredis

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
)

const (
	maxSocket = 100
	exclusive = 0
	shared    = 1
)

var errLocked = errors.New("locked")

func supported() error { return ErrUnsupported }

func open(string, int) (*os.File, error) { return nil, ErrUnsupported }

func flock(*os.File, int) error { return ErrUnsupported }

func separate(*exec.Cmd) {}

func terminate(int) error { return ErrUnsupported }

func killGroup(int) error { return ErrUnsupported }

func exists(int) bool { return false }

func reap(int) {}

func ownedByUs(fs.FileInfo) bool { return false }
