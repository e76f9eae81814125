package cli

import (
	"context"
	"errors"
	"os"
	"runtime"
	"sync"

	"github.com/rs/zerolog"
	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/redisbus/embedded"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/admin"
)

func (p *program) runCommand() *urfave.Command {
	return &urfave.Command{
		Name: "run", Usage: "run a set of nodes until it is told to stop (what stellar does without a command)",
		Description: "TERM or Ctrl-C stops it: running tasks have --drain to finish. A second signal cuts that to a second,\n" +
			"a third one ends the process at once. HUP restarts all nodes, USR2 one after the other; TTIN and TTOU start one\n" +
			"more and stop one; TSTP (Ctrl-Z) makes it claim no more tasks, CONT ends that.",
		Flags: p.runFlags(), ArgValidator: noArguments, Action: p.action(p.run),
	}
}

// run is the command of that name. From the moment there is a log, what goes
// wrong goes there.
func (p *program) run(ctx context.Context, _ []string) error {
	r, err := p.prepare()
	if err != nil {
		return err
	}
	p.setTitle()
	log, err := p.logger()
	if err != nil {
		return err
	}
	server := embedded.New() // it costs nothing before the first connection
	defer server.Close()
	if !r.configured {
		r.Redis.Dial = server.Dial
	}
	set, err := supervisor.New(r.Config, p.app, log)
	if err != nil {
		return &kindError{errUsage, err}
	}
	stopAdmin, err := p.startAdmin(ctx, set, r.admin, log)
	if err != nil {
		return err
	}
	defer stopAdmin()
	if !r.configured {
		if err := p.offer(ctx, server, log); err != nil {
			return err
		}
	}
	attendant, ctx, err := p.attend(ctx, set, log)
	if err != nil {
		return err
	}
	return attendant.end(p.serve(ctx, set, log))
}

// offer says which Redis this is and opens its socket for the commands.
func (p *program) offer(ctx context.Context, server *embedded.Server, log zerolog.Logger) error {
	path, err := p.listen(ctx, server)
	if err != nil && p.socket != "" {
		return err
	}
	log.Info().Str("socket", path).
		Msg("no Redis is configured: using the embedded one, in memory, which ends with this process; set REDIS_URL for a real one")
	if err != nil {
		log.Warn().Err(err).Msg("commands cannot reach this set: no socket")
	}
	return nil
}

// serve runs the set until it has stopped, and reports.
func (p *program) serve(ctx context.Context, set *supervisor.Set, log zerolog.Logger) error {
	ended := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { p.obey(ctx, set, log, ended) })
	watching.Go(func() {
		select {
		case <-ctx.Done():
			log.Info().Stringer("drain", p.drain).Msg("stopping: running tasks are given time to finish; another signal cuts it to a second")
		case <-ended:
			return
		}
		select {
		case <-p.hurry:
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
			err = nil // told to stop before it began
		}
	} else {
		log.Info().Str("report", set.Report().String()).Msg("set has stopped")
	}
	if err != nil {
		log.Error().Err(err).Int("exit", exitCode(err)).Msg("set has failed")
		return loggedError{err}
	}
	return nil
}

// startAdmin serves the health pages, where they are wanted, until it is told
// to stop: after the set, so that they can tell of its drain.
func (p *program) startAdmin(ctx context.Context, set *supervisor.Set, cfg admin.Config, log zerolog.Logger) (stop func(), err error) {
	if p.adminAddr == "" {
		return func() {}, nil
	}
	cfg.Set = set
	server, err := admin.Listen(ctx, cfg)
	if err != nil {
		return nil, err
	}
	log.Info().Str("address", server.Addr().String()).Msg("serving the health pages")
	serving, cancel := context.WithCancel(context.WithoutCancel(ctx))
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := server.Serve(serving); err != nil {
			log.Error().Err(err).Msg("health pages")
		}
	}()
	return func() { cancel(); <-served }, nil
}

// explainAdmin tells what to do about an address of the health pages.
func (p *program) explainAdmin(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, admin.ErrTokenNeeded):
		return configf("%w: set %s or %[2]s_FILE, or use 127.0.0.1", err, adminToken)
	default:
		return p.input.problem("admin-addr", "%w", err)
	}
}

// setTitle names the process for tools such as top, where the system lets it.
func (p *program) setTitle() {
	if p.title != "" && runtime.GOOS == "linux" {
		_ = os.WriteFile("/proc/self/comm", []byte(p.title), 0o600)
	}
}
