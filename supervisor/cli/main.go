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
	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/supervisor/cli/service"
	"github.com/stellarfw/stellar/worker"
)

// Program describes the program whose command line [Main] runs.
type Program struct {
	// Name is the program's name in help texts, errors, completion scripts and the
	// version line. Default: the file name of Process.Args[0].
	Name string
	// Version is printed by --version and by the command version. Default: the
	// version and the revision of the main module in the build information.
	Version string
	// App returns the app with the program's tasks, methods, subscriptions and hooks.
	// Only the commands run, config check and config show call it; commands that
	// talk to a running cluster do not need it. Default: an empty app, which runs
	// only the command tasks of a configuration file.
	App func() (*worker.App, error)
}

// Process is the program's view of its OS process; tests pass their own.
type Process struct {
	Args           []string // the first is the path of the program
	Env            func(name string) (value string, set bool)
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Signals        <-chan os.Signal // TERM and INT; nil for none
	// Orders subscribes to the signals that operate a running set; stop ends the
	// subscription. A nil Orders means that there are no such signals.
	Orders func() (signals <-chan os.Signal, stop func())

	redisLog   *cluster.RedisLog             // receives the lines of the Redis client; nil for none
	undumpable func() (done bool, err error) // closes the process to programs of its user; nil for tests
	family     *family                       // of the process; nil for one in a test, which can have no children
}

// OS returns the OS process that runs the program. It changes global state: it catches
// the signals TERM and INT, it has a write to a pipe without a reader fail, which otherwise
// ends the process with the signal PIPE, and it takes the Redis client's lines, which that
// client writes to standard error, into the log of the set.
func OS() Process {
	lines := &cluster.RedisLog{}
	redis.SetLogger(lines)
	signals := make(chan os.Signal, 3)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // not Ignore, which child processes would inherit
	return Process{
		Args: os.Args, Env: os.LookupEnv, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Signals: signals, Orders: catchOrders,
		redisLog: lines, undumpable: service.Undumpable, family: osFamily(),
	}
}

// Main runs the command line of a program and returns the exit code; errors are written
// to standard error. It returns when all its goroutines have ended, except after a third
// signal: then it returns at once.
//
//	func main() {
//		os.Exit(cli.Main(context.Background(), cli.Program{Name: "shop", App: newApp}, cli.OS()))
//	}
func Main(ctx context.Context, program Program, process Process) int {
	if len(process.Args) > 0 {
		program.Name = cmp.Or(program.Name, filepath.Base(process.Args[0]))
	}
	child, err := attach(&process)
	if err != nil {
		_, _ = fmt.Fprintf(process.Stderr, "%s: %v\n", program.Name, err)
		return exitFailure
	}
	program.Version = cmp.Or(program.Version, buildVersion())
	if program.App == nil {
		program.App = func() (*worker.App, error) { return worker.NewApp(), nil }
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	hurry := make(chan struct{}) // closed with the second signal
	r := &runner{
		newApp: program.App, orders: process.Orders, hurry: hurry, undumpable: process.undumpable, family: process.family, child: child,
		version: program.Version,
	}
	gone := func() {
		if !r.runs.Load() { // a set goes on: it is there for its tasks, not for those who read its log
			cancel(cluster.ErrNoReader)
		}
	}
	env := &cluster.Env{
		Settings: config.New(process.Env), Program: program.Name, Args: process.Args, Stdin: process.Stdin, RedisLog: process.redisLog,
		Stdout: &cluster.Stream{Writer: process.Stdout, Gone: gone}, Stderr: &cluster.Stream{Writer: process.Stderr, Gone: gone},
	}
	r.env = env
	done := make(chan error, 1)
	go func() { done <- run(ctx, env, root(env, program, r)) }()
	for n := 1; ; {
		select {
		case err := <-done:
			if child != nil {
				return r.leave(ctx, err)
			}
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

// run runs the command that the command line names.
func run(ctx context.Context, e *cluster.Env, root *urfave.Command) error {
	words := e.Args
	if len(words) > 1 && words[1] != completeWord {
		l := readLine(root, words[1:])
		e.JSONErrors = l.format == "json" // for errors of the command line itself, too
		if err := l.check(); err != nil {
			return err
		}
		words = l.arranged(root)
	}
	return root.Run(ctx, words)
}

// finish writes the error of a command to standard error, unless the log has shown it
// there, and returns the exit code.
func finish(ctx context.Context, env *cluster.Env, err error) int {
	defer env.CloseLog()
	if err == nil {
		return 0
	}
	if errors.Is(err, cluster.ErrNoReader) || errors.Is(context.Cause(ctx), cluster.ErrNoReader) {
		return exitNoReader
	}
	if cause, ok := errors.AsType[*interruptedError](context.Cause(ctx)); ok && errors.Is(err, context.Canceled) {
		if _, told := errors.AsType[*interruptedError](err); !told { // otherwise the command has more to say of it
			err = cause
		}
	}
	if _, logged := errors.AsType[loggedError](err); !logged || env.LogsToFile() { // a user may not look into the log file
		env.WriteError(err, exitCode(err))
	}
	return exitCode(err)
}

// interruptedError is the cause with which a signal cancels the context of a command.
// It matches context.Canceled, so that callers treat it as a cancellation.
type interruptedError struct{ signal os.Signal }

func (e *interruptedError) Error() string { return "interrupted" }

func (e *interruptedError) Is(target error) bool { return target == context.Canceled }

// code returns 128 plus the signal's number, as a shell reports a killed process.
func (e *interruptedError) code() int {
	if s, ok := e.signal.(syscall.Signal); ok {
		return 128 + int(s)
	}
	return exitFailure
}
