package cli

import (
	"context"
	"errors"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/supervisor/guard"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/builtin"
)

// family is what a guardian starts its children with.
type family struct {
	path           string // of the program
	args           []string
	environment    func() []string
	stdout, stderr *os.File
	limits         func(*guard.Config) // changes them for a test; nil for none
}

func osFamily() *family {
	path, err := os.Executable()
	if err != nil {
		path = os.Args[0]
	}
	return &family{path: path, args: os.Args, environment: os.Environ, stdout: os.Stdout, stderr: os.Stderr}
}

// managerVariables are the variables with which a service manager tells how to talk to it. That is for the
// guardian to do.
var managerVariables = []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}

// split returns the environment of the children, and the secrets that are not in it.
func (f *family) split() (environment []string, secrets map[string]string) {
	secrets = map[string]string{}
	for _, entry := range f.environment() {
		name, value, _ := strings.Cut(entry, "=")
		switch {
		case slices.Contains(config.SecretVariables(), name):
			secrets[name] = value
		case !slices.Contains(managerVariables, name):
			environment = append(environment, entry)
		}
	}
	return environment, secrets
}

// The heap of a guardian is small: it has little to remember, and collects early.
const (
	guardianGC     = 25 // percent
	guardianMemory = 8 << 20
)

// runGuardian runs the set in child processes.
func (r *runner) runGuardian(ctx context.Context, p config.Prepared, log zerolog.Logger) (err error) {
	if r.family == nil {
		return config.Usagef("--processes: this process cannot start others")
	}
	debug.SetGCPercent(guardianGC)
	debug.SetMemoryLimit(guardianMemory)
	cfg := guard.Config{
		Processes: r.env.Processes, Workers: max(p.Set.Workers, 0), Path: r.family.path, Args: r.family.args,
		Stdout: r.family.stdout, Stderr: r.family.stderr, Drain: stopTime(p.Set.Drain, p.Set.Grace),
		MaxMemory: r.env.MaxMemory(), Log: log,
	}
	cfg.Environment, cfg.Secrets = r.family.split()
	if r.env.Data != "" {
		end, failed := r.openData(ctx, &p.Set.Redis, log)
		if end == nil {
			return failed
		}
		defer func() { err = errors.Join(err, end(ctx)) }()
	}
	if p.Configured || r.env.Data != "" {
		settler, err := worker.NewSettler(p.Set.Redis, log)
		if err != nil {
			return err
		}
		defer func() { _ = settler.Close() }()
		cfg.Settler = settler
	}
	if r.family.limits != nil {
		r.family.limits(&cfg)
	}
	g := guard.New(cfg)
	p.Admin.LostLines = r.env.LostLines
	stopAdmin, err := r.startAdmin(ctx, g, handOver(g, p.Admin), log)
	if err != nil {
		return err
	}
	defer stopAdmin()
	a, ctx, err := attend(ctx, r.env.PIDFile, p.Manager, g, log)
	if err != nil {
		return err
	}
	log.Info().Int("processes", cfg.Processes).Int("workers", cfg.Workers).Msg("guardian is starting")
	obey := func(ended <-chan struct{}) {
		r.obey(ctx, log, ended, func(what order, all *sync.WaitGroup) {
			if what == orderRoll {
				if err := g.Begin(builtin.OperationRoll, "a signal"); err != nil {
					log.Warn().Err(err).Str("order", string(what)).Msg("not done")
				}
				return
			}
			all.Go(func() {
				if err := g.Order(context.WithoutCancel(ctx), guardianOrders[what]); err != nil {
					log.Error().Err(err).Str("order", string(what)).Msg("not done")
				}
			})
		})
	}
	return a.end(r.serve(ctx, g, obey, func() string { return g.Report().String() }, log))
}

// stopTime is how long a process that has been told to stop may take, with all that is bounded by itself.
func stopTime(drain, grace time.Duration) time.Duration { return drain + 3*grace + 5*time.Second }

// guardianOrders are the orders of signals in the words of the guardian.
var guardianOrders = map[order]string{
	orderReload: guard.Reload, orderMore: guard.More, orderLess: guard.Less, orderQuiet: guard.Quiet,
	orderResume: guard.Resume,
}
