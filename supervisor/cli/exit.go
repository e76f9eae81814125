package cli

import (
	"errors"
	"syscall"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/admin"
	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/supervisor/guard"
	"github.com/stellarfw/stellar/supervisor/ownredis"
	"github.com/stellarfw/stellar/worker/builtin"
	"github.com/stellarfw/stellar/worker/membership"
	"github.com/stellarfw/stellar/worker/tasks"
)

// Exit codes. Codes above 2 are those of sysexits.h.
const (
	exitFailure       = 1
	exitUsage         = 2
	exitUnavailable   = 69
	exitFlapping      = 70
	exitDrainDeadline = 75
	exitConfig        = 78
	exitNoReader      = 128 + int(syscall.SIGPIPE) // as a shell reports a process that a closed pipe has ended
)

// exitCodes maps errors to exit codes. The first match decides; an error without a match
// yields exitFailure.
var exitCodes = []struct {
	err  error
	code int
}{
	{config.ErrInvalid, exitConfig},
	{admin.ErrTokenNeeded, exitConfig},
	{link.ErrLayout, exitConfig},
	{membership.ErrIDTaken, exitConfig}, // another live process has the id, as with a pidfile
	{config.ErrUsage, exitUsage},
	{ownredis.ErrNotInstalled, exitUsage},
	{ownredis.ErrDir, exitConfig},
	{ownredis.ErrInUse, exitConfig},
	{ownredis.ErrHasData, exitUsage},
	{ownredis.ErrNoBackup, exitUsage},
	{ownredis.ErrNotRunning, exitUnavailable},
	{supervisor.ErrFlapping, exitFlapping},
	{supervisor.ErrDrainDeadline, exitDrainDeadline},
	{supervisor.ErrRedisUnavailable, exitUnavailable},
	{link.ErrUnavailable, exitUnavailable},
	{cluster.ErrNoSet, exitUnavailable},
	{rpcregistry.ErrNoSuchMethod, exitUsage},
	{rpcregistry.ErrBadArguments, exitUsage},
	{builtin.ErrSetAlone, exitUsage},
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
	if child, ok := errors.AsType[*guard.ExitError](err); ok {
		return child.Code
	}
	for _, known := range exitCodes {
		if errors.Is(err, known.err) {
			return known.code
		}
	}
	return exitFailure
}

// loggedError marks an error that has already been logged.
type loggedError struct{ error }

func (e loggedError) Unwrap() error { return e.error }
