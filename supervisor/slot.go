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

// slot runs the successive lives of one node of the set.
type slot struct {
	set    *Set
	number int
	ctx    context.Context    //nolint:containedctx // ends when the slot is to leave the set
	leave  context.CancelFunc // ends ctx
	gone   chan struct{}      // closed when the slot has left the set

	mu         sync.Mutex
	node       *worker.Node       // nil between two lives
	id         string             // of the last life, preferred in the next life
	failures   int                // crashes in a row
	pause      time.Duration      // before the next life
	crashAt    time.Time          // when the last life crashed or lost its lease; zero after any other end
	idRefusals int                // how often in a row another node had the id
	failure    error              // the error with which the last life ended
	why        worker.StartReason // of the next life
}

func newSlot(ctx context.Context, set *Set, number int, why worker.StartReason) *slot {
	s := &slot{set: set, number: number, why: why, gone: make(chan struct{})}
	s.ctx, s.leave = context.WithCancel(ctx)
	return s
}

// longLife is how long a life must have been so that its crash counts as the first in a row.
const longLife = time.Minute

// errNextLife makes suture start the slot again.
var errNextLife = errors.New("next life")

func (s *slot) String() string { return fmt.Sprintf("slot %d", s.number) }

// name returns the id of the node, or the slot's own name before the node has an id.
func (s *slot) name() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.named()
}

// named is [slot.name] for a caller that holds s.mu.
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

// running returns the node of the slot if it runs, else nil.
func (s *slot) running() *worker.Node {
	if n := s.current(); n != nil && n.State() == membership.Running {
		return n
	}
	return nil
}

// leaving reports whether the present life is the last one.
func (s *slot) leaving() bool { return s.ctx.Err() != nil }

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

// Serve runs one life of the node, after the pause that its crashes require. It returns
// errNextLife, after which suture calls Serve again, or suture.ErrTerminateSupervisorTree,
// which ends the slot's own supervisor. It never returns the node's error: an error of a
// handler must not control the supervisor tree.
func (s *slot) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	unbind := context.AfterFunc(s.ctx, cancel)
	defer unbind()
	stopped := false
	if link.Sleep(ctx, s.pause) == nil {
		lived, err := s.live(ctx)
		if s.next(ctx, err, lived) {
			return errNextLife
		}
		stopped = ctx.Err() == nil && errors.Is(err, worker.ErrStop)
	}
	s.leave() // for a node that was stopped by request
	s.set.removeSlot(s, stopped)
	close(s.gone)
	return suture.ErrTerminateSupervisorTree
}

// live runs one life and returns how long it was and the error with which it ended.
func (s *slot) live(ctx context.Context) (lived time.Duration, err error) {
	n := s.set.host.NewNode(worker.NodeConfig{
		Prefix: s.set.cfg.WorkerPrefix, ID: s.set.cfg.ID, Prefer: s.id,
		Concurrency: s.set.cfg.Concurrency, Queues: s.set.cfg.Queues, Weights: s.set.cfg.Weights,
		Drain: s.set.cfg.Drain, Grace: s.set.cfg.Grace,
		Hurry: s.set.hurry, Why: s.why, CrashedAt: s.crashAt,
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
	s.set.addLife(ended)
	if s.set.cfg.Ended != nil && ended.Incarnation != "" {
		s.set.cfg.Ended(ended)
	}
	s.mu.Lock()
	if ended.ID != "" {
		s.id = ended.ID
	}
	s.node, s.failure = nil, err
	s.mu.Unlock()
	if ended.ID != "" {
		s.idRefusals = 0
	}
	return time.Since(began), err
}

// watch logs when the node runs again after a crash or the loss of its lease, which ended
// the last life at endedAt with the error why.
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
		level, text = zerolog.WarnLevel, "node is back as a new incarnation: it had lost its lease, and with it the tasks in hand"
	} else if isOutage(why) {
		level, text = zerolog.WarnLevel, "node is back as a new incarnation: Redis was away while it started"
	} else {
		why = nil // logCrash has logged the error
	}
	s.set.log.WithLevel(level).Str("node", n.ID()).Err(why).Stringer("after", time.Since(endedAt).Round(time.Millisecond)).Msg(text)
}

