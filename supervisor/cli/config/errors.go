package config

import (
	"errors"
	"fmt"
	"io/fs"
)

// Kinds of errors. Each kind has its own exit code.
var (
	// ErrUsage: the command line, or a value in the environment, is wrong.
	ErrUsage = errors.New("usage")
	// ErrInvalid: the configuration file or a file with a secret is wrong, or two
	// settings contradict each other.
	ErrInvalid = errors.New("bad configuration")
)

// Usagef returns an [ErrUsage] whose text does not mention the kind.
func Usagef(format string, args ...any) error {
	return As(ErrUsage, fmt.Errorf(format, args...))
}

// Invalidf returns an [ErrInvalid] whose text does not mention the kind.
func Invalidf(format string, args ...any) error {
	return As(ErrInvalid, fmt.Errorf(format, args...))
}

// As returns an error with the text of err that matches both err and kind in
// [errors.Is].
func As(kind, err error) error { return &kindError{kind, err} }

type kindError struct {
	kind error
	err  error
}

func (e *kindError) Error() string   { return e.err.Error() }
func (e *kindError) Unwrap() []error { return []error{e.kind, e.err} }

// WithoutPath strips the operation and the path from an [fs.PathError], for messages
// that name the file already. It returns other errors as they are.
func WithoutPath(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}
