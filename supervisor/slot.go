package supervisor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/thejerf/suture/v4"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/group"
	"github.com/stellarfw/stellar/worker/membership"
)

// slot is the place of one node in the set: it lives one life after the other.
type slot struct {
	set    *Set
	number int
	place  context.Context //nolint:containedctx // the slot's own: it ends when the set is scaled down below it
	leave  context.CancelFunc
	gone   chan struct{} // closed when it has left the set

	mu       sync.Mutex
	node     *worker.Node
	id       string // of the last life, preferred in the next
	failures int    // crashes in a row
	pause    time.Duration
	crashAt  time.Time // when it crashed or lost its lease; zero after any other end
	refused  int       // times in a row that another had the id
	failure  error     // with which the last life ended
}

func newSlot(ctx context.Context, set *Set, number int) *slot {
	s := &slot{set: set, number: number, gone: make(chan struct{})}
	s.place, s.leave = context.WithCancel(ctx)
	return s
}

// longLife is how long a node must have lived for its crash to count as the first.
const longLife = time.Minute

// errNextLife makes suture start the slot again.
var errNextLife = errors.New("next life")

func (s *slot) String() string { return fmt.Sprintf("slot %d", s.number) }

// name is the id of the node, or the slot's own name before it has one.
func (s *slot) name() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.named()
}

// named is [slot.name] for who holds s.mu.
func (s *slot) named() string {
	if s.node != nil && s.node.ID() != "" {
		return s.node.ID()
	}
	if s.id != "" {
		return s.id
	}
	return s.String()
}

func (s *slot) current() *worker.Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.node
}

// running is the node of the slot, if it runs.
func (s *slot) running() *worker.Node {
	if n := s.current(); n != nil && n.State() == membership.Running {
		return n
	}
	return nil
}

// leaving reports whether no life follows the one under way.
func (s *slot) leaving() bool { return s.place.Err() != nil }

// describe says for an operator why the node does not run.
func (s *slot) describe() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := s.named() + " is between two lives"
	if s.node != nil {
		text = s.named() + " is " + string(s.node.State())
	}
	if s.failure != nil && !errors.Is(s.failure, worker.ErrRestart) {
		text += fmt.Sprintf(", its last life ended with: %v", s.failure)
	}
	return text
}

// Serve lives one life of the node, after the pause that its crashes demand.
// Whatever the node ended with, only these leave it: errNextLife, and
// suture.ErrTerminateSupervisorTree, which ends the slot's own supervisor; an
// error of a handler must not steer the tree.
func (s *slot) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	unbind := context.AfterFunc(s.place, cancel)
	defer unbind()
	stopped := false
	if link.Sleep(ctx, s.pause) == nil {
		lived, err := s.live(ctx)
		if s.next(ctx, err, lived) {
			return errNextLife
		}
		stopped = ctx.Err() == nil && errors.Is(err, worker.ErrStop)
	}
	s.leave() // also where the node was stopped by request
	s.set.left(s, stopped)
	close(s.gone)
	return suture.ErrTerminateSupervisorTree
}

// live lives one life and returns how it ended and how long it was.
func (s *slot) live(ctx context.Context) (lived time.Duration, err error) {
	n := s.set.host.NewNode(worker.NodeConfig{
		Prefix: s.set.cfg.WorkerPrefix, ID: s.set.cfg.ID, Prefer: s.id,
		Concurrency: s.set.cfg.Concurrency, Queues: s.set.cfg.Queues, Weights: s.set.cfg.Weights,
		Drain: s.set.cfg.Drain, Grace: s.set.cfg.Grace,
		Hurry: s.set.hurry,
	})
	s.mu.Lock()
	s.node = n
	s.mu.Unlock()
	began := time.Now()
	watching, watched := context.WithCancel(ctx)
	go s.watch(watching, n, s.crashAt, s.failure)
	err = n.Serve(ctx)
	watched()
	ended := n.Ended()
	s.set.tally(ended)
	s.mu.Lock()
	if ended.ID != "" {
		s.id = ended.ID
	}
	s.node, s.failure = nil, err
	s.mu.Unlock()
	if ended.ID != "" {
		s.refused = 0
	}
	return time.Since(began), err
}