// next decides after a life whether another life follows, and sets the pause before it.
func (s *slot) next(ctx context.Context, err error, lived time.Duration) bool {
	switch {
	case ctx.Err() != nil, errors.Is(err, worker.ErrStop):
		s.logEndError(err, lived)
		return false
	case err == nil, errors.Is(err, worker.ErrRestart):
		s.pause, s.failures, s.crashAt, s.why = 0, 0, time.Time{}, s.set.restarting()
		return true
	case errors.Is(err, membership.ErrLeaseLost), isOutage(err):
		// Not a crash: Redis was away or lost the lease, or the process was paused. The
		// pause is for a Redis that loses leases, or breaks connections, again and again.
		s.pause, s.crashAt, s.why = link.Backoff(s.set.cfg.Backoff, s.set.cfg.MaxBackoff, 1), time.Now(), worker.StartLeaseLost
		return true
	case errors.Is(err, membership.ErrIDTaken):
		return s.awaitID(err)
	case errors.Is(err, link.ErrLayout):
		s.set.giveUp(err)
		return false
	}
	s.crashAt, s.why = time.Now(), worker.StartCrash
	if lived >= longLife {
		s.failures = 0
	}
	s.failures++
	s.pause = link.Backoff(s.set.cfg.Backoff, s.set.cfg.MaxBackoff, s.failures)
	s.logCrash(err, lived, s.pause, "node crashed: starting it again")
	return !s.set.crashed(s.name(), err)
}

// logEndError logs the error of a node that failed while it was stopping.
func (s *slot) logEndError(err error, lived time.Duration) {
	const text = "node failed while it was ending"
	switch {
	case err == nil, errors.Is(err, worker.ErrStop), errors.Is(err, worker.ErrRestart):
	case errors.Is(err, membership.ErrLeaseLost), errors.Is(err, membership.ErrIDTaken), isOutage(err),
		errors.Is(err, context.Canceled): // what it waited for was cut off by its end
		// Not remembered as a crash, as in slot.next.
		s.set.log.Warn().Str("node", s.name()).Err(err).Stringer("lived", lived.Round(time.Millisecond)).Msg(text)
	default:
		// Remembered as a crash, but not counted for flapping, which would only stop the
		// set.
		s.logCrash(err, lived, 0, text)
	}
}

// idTries is how often a node asks for an exact id that another node has, every eighth of a
// lease. That is longer than a dead process keeps the id, even if no process may take over
// for one more lease (see membership.Directory.Expired).
const idTries = 20

// awaitID sets the pause before the node asks again for an id that another node has, and
// reports whether it should ask again. After a crash of the whole process the other node is
// the same node of the dead process, until its lease has run out; so this is no crash.
func (s *slot) awaitID(err error) bool {
	s.idRefusals++
	if s.idRefusals >= idTries {
		s.set.giveUp(err)
		return false
	}
	if s.idRefusals == 1 {
		s.set.log.Warn().Err(err).Msg("waiting for the id: its last owner may have died, and keeps it until its lease has run out")
	}
	s.pause = cmp.Or(s.set.cfg.Times.Lease, membership.DefaultLease) / 8
	return true
}

// logCrash remembers a crash and logs it: with the stack for a new reason, and briefly for a
// reason that was logged before. pause is the time before the next life, 0 if none follows.
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

// isOutage reports whether a life ended because Redis did not answer or could not serve.
func isOutage(err error) bool { return link.IsOutage(err) && stackOf(err) == "" }

// stackOf returns the stack of an error that was a panic, "" for other errors.
func stackOf(err error) string {
	if p, ok := errors.AsType[*group.PanicError](err); ok {
		return string(p.Stack)
	}
	return ""
}
