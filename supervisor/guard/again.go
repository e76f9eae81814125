package guard

import (
	"context"
	"fmt"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
)

// again sets the pause before the next life, after one that failed and had lasted that long.
func (s *slot) again(lived time.Duration) {
	if lived >= s.g.cfg.LongLife {
		s.failures = 0
	}
	s.failures++
	s.pause = link.Backoff(s.g.cfg.Backoff, s.g.cfg.MaxBackoff, s.failures)
}

// notStarted decides whether it is tried again to start a child, which the system has refused: it may lack
// process numbers, files or memory for the moment, which says nothing of the children that live. Before one
// has worked, the error counts as a death.
func (s *slot) notStarted(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	s.again(0)
	how := fmt.Sprintf("it cannot be started: %v", err)
	if !s.g.hasWorked() && s.g.failed(s.number, how) {
		return false
	}
	s.g.log.Error().Err(err).Int("process", s.number).Stringer("pause", s.pause.Round(time.Millisecond)).
		Msg("process cannot be started: trying it again")
	return true
}

// awaitSettled waits a while until what the dead life owned has been handed over.
func (l *life) awaitSettled(ctx context.Context) {
	t := time.NewTimer(settleFirst)
	defer t.Stop()
	select {
	case <-l.settled:
	case <-t.C:
	case <-ctx.Done():
	}
}

// hasHadTasks reports whether the life is known to have had tasks when it died. Their deaths are counted, and
// the third puts a task aside: so few tasks that end their process do not end all processes.
func (l *life) hasHadTasks() bool {
	select {
	case <-l.settled:
		return l.hadTasks
	default:
		return false
	}
}
