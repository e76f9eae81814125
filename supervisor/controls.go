package supervisor

import (
	"context"
	"time"

	"github.com/stellarfw/stellar/worker/builtin"
)

// Status returns the status of the set, as api.set.status does.
func (s *Set) Status() builtin.SetStatus {
	ready, _ := s.Ready()
	zombies := s.host.Zombies()
	s.mu.Lock()
	defer s.mu.Unlock()
	status := builtin.SetStatus{
		Process: s.host.Process(), Ready: ready, Quiet: s.host.IsQuiet(), Healthy: !zombies.Choked, Redis: s.host.Reachable(),
		Zombies: zombies, Workers: s.staying(), Crashes: s.report.Crashes, Crashed: s.history.list(),
		Aliens: s.host.Aliens(),
	}
	status.Leaving = len(s.slots) - status.Workers
	if s.serving == nil {
		status.Workers = s.cfg.Workers
	} else {
		status.Uptime = time.Since(s.began).Milliseconds()
	}
	if o := s.operation; o.Number > 0 {
		status.Operation = &o
	}
	if s.cfg.Guardian != nil {
		status.GuardianOperation = s.cfg.Guardian.Operation()
	}
	return status
}

// controls implements the methods api.set.* of the set's nodes.
type controls struct {
	*Set

	by string // who asks; "" for the process itself
}

var _ builtin.Controls = controls{}

// By implements builtin.Controls.
func (c controls) By(who string) builtin.Controls { return controls{c.Set, who} } //nolint:ireturn // as that wants it

// Status implements builtin.Controls.
func (c controls) Status() builtin.SetStatus {
	s := c.Set.Status()
	if g := c.cfg.Guardian; g != nil {
		s.Guardian = g.Status()
	}
	return s
}

// Quiet implements builtin.Controls.
func (c controls) Quiet(on bool) error {
	if g := c.cfg.Guardian; g != nil {
		return g.Quiet(on)
	}
	c.quiet(on, c.by)
	return nil
}

// Crashes implements builtin.Controls.
func (c controls) Crashes(id string) builtin.Crashes {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h := c.history[id]; h != nil {
		return h.Crashes
	}
	return builtin.Crashes{}
}

// Scale implements builtin.Controls.
func (c controls) Scale(workers int) error {
	if g := c.cfg.Guardian; g != nil {
		return g.Scale(workers)
	}
	_, err := c.resize(c.by, func(int) int { return workers })
	return err
}

// Roll implements builtin.Controls.
func (c controls) Roll() error {
	if g := c.cfg.Guardian; g != nil {
		return g.Begin(builtin.OperationRoll)
	}
	return c.start(builtin.OperationRoll, c.roll)
}

// Upgrade implements builtin.Controls.
func (c controls) Upgrade() error {
	if g := c.cfg.Guardian; g != nil {
		return g.Begin(builtin.OperationUpgrade)
	}
	return ErrAlone
}

// Reload implements builtin.Controls.
func (c controls) Reload() error {
	if g := c.cfg.Guardian; g != nil {
		return g.Begin(builtin.OperationReload)
	}
	return c.start(builtin.OperationReload, func(ctx context.Context) error { return c.restart(ctx, c.stay()) })
}

// start begins an operation, which goes on in the background. A failure is logged.
func (c controls) start(kind string, do func(context.Context) error) error {
	if err := c.beginOperation(kind, c.by); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.serves() {
		return ErrNotRunning
	}
	ctx := c.serving
	c.background.Go(func() {
		if err := c.endOperation(do(ctx)); err != nil {
			c.log.Error().Err(err).Msg("not all nodes were restarted")
		}
	})
	return nil
}
