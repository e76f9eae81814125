package guard

import (
	"context"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker"
)

// settle hands over what the nodes of a dead child owned. The channel is closed when that is done, or
// has been given up.
func (s *slot) settle(ctx context.Context, l *life) <-chan struct{} {
	done := make(chan struct{})
	if s.g.cfg.Settler == nil || l.end != nil && len(l.end.Report.Running) == 0 && len(l.end.Report.Unsettled) == 0 {
		s.g.paid(l)
		close(done)
		return done
	}
	log := s.g.log.With().Int("process", s.number).Int("pid", l.pid).Logger()
	s.g.settling.Go(func() {
		defer close(done)
		began := time.Now()
		settled, err := s.g.cfg.Settler.Settle(ctx, l.launch, l.abandoned)
		l.hadTasks = settled.HandedOn+settled.Quarantined > 0
		s.g.addSettled(settled)
		event := log.Warn().Int("nodes", settled.Nodes).Int("handedOn", settled.HandedOn).Int("quarantined", settled.Quarantined).
			Stringer("took", time.Since(began).Round(10*time.Microsecond))
		if len(settled.Dead) > 0 {
			event = event.Strs("quarantinedTasks", settled.Dead)
		}
		if err != nil {
			event.Err(err).Msg("not all of what the process owned was handed over: others do it when its leases have run out")
			return
		}
		event.Msg("took over from the process")
	})
	s.g.settling.Go(func() {
		s.settleJoins(ctx, l, done)
		s.g.paid(l)
	})
	return done
}

func (g *Guardian) addSettled(by worker.Settled) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.report.Lives += by.Nodes
	g.report.HandedOn += by.HandedOn
	g.report.Quarantined += by.Quarantined
}

// settleLater is when the guardian looks again for nodes of a dead child, whose request to join
// was under way when it died.
var settleLater = []time.Duration{250 * time.Millisecond, 2 * time.Second}

func (s *slot) settleJoins(ctx context.Context, l *life, first <-chan struct{}) {
	<-first
	for _, pause := range settleLater {
		if s.g.stopping() || link.Sleep(ctx, pause) != nil {
			return
		}
		if settled, err := s.g.cfg.Settler.Settle(ctx, l.launch, nil); err == nil && settled.Nodes > 0 {
			s.g.log.Info().Int("process", s.number).Int("nodes", settled.Nodes).Msg("removed nodes that joined when their process was dead")
		}
	}
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
