package cli

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/supervisor/admin"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/supervisor/cli/service"
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
	return &family{path: programPath(), args: os.Args, environment: os.Environ, stdout: os.Stdout, stderr: os.Stderr}
}

// programPath returns the path where the program of this process lies, and a newer one after it: as it was
// called, with the symbolic links by which another version is put in place.
func programPath() string {
	called, err := exec.LookPath(os.Args[0])
	if err == nil {
		called, err = filepath.Abs(called)
	}
	path, unknown := os.Executable()
	if unknown != nil || err == nil && service.SameFile(called, path) {
		return called
	}
	return path
}

// managerVariables are the variables with which a service manager tells how to talk to it. That is for the
// guardian to do.
var managerVariables = []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}

// split returns the environment of the children, that of a program which takes the guardian's place, and
// the secrets that are in neither.
func (f *family) split() (environment, own []string, secrets map[string]string) {
	secrets = map[string]string{}
	for _, entry := range f.environment() {
		name, value, _ := strings.Cut(entry, "=")
		switch {
		case slices.Contains(config.SecretVariables(), name):
			secrets[name] = value
		case !slices.Contains(managerVariables, name):
			environment = append(environment, entry)
			fallthrough
		default:
			own = append(own, entry)
		}
	}
	return environment, own, secrets
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
	cfg.Environment, cfg.OwnEnvironment, cfg.Secrets = r.family.split()
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
	var server *admin.Server
	var stopAdmin func()
	var g *guard.Guardian
	cfg.Leave = func() (map[string]*os.File, func()) { return r.leaving(ctx, g, p.Admin, &server, &stopAdmin, log) }
	if g, err = guard.Take(cfg, r.inherited); err != nil {
		return err
	}
	p.Admin.LostLines, p.Admin.Listener = r.env.LostLines, r.inherited.File(adminFile+p.Admin.Addr)
	p.Admin = handOver(g, p.Admin)
	if server, stopAdmin, err = r.startAdmin(ctx, g, p.Admin, log); err != nil {
		return err
	}
	p.Admin.Listener = nil
	defer func() { stopAdmin() }() //nolint:gocritic // cfg.Leave may set another one
	r.inherited.Close()
	a, ctx, err := attend(ctx, r.env.PIDFile, p.Manager, g, log)
	if err != nil {
		return err
	}
	log.Info().Int("processes", cfg.Processes).Int("workers", cfg.Workers).Msg("guardian is starting")
	obey := func(ended <-chan struct{}) {
		r.obey(ctx, log, ended, func(what order, all *sync.WaitGroup) {
			kinds := map[order]string{
				orderRoll: builtin.OperationRoll, orderReload: builtin.OperationReload, orderUpgrade: builtin.OperationUpgrade,
			}
			if kind := kinds[what]; kind != "" {
				if err := g.Begin(kind, "a signal"); err != nil {
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
