package service

import (
	"errors"
	"io/fs"
)

// WithoutPath strips the operation and the path from an [fs.PathError], for messages
// that name the file already. It returns other errors as they are.
func WithoutPath(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}
