//go:build !unix

package guard

import (
	"errors"
	"os"
	"syscall"
)

// Supported reports whether this system can run a guardian.
const Supported = false

const self = ""

func attributes() *syscall.SysProcAttr { return nil }

func adopt() error { return nil }

func killSession(int) int { return 0 }

func reapOrphans(map[int]bool) map[int]bool { return nil }

func socketPair() (ours, theirs *os.File, err error) { return nil, nil, errors.ErrUnsupported }

func closeOnExec(int) {}
