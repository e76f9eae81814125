package cli

import (
	"errors"
	"fmt"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/admin"
	"github.com/stellarfw/stellar/worker/membership"
	"github.com/stellarfw/stellar/worker/tasks"
)

// Exit codes, those beyond 2 as in sysexits.h.
const (
	exitFailure       = 1
	exitUsage         = 2
	exitUnavailable   = 69
	exitFlapping      = 70
	exitDrainDeadline = 75
	exitConfig        = 78
)

// Kinds of errors of the command line's own.
var (
	errUsage  = errors.New("usage")
	errConfig = errors.New("bad configuration")
	errNoSet  = errors.New("no running set found")
)

// exitCodes maps errors to exit codes. The first one that fits decides; what
// fits none is a failure.
var exitCodes = []struct {
	err  error
	code int
}{
	{errConfig, exitConfig},
	{admin.ErrTokenNeeded, exitConfig},
	{membership.ErrIDTaken, exitConfig}, // another live process has it, as with a pidfile
	{errUsage, exitUsage},
	{supervisor.ErrFlapping, exitFlapping},
	{supervisor.ErrDrainDeadline, exitDrainDeadline},
	{supervisor.ErrRedisUnavailable, exitUnavailable},
	{link.ErrUnavailable, exitUnavailable},
	{errNoSet, exitUnavailable},
	{rpcregistry.ErrNoSuchMethod, exitUsage},
	{rpcregistry.ErrBadArguments, exitUsage},
	{tasks.ErrInvalid, exitUsage},
	{tasks.ErrName, exitUsage},
}

func exitCode(err error) int {
	if err == nil {
		return 0
	}
	if interrupted, ok := errors.AsType[*interruptedError](err); ok {
		return interrupted.code()
	}
	for _, known := range exitCodes {
		if errors.Is(err, known.err) {
			return known.code
		}
	}
	if _, ok := errors.AsType[urfave.ExitCoder](err); ok {
		return exitUsage // the library ends so when help is asked for what does not exist
	}
	return exitFailure
}

// kindError is an error of a kind that its text does not mention.
type kindError struct {
	kind error
	err  error
}

func (e *kindError) Error() string   { return e.err.Error() }
func (e *kindError) Unwrap() []error { return []error{e.kind, e.err} }

func usagef(format string, args ...any) error {
	return &kindError{errUsage, fmt.Errorf(format, args...)}
}

func configf(format string, args ...any) error {
	return &kindError{errConfig, fmt.Errorf(format, args...)}
}

// loggedError is an error that the log has told already.
type loggedError struct{ error }

func (e loggedError) Unwrap() error { return e.error }
