package config

import (
	"errors"
	"fmt"
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
