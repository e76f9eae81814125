package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/rs/zerolog"
	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/redisbus/embedded"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/admin/metrics"
	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/supervisor/cli/service"
	"github.com/stellarfw/stellar/supervisor/guard"
	"github.com/stellarfw/stellar/worker"
)

// runner implements the command run.
type runner struct {
	env        *cluster.Env
	newApp     func() (*worker.App, error)
	orders     func() (signals <-chan os.Signal, stop func()) // nil for none
	hurry      <-chan struct{}                                // closed when the set has to stop within a second
	undumpable func() (done bool, err error)                  // nil for none
	runs       atomic.Bool                                    // the command is run, and its configuration is right
	family     *family                                        // nil for none
	child      *guarded                                       // the way to the guardian of this process; nil for none
	inherited  *guard.Inheritance                             // of the guardian whose place this program takes; nil for none
	owner      *os.File                                       // the lock of the data directory's owner; nil for none
	version    string                                         // of the program
	report     atomic.Pointer[supervisor.Report]              // of a set that has ended
}

func (r *runner) command() *urfave.Command {
	return &urfave.Command{
		Name: "run", Usage: "run a set of nodes until it is told to stop (what $0 does without a command)",
		Description: "TERM or Ctrl-C stops it: running tasks have --drain to finish. A second signal cuts that to a second,\n" +
			"a third one ends the process at once. HUP restarts all nodes, USR2 one after the other; TTIN and TTOU start one\n" +
			"more and stop one; TSTP (Ctrl-Z) makes it claim no more tasks, CONT ends that.",
		Flags: r.env.RunFlags(), ArgValidator: config.NoArguments, Action: r.action,
	}
}

// action prepares what is run in this process: a set, or a guardian, which does not make the app.
func (r *runner) action(ctx context.Context, cmd *urfave.Command) error {
	newApp := r.newApp
	switch {
	case r.child != nil && !r.checks():
		r.env.LeaveToGuardian()
	case r.env.Processes > 0:
		newApp = func() (*worker.App, error) { return worker.NewApp(), nil }
	}
	return r.env.SetAction(newApp, r.run)(ctx, cmd)
}

// run is the action of the command run.
func (r *runner) run(ctx context.Context, p config.Prepared) error {
	e := r.env
	if e.Processes == 0 && (r.checks() || r.inherited != nil) {
		return errNoProcesses
	}
	if r.checks() {
		return nil
	}
	r.runs.Store(true)
	if r.child != nil { // it was started by the path of the program that runs, not of that which lies there now
		setTitle(filepath.Base(os.Args[0]))
	}
	setTitle(e.Title)
	log, err := e.Logger()
	if err != nil {
		return err
	}
	if r.child != nil {
		return r.runSet(ctx, p, log.With().Int("process", r.child.Guarded().Slot).Logger())
	}
	for _, remark := range p.Remarks {
		log.Warn().Msg(remark)
	}
	for _, err := range p.Momentary {
		if errors.Is(err, service.ErrNoReader) { // the others end the set, with an error
			e.Notef("%v: the lines of the log are lost until somebody does", err)
		}
	}
	r.separate(p.Commands, log)
	if e.Processes > 0 {
		return r.runGuardian(ctx, p, log)
	}
	return r.runSet(ctx, p, log)
}

// runSet runs a set in this process.
func (r *runner) runSet(ctx context.Context, p config.Prepared, log zerolog.Logger) (err error) {
	e := r.env
	server := embedded.New() // it costs nothing before the first connection
	defer server.Close()
	if e.Data != "" {
		end, failed := r.openData(ctx, &p.Set.Redis, log)
		if end == nil {
			return failed
		}
		defer func() { err = errors.Join(err, end(ctx)) }()
	} else if !p.Configured {
		p.Set.Redis.Dial = server.Dial
	}
	p.Set.Program = e.Program
	if r.child != nil {
		r.child.Configure(&p.Set)
		boundMemory(e.MaxMemory())
		r.separate(p.Commands, zerolog.Nop()) // the guardian has logged it
	}
	measured := func(*supervisor.Set) {}
	if p.Admin.Addr != "" { // else nobody reads them
		m := metrics.New(metrics.Config{Log: log})
		p.Set.Observer, p.Set.Redis.Hooks = worker.Observers(p.Set.Observer, m), append(p.Set.Redis.Hooks, m.Hook())
		p.Admin.Metrics = m.Handler()
		measured = func(set *supervisor.Set) { m.Watch(context.WithoutCancel(ctx), set) }
	}
	stopTraces := r.trace(ctx, &p, log)
	defer stopTraces()
	set, err := supervisor.New(p.Set, p.App, log)
	if err != nil {
		return config.As(config.ErrUsage, err)
	}
	measured(set)
	p.Admin.LostLines = e.LostLines
	_, stopAdmin, err := r.startAdmin(ctx, set, p.Admin, log)
	if err != nil {
		return err
	}
	defer stopAdmin()
	if !p.Configured && e.Data == "" {
		if err := offer(ctx, e, server, log); err != nil {
			return err
		}
	}
	a, ctx, err := attend(ctx, e.PIDFile, p.Manager, set, log)
	if err != nil {
		return err
	}
	if r.child != nil {
		return a.end(r.serveGuarded(ctx, set, p.Set, log))
	}
	obey := func(ended <-chan struct{}) {
		r.obey(ctx, log, ended, func(what order, all *sync.WaitGroup) { carryOut(ctx, set, what, log, all) })
	}
	return a.end(r.serve(ctx, set, obey, func() string { return set.Report().String() }, log))
}

