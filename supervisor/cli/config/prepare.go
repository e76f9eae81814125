package config

import (
	"errors"

	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/admin"
	"github.com/stellarfw/stellar/worker"
)

// Prepared holds the checked configuration of a set, its health pages and its app.
type Prepared struct {
	Set        supervisor.Config
	Configured bool // a setting gives the address of Redis
	Admin      admin.Config
	App        *worker.App // with the tasks of the configuration file

	Commands  []CommandTask
	Periodics []PeriodicTask
}

// Prepare collects the configuration of a set, makes the app with newApp and registers
// the tasks of the configuration file with it. The error joins all problems found.
func (s *Settings) Prepare(newApp func() (*worker.App, error)) (p Prepared, err error) {
	var errs [5]error
	if p.App, errs[0] = newApp(); p.App == nil && errs[0] == nil {
		errs[0] = errors.New("the program has no app: its App returned nil")
	}
	if errs[0] != nil {
		p.App = worker.NewApp() // to check the rest
	}
	p.Set, errs[1] = s.Set()
	p.Set.Redis, p.Configured, errs[2] = s.Redis()
	p.Admin, errs[3] = s.Admin()
	p.Commands, p.Periodics, errs[4] = s.register(p.App)
	p.App.Deny(s.deny...)
	return p, errors.Join(errs[:]...)
}
