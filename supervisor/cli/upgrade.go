package cli

import (
	"context"
	"os"
	"time"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/supervisor/admin"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/supervisor/guard"
)

// Names of the files that a guardian leaves to the program which takes its place in an upgrade.
const (
	adminFile = "admin " // and the address: the listener of the health pages
	dataFile  = "data"   // the lock of the data directory's owner
)

// inherit returns what the guardian has left that ran another program in this process, or nil if there was
// none. Then the process has the secrets of that one's environment.
func inherit(p *Process) (*guard.Inheritance, error) {
	if p.family == nil {
		return nil, nil //nolint:nilnil // there is none
	}
	value, ok := os.LookupEnv(guard.StateVariable)
	if !ok {
		return nil, nil //nolint:nilnil // there is none
	}
	i, err := guard.Inherit(value)
	if err != nil {
		return nil, err
	}
	_ = os.Unsetenv(guard.StateVariable)
	for name, secret := range i.Secrets() {
		if err := os.Setenv(name, secret); err != nil {
			return nil, err
		}
	}
	return i, nil
}

// errNoProcesses reports a configuration with which a guardian cannot be replaced.
var errNoProcesses = config.Usagef(
	"the configuration has no --processes any more: end the guardian, and start the new program in its place",
)

// checks reports whether this process only says whether it could take its guardian's place. The
// configuration is checked by then.
func (r *runner) checks() bool { return r.child != nil && r.child.Checks() }

// detachTime is how long requests of the health pages may take that are under way before another
// program takes the guardian's place.
const detachTime = time.Second

// leaving returns what a guardian does before another program takes its place: it serves the health pages no
// more, while their listener is kept open. server and stop point to the pages and to what ends them.
func (r *runner) leaving(
	ctx context.Context, g *guard.Guardian, cfg admin.Config, server **admin.Server, stop *func(), log zerolog.Logger,
) (files map[string]*os.File, back func()) {
	files = map[string]*os.File{}
	if r.owner != nil {
		files[dataFile] = r.owner
	}
	if *server == nil {
		return files, func() {}
	}
	answering, cancel := context.WithTimeout(context.WithoutCancel(ctx), detachTime)
	defer cancel()
	f, err := (*server).Detach(answering)
	if err != nil {
		log.Error().Err(err).Msg("health pages: the new program opens their address anew")
		return files, func() {}
	}
	files[adminFile+cfg.Addr] = f
	(*stop)()
	return files, func() {
		cfg.Listener = f
		*server, *stop, err = r.startAdmin(ctx, g, cfg, log)
		if err != nil {
			*stop = func() {}
			log.Error().Err(err).Msg("health pages")
		}
	}
}
