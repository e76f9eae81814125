package guard

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stellarfw/stellar/worker/timeline"
)

// outgrows reports, and logs, that the child needs more memory than it may.
func (l *life) outgrows() bool {
	most := l.slot.g.cfg.MaxMemory
	if most <= 0 {
		return false
	}
	has := residentMemory(l.pid)
	if has <= most {
		return false
	}
	l.outgrewAfter = time.Since(l.began)
	l.slot.g.record(timeline.Event{
		Kind: timeline.Died, Text: fmt.Sprintf("process %d needs more memory than --max-memory and is replaced", l.slot.number),
		Took: l.outgrewAfter.Milliseconds(),
	})
	l.slot.g.log.Warn().Int("process", l.slot.number).Int("pid", l.pid).Int64("MiB", has>>20).Int64("maxMiB", most>>20).
		Stringer("lived", l.outgrewAfter.Round(time.Millisecond)).Msg("process needs more memory than --max-memory: replacing it")
	return true
}

// renew replaces a life that has outgrown Config.MaxMemory, as a rolling restart does: one child at a time, for children
// with the same work outgrow it together, and the new life runs before this one drains. A life that was short is
// not worth it: it drains at once, and what follows it has to wait.
func (s *slot) renew(ctx context.Context, l *life) {
	if l.outgrewAfter >= s.g.cfg.LongLife && s.g.turn(ctx, l) {
		err := s.replace(ctx, l, s.program())
		<-s.g.renewing
		if err == nil || errors.Is(err, errGone) {
			return
		}
		s.g.log.Warn().Err(err).Int("process", s.number).
			Msg("no new process could take over from the one that needs too much memory: it drains first")
	}
	l.depart()
}

// turnTime is how long a child that needs too much memory waits until another one is replaced.
const turnTime = 30 * time.Second

// turn waits until no other child is replaced because of its memory. It returns false if that takes too long, or
// the life ends.
func (g *Guardian) turn(ctx context.Context, l *life) bool {
	t := time.NewTimer(turnTime)
	defer t.Stop()
	select {
	case g.renewing <- struct{}{}:
		return true
	case <-t.C:
	case <-l.over:
	case <-ctx.Done():
	}
	return false
}

// nextAfterOutgrowing is next for a child that has outgrown Config.MaxMemory and that no new life has replaced: it
// starts again at once, but counts as one that has died if it was not even alive for long.
func (s *slot) nextAfterOutgrowing(l *life) bool {
	if l.outgrewAfter >= s.g.cfg.LongLife {
		s.failures, s.pause = 0, 0
		return true
	}
	s.again(l.outgrewAfter)
	return !s.g.failed(s.number, fmt.Sprintf("it needed more memory than --max-memory (%d MiB) %s after its start",
		s.g.cfg.MaxMemory>>20, l.outgrewAfter.Round(time.Second)))
}
