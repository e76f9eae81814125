package guard

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/worker/builtin"
)

// upgrade replaces all children by the program that now lies at the path from which this one was started,
// and then this program itself. If the new program fails before, all children are those of the program
// that runs.
func (g *Guardian) upgrade(ctx context.Context) error {
	found, err := os.Stat(g.cfg.Path)
	if err != nil {
		return fmt.Errorf("there is no new program, and nothing has changed: %w", err)
	}
	if err := g.try(ctx); err != nil {
		return fmt.Errorf("the program at %s cannot take over, and nothing has changed: %w", g.cfg.Path, err)
	}
	g.log.Info().Str("program", g.cfg.Path).Msg("upgrade: the new program can take over")
	for i, s := range g.slots {
		if err := g.upgradeSlot(ctx, s, found); err != nil {
			return g.goBack(ctx, g.slots[:i], err)
		}
		g.updateOperation(func(o *builtin.Operation) { o.Done++ })
	}
	if err := g.awaitReady(ctx); err != nil {
		return g.goBack(ctx, g.slots, err)
	}
	err = g.sameProgram(found)
	if err == nil {
		err = g.exec(ctx)
	}
	if ctx.Err() != nil {
		return supervisor.ErrNotRunning
	}
	return fmt.Errorf("all processes run the new program, but the guardian stays the one before: %w: upgrade again", err)
}

// try checks whether the new program can take the guardian's place with its arguments and its
// configuration.
func (g *Guardian) try(ctx context.Context) error {
	s := newSlot(g, 0)
	s.trial, s.look = true, func(l *life) { s.lookAfter(ctx, ctx, l) }
	l, err := s.launch(g.cfg.Path)
	if err != nil {
		return err
	}
	s.keep(l)
	over := time.NewTimer(g.cfg.ReadyTime)
	defer over.Stop()
	look := time.NewTicker(heirLook)
	defer look.Stop()
	for {
		select {
		case <-l.over:
			if l.end != nil && l.end.Code == 0 && !l.foreign {
				return nil
			}
			return l.failed()
		case <-look.C:
			if told, _ := l.tells(); told {
				s.dismiss(l)
				return errors.New("it knows no upgrade: end the guardian, and start the new program in its place")
			}
		case <-over.C:
			s.dismiss(l)
			return fmt.Errorf("it has not said so within %s: is it such a program?", g.cfg.ReadyTime)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// mostTries is how often a child is replaced that dies meanwhile.
const mostTries = 5

// upgradeSlot replaces a child by one of the new program.
func (g *Guardian) upgradeSlot(ctx context.Context, s *slot, found os.FileInfo) (err error) {
	for range mostTries {
		if err := g.sameProgram(found); err != nil {
			return err
		}
		if err = g.step(ctx, s, g.cfg.Path); !errors.Is(err, errGone) {
			return err
		}
	}
	return err
}

var errChanged = errors.New("the program on disk has changed meanwhile")

// sameProgram returns an error unless the new program is the one that was found at the beginning.
func (g *Guardian) sameProgram(found os.FileInfo) error {
	now, err := os.Stat(g.cfg.Path)
	if err == nil && (!os.SameFile(now, found) || !now.ModTime().Equal(found.ModTime()) || now.Size() != found.Size()) {
		err = errChanged
	}
	return err
}

// goBack replaces those children again that are of the new program, which has failed with err.
func (g *Guardian) goBack(ctx context.Context, done []*slot, err error) error {
	if ctx.Err() != nil {
		return supervisor.ErrNotRunning
	}
	g.log.Error().Err(err).Int("processes", len(done)).Msg("upgrade fails: going back to the program that runs")
	var errs []error
	for _, s := range done {
		s.mu.Lock()
		s.path = g.cfg.ownPath() // also for its next life, if it dies
		s.mu.Unlock()
		again := g.step(ctx, s, g.cfg.ownPath())
		if again != nil && !errors.Is(again, errGone) {
			errs = append(errs, again)
			continue
		}
		g.updateOperation(func(o *builtin.Operation) { o.Done-- })
	}
	if len(errs) > 0 {
		return fmt.Errorf("%w; not all processes are back at the program that runs: %w", err, errors.Join(errs...))
	}
	return fmt.Errorf("%w; all processes run the program as before", err)
}
