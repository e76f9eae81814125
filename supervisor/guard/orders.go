package guard

import (
	"context"
	"errors"
	"time"
)

// Orders are the operations on the sets of all children as on one set. The words go over the
// pipes.
const (
	Reload = "reload"
	Roll   = "roll"
	More   = "more" // one node more
	Less   = "less"
	Quiet  = "quiet"
	Resume = "resume"
)

// Order carries out an operation on the children as on one set: one node more or less is one in
// one of them, and a rolling restart goes through them one after the other. It returns when
// all have answered, or ctx ends.
func (g *Guardian) Order(ctx context.Context, what string) error {
	switch what {
	case More, Less:
		s := g.choose(what == More)
		if s == nil {
			return errGone
		}
		return s.order(ctx, what)
	case Roll:
		g.rolling.Lock()
		defer g.rolling.Unlock()
		var errs []error
		for _, s := range g.slots {
			if err := g.awaitReady(ctx); err != nil {
				return errors.Join(append(errs, err)...)
			}
			errs = append(errs, s.order(ctx, what))
		}
		return errors.Join(errs...)
	case Quiet, Resume:
		for _, s := range g.slots { // for the next lives of those that cannot be told now
			s.mu.Lock()
			s.status.Quiet = what == Quiet
			s.mu.Unlock()
		}
	}
	answers := make(chan error, len(g.slots))
	for _, s := range g.slots {
		go func() { answers <- s.order(ctx, what) }()
	}
	var errs []error
	for range g.slots {
		errs = append(errs, <-answers)
	}
	return errors.Join(errs...)
}

// rollReady is how long a rolling restart waits, before it goes on to the next child, for all nodes to run.
const rollReady = 30 * time.Second

func (g *Guardian) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, rollReady)
	defer cancel()
	return g.AwaitReady(ctx)
}

// choose returns the child that has the fewest nodes, or the most.
func (g *Guardian) choose(fewest bool) (best *slot) {
	most := 0
	for _, s := range g.slots {
		status, retired := s.present()
		if retired {
			continue
		}
		if best == nil || (status.Workers < most) == fewest && status.Workers != most {
			best, most = s, status.Workers
		}
	}
	return best
}

// order sends an order to the present life of the child, and returns its answer. Between two lives
// there is nothing to do: the next one begins with new nodes.
func (s *slot) order(ctx context.Context, what string) error {
	s.mu.Lock()
	l := s.life
	s.mu.Unlock()
	if l == nil {
		return nil
	}
	select {
	case err := <-l.send(what):
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
