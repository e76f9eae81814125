package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/worker"
)

// Program is a program whose command line this is.
type Program struct {
	// Name stands in help texts, errors, completions and before the version; it is
	// the name that the program is called by. Default: that of Process.Args[0].
	Name string
	// Version is what --version and the command version print. Default: what the
	// build says about the main module.
	Version string
	// App makes the tasks, methods, subscriptions and hooks of the program. It is
	// called only by commands that run or check them (run, config check, config
	// show), never by a command that only asks a cluster. Default: an empty app, for
	// a program that does nothing but run the command tasks of a configuration file.
	App func() (*worker.App, error)
}

// Process is the program's view of its OS process; tests pass their own.
type Process struct {
	Args           []string // the first one is the path of the program
	Env            func(name string) (value string, set bool)
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Signals        <-chan os.Signal // TERM and INT; nil for none
	// Orders starts to catch the signals that operate a running set; nil for none.
	Orders func() (signals <-chan os.Signal, stop func())
}

// OS returns the real process. It takes over what a process has only one of: the
// signals TERM and INT, and the logger of the Redis client, which would write to
// standard error what the nodes log themselves.
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

// Main runs the command line of a program and returns the exit code. It returns
// when everything it started has ended, unless a third signal cut that short.
//
//	func main() {
//		os.Exit(cli.Main(context.Background(), cli.Program{Name: "shop", App: newApp}, cli.OS()))
//	}
func Main(ctx context.Context, program Program, process Process) int {
	if len(process.Args) > 0 {
		program.Name = cmp.Or(program.Name, filepath.Base(process.Args[0]))
	}
	program.Version = cmp.Or(program.Version, buildVersion())
	if program.App == nil {
		program.App = func() (*worker.App, error) { return worker.NewApp(), nil }
	}
	env := &cluster.Env{
		Settings: config.New(process.Env), Program: program.Name, Stdin: process.Stdin, Stdout: process.Stdout, Stderr: process.Stderr,
	}
	hurry := make(chan struct{}) // closed with the second signal
	r := &runner{env: env, newApp: program.App, orders: process.Orders, hurry: hurry}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan error, 1)
	go func() { done <- root(env, program, r).Run(ctx, process.Args) }()
	for n := 1; ; {
		select {
		case err := <-done:
			return finish(ctx, env, err)
		case s := <-process.Signals:
			switch n {
			case 1:
				cancel(&interruptedError{s})
			case 2:
				close(hurry)
			default:
				return (&interruptedError{s}).code()
			}
			n++
		}
	}
}

// finish writes how a command failed, unless the log has it, and returns its exit
// code.
func finish(ctx context.Context, env *cluster.Env, err error) int {
	defer env.CloseLog()
	if err == nil {
		return 0
	}
	if cause, ok := errors.AsType[*interruptedError](context.Cause(ctx)); ok && errors.Is(err, context.Canceled) {
		err = cause
	}
	if _, logged := errors.AsType[loggedError](err); !logged || env.LogsToFile() { // nobody may be looking into the file
		_, _ = fmt.Fprintf(env.Stderr, "%s: %s\n", env.Program, cluster.Printable(err.Error()))
	}
	return exitCode(err)
}

// interruptedError ends a command that a signal interrupted. It is a
// context.Canceled, as it is the cause of one.
type interruptedError struct{ signal os.Signal }

func (e *interruptedError) Error() string { return "interrupted" }

func (e *interruptedError) Is(target error) bool { return target == context.Canceled }

// code returns the exit code by which shells report a process that the signal killed.
func (e *interruptedError) code() int {
	if s, ok := e.signal.(syscall.Signal); ok {
		return 128 + int(s)
	}
	return exitFailure
}
