package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/supervisor/cli/service"
	"github.com/stellarfw/stellar/worker"
)

// Process is what the program has of its process, or a test instead of it.
type Process struct {
	Args           []string // the first one is the program's name
	Env            func(name string) (value string, set bool)
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Signals        <-chan os.Signal // TERM and INT; nil for none
	// Orders begins to catch the signals that do something with a running set;
	// nil for none.
	Orders func() (signals <-chan os.Signal, stop func())
}

// OS returns the real process. It claims what there is one of in it: the two
// signals, and the logger of the Redis client, which would write to standard
// error what the nodes log themselves.
func OS() Process {
	redis.SetLogger(silence{})
	signals := make(chan os.Signal, 3)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	return Process{
		Args: os.Args, Env: os.LookupEnv, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Signals: signals, Orders: catchOrders,
	}
}

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// program is one run of the command line.
type program struct {
	Process
	settings

	app       *worker.App
	input     *input
	commands  []commandTask  // of the configuration file, once they are declared
	periodics []periodicTask // the same
	logTo     *service.LogFile
	hurry     chan struct{} // closed with the second signal
}

func newProgram(process Process, app *worker.App) *program {
	p := &program{Process: process, app: app, hurry: make(chan struct{})}
	p.input = newInput(process.Env, &p.config)
	return p
}

// Main runs the command line and returns the exit code. It returns when
// everything it started has ended, unless a third signal cut that short.
func Main(ctx context.Context, process Process) int { return mainWith(ctx, process, builtinApp()) }

// mainWith is [Main] with another app than the built-in one.
func mainWith(ctx context.Context, process Process, app *worker.App) int {
	p := newProgram(process, app)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan error, 1)
	go func() { done <- p.command().Run(ctx, process.Args) }()
	for n := 1; ; {
		select {
		case err := <-done:
			return p.finish(ctx, err)
		case s := <-process.Signals:
			switch n {
			case 1:
				cancel(&interruptedError{s})
			case 2:
				close(p.hurry)
			default:
				return (&interruptedError{s}).code()
			}
			n++
		}
	}
}

// finish tells how a command ended, unless the log did, and returns its code.
func (p *program) finish(ctx context.Context, err error) int {
	if p.logTo != nil {
		defer p.logTo.Close()
	}
	if err == nil {
		return 0
	}
	if cause, ok := errors.AsType[*interruptedError](context.Cause(ctx)); ok && errors.Is(err, context.Canceled) {
		err = cause
	}
	if _, logged := errors.AsType[loggedError](err); !logged || p.logTo != nil { // nobody may be looking into the file
		_, _ = fmt.Fprintf(p.Stderr, "stellar: %s\n", printable(err.Error()))
	}
	return exitCode(err)
}

// interruptedError ends a command that a signal interrupted. It is a
// context.Canceled, as it is the cause of one.
type interruptedError struct{ signal os.Signal }

func (e *interruptedError) Error() string { return "interrupted" }

func (e *interruptedError) Is(target error) bool { return target == context.Canceled }

// code is what shells make of a process that the signal killed.
func (e *interruptedError) code() int {
	if s, ok := e.signal.(syscall.Signal); ok {
		return 128 + int(s)
	}
	return exitFailure
}
