package config

import (
	"errors"
	"fmt"
	"io/fs"
)

// Kinds of errors, each with an exit code of its own.
var (
	// ErrUsage: the command line, or a value in the environment, is wrong.
	ErrUsage = errors.New("usage")
	// ErrInvalid: the configuration file, a file with a secret, or settings that do
	// not go together.
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

// As returns err as an error of that kind for [errors.Is], under its own text.
func As(kind, err error) error { return &kindError{kind, err} }

type kindError struct {
	kind error
	err  error
}

func (e *kindError) Error() string   { return e.err.Error() }
func (e *kindError) Unwrap() []error { return []error{e.kind, e.err} }

// WithoutPath returns the reason of an error about a file whose name the caller
// has named already.
func WithoutPath(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}
