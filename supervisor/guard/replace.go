package guard

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/supervisor"
)

// replace has a new life of the program at path take the place of the present one: it is started
// beside it, and when all its nodes run, the present one drains. replace returns when that has ended.
// If the new one fails before, it ends, and the present one stays as it is. old is the present one, or was.
func (s *slot) replace(ctx context.Context, old *life, path string) error {
	if old == nil || s.present() != old {
		return errGone
	}
	heir, err := s.launch(path)
	if err != nil {
		return fmt.Errorf("it cannot be started: %w", err)
	}
	if !s.keep(heir) {
		_ = heir.process.Kill()
		return errGone
	}
	if err = heir.awaitReady(ctx); err == nil {
		err = s.inherit(ctx, old, heir, path)
	}
	if err != nil {
		s.dismiss(heir)
		return err
	}
	log := s.g.log.With().Int("process", s.number).Int("pid", heir.pid).Int("before", old.pid).Logger()
	log.Info().Msg("new process has taken over: the one before it drains")
	<-old.over // its drain has a bound
	if old.end == nil || old.end.Code != 0 {
		log.Warn().Str("how", old.how()).Msg("the process before has not ended cleanly: what it had in hand is handed over")
	}
	return nil
}

// depart has the life drain.
func (l *life) depart() { l.left.Do(func() { close(l.leave) }) }

// present returns the present life, or nil.
func (s *slot) present() *life {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.life
}

// heirLook is how often it is looked whether the nodes of a new life run.
const heirLook = 10 * time.Millisecond

// awaitReady waits until all nodes of the life run.
func (l *life) awaitReady(ctx context.Context) error {
	bound := l.slot.g.cfg.ReadyTime
	over := time.NewTimer(bound)
	defer over.Stop()
	look := time.NewTicker(heirLook)
	defer look.Stop()
	for {
		told, status := l.tells()
		select {
		case <-l.over:
			return l.failed()
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-over.C:
			if !told {
				return fmt.Errorf("%w within %s: the new process %d has told nothing of itself", supervisor.ErrNotBack, bound, l.pid)
			}
			return fmt.Errorf("%w within %s: %d of %s of the new process %d ready",
				supervisor.ErrNotBack, bound, status.Ready, link.Count(status.Workers, "node"), l.pid)
		case <-look.C:
			if told && status.Ready >= status.Workers && status.Redis {
				return nil
			}
		}
	}
}

func (l *life) tells() (told bool, status Status) {
	l.slot.mu.Lock()
	defer l.slot.mu.Unlock()
	return l.told, l.status
}

// failed says how a new life has ended that was to go on.
func (l *life) failed() error {
	switch {
	case l.foreign:
		return errVersion
	case l.end != nil && l.end.Code != 0:
		return &ExitError{l.slot.number, l.end.Code, l.end.Error}
	}
	return fmt.Errorf("the new process %d has ended before its nodes ran: %s", l.pid, l.how())
}

// inherit makes the heir the present life, with what the old one was told meanwhile, and has the old
// one drain.
func (s *slot) inherit(ctx context.Context, old, heir *life, path string) error {
	s.mu.Lock()
	if s.life != old || s.retired {
		s.mu.Unlock()
		return errGone
	}
	want := s.status
	s.install(heir)
	s.path, old.heir = path, heir
	old.depart()
	now := heir.status
	s.mu.Unlock()

	var words []string
	switch {
	case want.Quiet && !now.Quiet:
		words = append(words, Quiet)
	case now.Quiet && !want.Quiet:
		words = append(words, Resume)
	}
	var errs []error
	if want.Workers != now.Workers {
		errs = append(errs, s.send(ctx, Order{What: Scale, Workers: want.Workers}))
	}
	for _, word := range words {
		errs = append(errs, s.order(ctx, word))
	}
	if err := errors.Join(errs...); err != nil {
		s.g.log.Warn().Err(err).Int("process", s.number).Msg("the new process is not told all that the one before was")
	}
	return nil
}

// dismiss ends a life that is not to take another one's place. One that has told nothing of itself has
// nothing to drain.
func (s *slot) dismiss(l *life) {
	told, _ := l.tells()
	if !told {
		_ = l.process.Kill()
	}
	l.depart()
	s.g.dismissed.Go(func() { <-l.over })
}
