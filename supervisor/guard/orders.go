package guard

import (
	"context"
	"errors"
	"fmt"

	"github.com/stellarfw/stellar/supervisor"
)

// Orders are the operations on the sets of all children as on one set. The words go over the
// pipes.
const (
	Reload = "reload"
	More   = "more" // one node more
	Less   = "less"
	Quiet  = "quiet"
	Resume = "resume"
	Scale  = "scale" // each to so many nodes
)

// askStatus is what a child asks for to know the sum of all sets.
const askStatus = "status"

// Order carries out an operation on the children as on one set: one node more or less is one in
// one of them. It returns when all have answered, or ctx ends.
func (g *Guardian) Order(ctx context.Context, what string) error {
	switch what {
	case More, Less:
		s := g.choose(what == More)
		if s == nil {
			return errGone
		}
		return s.order(ctx, what)
	case Quiet, Resume:
		for _, s := range g.slots { // for the next lives of those that cannot be told now
			s.mu.Lock()
			s.status.Quiet = what == Quiet
			s.mu.Unlock()
		}
	}
	return g.orderAll(ctx, Order{What: what})
}

// Scale has each child run so many nodes, also in its next lives.
func (g *Guardian) Scale(ctx context.Context, workers int) error {
	if workers < 0 || workers > supervisor.MaxWorkers {
		return fmt.Errorf("%w: %d is not between 0 and %d", supervisor.ErrSize, workers, supervisor.MaxWorkers)
	}
	for _, s := range g.slots {
		s.mu.Lock()
		s.status.Workers = workers
		s.mu.Unlock()
	}
	return g.orderAll(ctx, Order{What: Scale, Workers: workers})
}

func (g *Guardian) orderAll(ctx context.Context, what Order) error {
	answers := make(chan error, len(g.slots))
	for _, s := range g.slots {
		go func() { answers <- s.send(ctx, what) }()
	}
	var errs []error
	for range g.slots {
		errs = append(errs, <-answers)
	}
	return errors.Join(errs...)
}

// choose returns the child that has the fewest nodes, or the most.
func (g *Guardian) choose(fewest bool) (best *slot) {
	most := 0
	for _, s := range g.slots {
		status, retired := s.state()
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
func (s *slot) order(ctx context.Context, what string) error { return s.send(ctx, Order{What: what}) }

func (s *slot) send(ctx context.Context, what Order) error {
	l := s.present()
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
