package guard

import (
	"context"
	"fmt"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/worker/timeline"
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

// next decides after a life whether another life follows, and sets the pause before it.
func (s *slot) next(ctx context.Context, l *life, how string, lived time.Duration) bool {
	log := s.g.log.With().Int("process", s.number).Logger()
	if ctx.Err() != nil {
		s.atEnd(l, how)
		return false
	}
	end := l.end
	switch {
	case l.outgrewAfter > 0 && (end != nil || l.killed):
		return s.nextAfterOutgrowing(l)
	case end == nil:
	case end.Code == codeFlapping:
		s.g.giveUp(fmt.Errorf("%w: the nodes of process %d: %s", supervisor.ErrFlapping, s.number, end.Error))
		return false
	case end.Code != 0 && !end.Asked && !s.g.hasWorked():
		s.g.giveUp(&ExitError{s.number, end.Code, end.Error})
		return false
	case end.Code == codeUsage, end.Code == codeConfig:
		s.again(lived)
		log.Error().Str("how", how).Stringer("pause", s.pause.Round(time.Millisecond)).
			Msg("process cannot begin with the configuration as it is now: the others go on, and it is tried again")
		return true
	case end.Code == 0 && !end.Asked:
		log.Info().Msg("all nodes of the process were stopped: it is not started again")
		return false
	case end.Asked, end.Code == codeUnavailable:
		s.pause = link.Backoff(s.g.cfg.Backoff, s.g.cfg.MaxBackoff, 1)
		log.Warn().Str("how", how).Stringer("pause", s.pause.Round(time.Millisecond)).
			Msg("process has stopped, and not for its guardian: starting it again")
		return true
	}
	s.again(lived)
	s.g.record(timeline.Event{Kind: timeline.Died, Text: fmt.Sprintf("process %d: %s", s.number, how), Took: lived.Milliseconds()})
	if s.g.died(s.number, how, l.hasHadTasks()) {
		return false
	}
	log.Error().Str("how", how).Stringer("lived", lived.Round(time.Millisecond)).Stringer("pause", s.pause.Round(time.Millisecond)).
		Msg("process died: starting it again")
	return true
}

// Exit codes of a child that mean something to its guardian, as of the command run.
const (
	codeUsage         = 2
	codeUnavailable   = 69
	codeFlapping      = 70
	codeDrainDeadline = 75
	codeConfig        = 78
)

// atEnd notes how a child ended that was told to.
func (s *slot) atEnd(l *life, how string) {
	switch {
	case l.end != nil && l.end.Code == 0:
	case l.killed:
		s.g.late(fmt.Errorf("%w: process %d did not end in time and was killed", supervisor.ErrDrainDeadline, s.number))
	case l.end == nil:
		s.g.late(fmt.Errorf("process %d died while it was ending: %s", s.number, how))
	case l.end.Code == codeDrainDeadline:
		s.g.mu.Lock()
		defer s.g.mu.Unlock()
		s.g.report.Running = append(s.g.report.Running, l.end.Report.Running...)
		s.g.report.Unsettled = append(s.g.report.Unsettled, l.end.Report.Unsettled...)
	case l.end.Code == codeUnavailable: // it was stopped before it began to work
	default:
		s.g.late(&ExitError{s.number, l.end.Code, l.end.Error})
	}
}
