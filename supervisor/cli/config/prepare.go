package config

import (
	"context"
	"errors"
	"net"

	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/admin"
	"github.com/stellarfw/stellar/worker"
)

// Prepared holds the checked configuration of a set, its health pages and its app.
type Prepared struct {
	Set        supervisor.Config
	Configured bool // a setting gives the address of Redis
	Admin      admin.Config
	Manager    Manager
	App        *worker.App // with the tasks of the configuration file

	Commands  []CommandTask
	Periodics []PeriodicTask

	// Momentary is what is in the way at the moment and no mistake of the configuration: a
	// process, perhaps the one which the configuration is for, has the pidfile or the address
	// of the health pages; nobody reads the log's pipe.
	Momentary []error
	// Remarks are on what may be meant so, such as a secret that others can read.
	Remarks []string
}

// Prepare makes the app with newApp, registers the tasks of the configuration file with
// it, and collects and checks everything that a set needs to run. The commands that run a
// set and that check or show its configuration all call it and nothing else: the error
// joins all mistakes that are found. It starts nothing.
func (s *Settings) Prepare(ctx context.Context, newApp func() (*worker.App, error)) (p Prepared, err error) {
	errs := []error{s.Check()}
	also := func(err error) { errs = append(errs, err) }
	alsoMomentary := func(momentary []error, err error) {
		p.Momentary = append(p.Momentary, momentary...)
		also(err)
	}
	alsoMomentary(s.checkFiles())
	p.Remarks = s.exposedSecrets()
	p.App, err = newApp()
	if p.App == nil && err == nil {
		err = errors.New("the program has no app: its App returned nil")
	}
	if also(err); err != nil {
		p.App = worker.NewApp() // to check the rest
	}
	p.Set, err = s.Set()
	also(err)
	p.Set.Redis, p.Configured, err = s.Redis()
	also(err)
	if p.Configured || s.Data != "" {
		also(s.checkFileLimit(fileLimit()))
	} else {
		also(s.checkSocket())
	}
	also(s.checkProcesses(p.Configured || s.Data != ""))
	if !p.Configured {
		p.Set.Redis.Dial = noDial
	}
	alsoMomentary(s.checkDataDir(ctx))
	if p.Admin, err = s.Admin(); err != nil {
		also(err)
	} else {
		alsoMomentary(s.checkAdmin(ctx, p.Admin))
	}
	p.Manager, err = s.Manager()
	also(err)
	p.Commands, p.Periodics, err = s.register(p.App)
	also(err)
	p.App.Deny(s.deny...)
	if err := p.App.Err(); err != nil {
		also(As(ErrUsage, err))
	}
	if err = errors.Join(errs...); err == nil { // otherwise it would repeat what is known
		if err = p.Set.Validate(); err != nil {
			err = As(ErrUsage, err)
		}
	}
	return p, err
}

// noDial stands for the connection to the Redis, embedded or with a data directory, which the command run starts.
func noDial(context.Context) (net.Conn, error) { return nil, errors.New("there is no Redis yet") }