// openData runs the server of --data, or takes part in that of the guardian, for the connection to. The result
// ends that. It is nil, perhaps without an error, if a signal has stopped the set before it began to work.
func (r *runner) openData(ctx context.Context, to *link.Config, log zerolog.Logger) (end func(context.Context) error, err error) {
	var own interface {
		Redis() link.Config
		Close(ctx context.Context) error
	}
	if r.child != nil {
		own, err = r.env.JoinData(ctx, r.child.Lost(), log)
	} else if opened, failed := r.env.OpenData(ctx, r.inherited.File(dataFile), log); failed == nil {
		own, r.owner = opened, opened.Owner()
	} else {
		err = failed
	}
	switch {
	case err == nil:
		to.URL, to.Dial = own.Redis().URL, nil
		return own.Close, nil
	case ctx.Err() != nil:
		return nil, nil //nolint:nilnil,nilerr // see above
	default:
		return nil, err
	}
}

// separate keeps the programs of command tasks that run as the user of this process from
// reading its secrets in its environment and memory, as far as that can be done.
func (r *runner) separate(commands []config.CommandTask, log zerolog.Logger) {
	var same []string
	for _, c := range commands {
		if !c.Separated() {
			same = append(same, c.Name)
		}
	}
	if len(same) == 0 || r.undumpable == nil {
		return
	}
	log = log.With().Strs("tasks", same).Logger()
	if r.env.Debuggable {
		log.Warn().Msg("programs of these tasks can read this process's environment and memory: " +
			"--debuggable is given, and they have no user of their own")
		return
	}
	done, err := r.undumpable()
	switch {
	case err != nil || !done:
		log.Warn().Err(err).
			Msg("programs of these tasks can read this process's environment and memory, with its secrets: give them a user of their own")
	case os.Geteuid() == 0:
		log.Warn().Msg("programs of these tasks run as root, and can read this process's environment and memory, with its secrets: " +
			"give them a user of their own")
	default:
		log.Info().Msg("this process is closed to debuggers and leaves no core dump, as programs of these tasks run as its user; " +
			"--debuggable would leave it open")
	}
}

// offer opens the socket through which commands reach the embedded Redis, and logs that
// this Redis is used. It returns an error only if the user chose the socket's path.
func offer(ctx context.Context, e *cluster.Env, server *embedded.Server, log zerolog.Logger) error {
	path, err := cluster.Listen(ctx, e.Settings, server)
	if err != nil && e.Socket != "" {
		return err
	}
	log.Info().Str("socket", path).
		Msg("no Redis is configured: using the embedded one, in memory, which ends with this process; set REDIS_URL for a real one")
	if err != nil {
		log.Warn().Err(err).Msg("commands cannot reach this set: no socket")
	}
	return nil
}

// served is a set, or a guardian.
type served interface {
	Serve(ctx context.Context) error
	Hurry()
}

// serve runs the set until it has stopped and logs a report or the error. A set that a
// signal stopped before Redis could be reached counts as a clean end. obey carries out the orders
// of signals until its argument is closed.
func (r *runner) serve(
	ctx context.Context, set served, obey func(ended <-chan struct{}), report func() string, log zerolog.Logger,
) error {
	ended := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { obey(ended) })
	watching.Go(func() {
		select {
		case <-ctx.Done():
			log.Info().Stringer("drain", r.env.Drain).Msg("stopping: running tasks are given time to finish; another signal cuts it to a second")
		case <-ended:
			return
		}
		select {
		case <-r.hurry:
			set.Hurry()
			log.Warn().Msg("stopping within a second; another signal ends the process at once")
		case <-ended:
		}
	})
	err := set.Serve(ctx)
	close(ended)
	watching.Wait()
	if errors.Is(err, supervisor.ErrRedisUnavailable) || errors.Is(err, context.Canceled) {
		if ctx.Err() != nil {
			err = nil // a signal stopped the set before it began to work
		}
	} else {
		log.Info().Str("report", report()).Msg("set has stopped")
	}
	if e, ok := errors.AsType[*guard.ExitError](err); ok && e.Code != exitUnavailable {
		return err // of the command line or the configuration, and told as such
	}
	if err != nil {
		err = r.env.ExplainPassword(err)
		log.Error().Err(err).Int("exit", exitCode(err)).Msg("set has failed")
		return loggedError{err}
	}
	return nil
}

// setTitle sets the process name that tools such as top show, on Linux only.
func setTitle(title string) {
	if title != "" && runtime.GOOS == "linux" {
		_ = os.WriteFile("/proc/self/comm", []byte(title), 0o600)
	}
}
