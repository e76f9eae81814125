package cli

import (
	"errors"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/admin"
	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/config"
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

// exitCodes maps errors to exit codes. The first error that matches decides; an error
// that matches none is a failure.
var exitCodes = []struct {
	err  error
	code int
}{
	{config.ErrInvalid, exitConfig},
	{admin.ErrTokenNeeded, exitConfig},
	{link.ErrLayout, exitConfig},
	{membership.ErrIDTaken, exitConfig}, // another live process has the id, as with a pidfile
	{config.ErrUsage, exitUsage},
	{supervisor.ErrFlapping, exitFlapping},
	{supervisor.ErrDrainDeadline, exitDrainDeadline},
	{supervisor.ErrRedisUnavailable, exitUnavailable},
	{link.ErrUnavailable, exitUnavailable},
	{cluster.ErrNoSet, exitUnavailable},
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

// loggedError is an error that is in the log already.
type loggedError struct{ error }

func (e loggedError) Unwrap() error { return e.error }
