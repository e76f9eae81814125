//go:build !unix

package guard

import (
	"errors"
	"os"
	"syscall"
)

func descriptor(syscall.Conn) (int, error) { return 0, errors.ErrUnsupported }

func replaceProgram(string, []string, []string, []int) error { return errors.ErrUnsupported }

func nameless([]byte) (*os.File, error) { return nil, errors.ErrUnsupported }