// watch logs when the node runs after a crash, how long that took, and that a lease
// had been lost.
func (s *slot) watch(ctx context.Context, n *worker.Node, endedAt time.Time, why error) {
	select {
	case <-n.Running():
	case <-ctx.Done():
		return
	}
	if endedAt.IsZero() {
		return
	}
	level, text := zerolog.InfoLevel, "node is back after its crash"
	if errors.Is(why, membership.ErrLeaseLost) {
		level, text = zerolog.WarnLevel, "node is back as a new incarnation: it had lost its lease, and with it what it had in hand"
	} else {
		why = nil // the log has it
	}
	s.set.log.WithLevel(level).Str("node", n.ID()).Err(why).Stringer("after", time.Since(endedAt).Round(time.Millisecond)).Msg(text)
}

// next decides what follows a life, and reports whether another does.
func (s *slot) next(ctx context.Context, err error, lived time.Duration) bool {
	switch {
	case ctx.Err() != nil, errors.Is(err, worker.ErrStop):
		s.ending(err, lived)
		return false
	case err == nil, errors.Is(err, worker.ErrRestart):
		s.pause, s.failures, s.crashAt = 0, 0, time.Time{}
		return true
	case errors.Is(err, membership.ErrLeaseLost):
		// Not a crash: Redis was away or forgot it, or the process was paused. The
		// pause is for a Redis that forgets again and again.
		s.pause, s.crashAt = link.Backoff(s.set.cfg.Backoff, s.set.cfg.MaxBackoff, 1), time.Now()
		return true
	case errors.Is(err, membership.ErrIDTaken):
		return s.awaitID(err)
	case errors.Is(err, link.ErrLayout):
		s.set.giveUp(err)
		return false
	}
	s.crashAt = time.Now()
	if lived >= longLife {
		s.failures = 0
	}
	s.failures++
	s.pause = link.Backoff(s.set.cfg.Backoff, s.set.cfg.MaxBackoff, s.failures)
	s.logCrash(err, lived, s.pause, "node crashed: starting it again")
	return !s.set.crashed(s.name(), err)
}

// ending makes known with what a node ended that was ending anyway.
func (s *slot) ending(err error, lived time.Duration) {
	const text = "node failed while it was ending"
	switch {
	case err == nil, errors.Is(err, worker.ErrStop), errors.Is(err, worker.ErrRestart):
	case errors.Is(err, membership.ErrLeaseLost), errors.Is(err, membership.ErrIDTaken):
		// No crash, as in a node that is not ending: it is not remembered as one.
		s.set.log.Warn().Str("node", s.name()).Err(err).Stringer("lived", lived.Round(time.Millisecond)).Msg(text)
	default:
		// A crash to be seen. It does not count towards flapping: what could be
		// stopped is stopping.
		s.logCrash(err, lived, 0, text)
	}
}

// idTries is how often a node asks for an id that another has, an eighth of a lease
// apart: longer than a dead process keeps it, also where everybody gets one more
// lease because nobody could look.
const idTries = 20

// awaitID prepares to ask again for the id that another node has, and reports
// whether there is a point in it. After a crash of the whole process it is the
// process's own, until its lease has run out; that is no crash of this node.
func (s *slot) awaitID(err error) bool {
	s.refused++
	if s.refused >= idTries {
		s.set.giveUp(err)
		return false
	}
	if s.refused == 1 {
		s.set.log.Warn().Err(err).Msg("waiting for the id: who had it may have died, and keeps it for a lease")
	}
	s.pause = cmp.Or(s.set.cfg.Times.Lease, membership.DefaultLease) / 8
	return true
}

// logCrash remembers a crash and logs it: at full length for a new reason, in short
// for a reason that the log has already. The pause is that before the
// next life, 0 where none follows.
func (s *slot) logCrash(err error, lived, pause time.Duration, text string) {
	stack := stackOf(err)
	times := s.set.remember(s.name(), err, stack)
	level := zerolog.WarnLevel
	if times == 1 {
		level = zerolog.ErrorLevel
	}
	s.set.log.WithLevel(level).Str("node", s.name()).Err(err).Int("times", times).
		Stringer("lived", lived.Round(time.Millisecond)).
		Func(func(e *zerolog.Event) {
			if pause > 0 {
				e.Stringer("pause", pause.Round(time.Millisecond))
			}
			if times == 1 && stack != "" && !errors.Is(err, worker.ErrInjected) {
				e.Str("stack", stack)
			}
		}).Msg(text)
}

// stackOf is where an error panicked, if it did.
func stackOf(err error) string {
	if p, ok := errors.AsType[*group.PanicError](err); ok {
		return string(p.Stack)
	}
	return ""
}
