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

func newSlot(ctx context.Context, s *Set, number int) *slot {
	x := &slot{set: s, number: number, gone: make(chan struct{})}
	x.place, x.leave = context.WithCancel(ctx)
	return x
}

// longLife is how long a node must have lived for its crash to count as the first.
const longLife = time.Minute

// errNextLife makes suture start the slot again.
var errNextLife = errors.New("next life")

func (x *slot) String() string { return fmt.Sprintf("slot %d", x.number) }

// name is the id of the node, or the slot's own name before it has one.
func (x *slot) name() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.named()
}

// named is [slot.name] for who holds x.mu.
func (x *slot) named() string {
	if x.node != nil && x.node.ID() != "" {
		return x.node.ID()
	}
	if x.id != "" {
		return x.id
	}
	return x.String()
}

func (x *slot) current() *worker.Node {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.node
}

// running is the node of the slot, if it runs.
func (x *slot) running() *worker.Node {
	if n := x.current(); n != nil && n.State() == membership.Running {
		return n
	}
	return nil
}

// leaving reports whether no life follows the one under way.
func (x *slot) leaving() bool { return x.place.Err() != nil }

// describe says for an operator why the node does not run.
func (x *slot) describe() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	text := x.named() + " is between two lives"
	if x.node != nil {
		text = x.named() + " is " + string(x.node.State())
	}
	if x.failure != nil && !errors.Is(x.failure, worker.ErrRestart) {
		text += fmt.Sprintf(", its last life ended with: %v", x.failure)
	}
	return text
}

// Serve lives one life of the node, after the pause that its crashes demand.
// Whatever the node ended with, only these leave it: errNextLife, and
// suture.ErrTerminateSupervisorTree, which ends the slot's own supervisor; an
// error of a handler must not steer the tree.
func (x *slot) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	unbind := context.AfterFunc(x.place, cancel)
	defer unbind()
	stopped := false
	if link.Sleep(ctx, x.pause) == nil {
		lived, err := x.live(ctx)
		if x.next(ctx, err, lived) {
			return errNextLife
		}
		stopped = ctx.Err() == nil && errors.Is(err, worker.ErrStop)
	}
	x.leave() // also where the node was stopped by request
	x.set.left(x, stopped)
	close(x.gone)
	return suture.ErrTerminateSupervisorTree
}

// live lives one life and returns how it ended and how long it was.
func (x *slot) live(ctx context.Context) (lived time.Duration, err error) {
	n := x.set.host.NewNode(worker.NodeConfig{
		Prefix: x.set.cfg.WorkerPrefix, ID: x.set.cfg.ID, Prefer: x.id,
		Concurrency: x.set.cfg.Concurrency, Queues: x.set.cfg.Queues, Weights: x.set.cfg.Weights,
		Drain: x.set.cfg.Drain, Grace: x.set.cfg.Grace,
		Announce: x.set.gate.open, Hurry: x.set.hurry,
	})
	x.mu.Lock()
	x.node = n
	x.mu.Unlock()
	began := time.Now()
	watching, watched := context.WithCancel(ctx)
	go x.watch(watching, n, x.crashAt, x.failure)
	err = n.Serve(ctx)
	watched()
	x.set.gate.arrive(x)
	ended := n.Ended()
	x.set.tally(ended)
	x.mu.Lock()
	if ended.ID != "" {
		x.id = ended.ID
	}
	x.node, x.failure = nil, err
	x.mu.Unlock()
	if ended.ID != "" {
		x.refused = 0
	}
	return time.Since(began), err
}

// watch tells the gate when the node runs, and logs how long a restart took and
// that a lease had been lost.
func (x *slot) watch(ctx context.Context, n *worker.Node, endedAt time.Time, why error) {
	select {
	case <-n.Running():
	case <-ctx.Done():
		return
	}
	x.set.gate.arrive(x)
	if endedAt.IsZero() {
		return
	}
	level, text := zerolog.InfoLevel, "node is back after its crash"
	if errors.Is(why, membership.ErrLeaseLost) {
		level, text = zerolog.WarnLevel, "node is back as a new incarnation: it had lost its lease, and with it what it had in hand"
	} else {
		why = nil // the log has it
	}
	x.set.log.WithLevel(level).Str("node", n.ID()).Err(why).Stringer("after", time.Since(endedAt).Round(time.Millisecond)).Msg(text)
}

// next decides what follows a life, and reports whether another does.
func (x *slot) next(ctx context.Context, err error, lived time.Duration) bool {
	switch {
	case ctx.Err() != nil, errors.Is(err, worker.ErrStop):
		x.ending(err, lived)
		return false
	case err == nil, errors.Is(err, worker.ErrRestart):
		x.pause, x.failures, x.crashAt = 0, 0, time.Time{}
		return true
	case errors.Is(err, membership.ErrLeaseLost):
		// Not a crash: Redis was away or forgot it, or the process was paused. The
		// pause is for a Redis that forgets again and again.
		x.pause, x.crashAt = link.Backoff(x.set.cfg.Backoff, x.set.cfg.MaxBackoff, 1), time.Now()
		return true
	case errors.Is(err, membership.ErrIDTaken):
		return x.awaitID(err)
	}
	x.crashAt = time.Now()
	if lived >= longLife {
		x.failures = 0
	}
	x.failures++
	x.pause = link.Backoff(x.set.cfg.Backoff, x.set.cfg.MaxBackoff, x.failures)
	x.tell(err, lived, x.pause, "node crashed: starting it again")
	return !x.set.crashed(x.name(), err)
}

// ending makes known with what a node ended that was ending anyway.
func (x *slot) ending(err error, lived time.Duration) {
	const text = "node failed while it was ending"
	switch {
	case err == nil, errors.Is(err, worker.ErrStop), errors.Is(err, worker.ErrRestart):
	case errors.Is(err, membership.ErrLeaseLost), errors.Is(err, membership.ErrIDTaken):
		// No crash, as in a node that is not ending: it is not remembered as one.
		x.set.log.Warn().Str("node", x.name()).Err(err).Stringer("lived", lived.Round(time.Millisecond)).Msg(text)
	default:
		// A crash to be seen. It does not count towards flapping: what could be
		// stopped is stopping.
		x.tell(err, lived, 0, text)
	}
}

// idTries is how often a node asks for an id that another has, an eighth of a lease
// apart: longer than a dead process keeps it, also where everybody gets one more
// lease because nobody could look.
const idTries = 20

// awaitID prepares to ask again for the id that another node has, and reports
// whether there is a point in it. After a crash of the whole process it is the
// process's own, until its lease has run out; that is no crash of this node.
func (x *slot) awaitID(err error) bool {
	x.refused++
	if x.refused >= idTries {
		x.set.giveUp(err)
		return false
	}
	if x.refused == 1 {
		x.set.log.Warn().Err(err).Msg("waiting for the id: who had it may have died, and keeps it for a lease")
	}
	x.pause = cmp.Or(x.set.cfg.Times.Lease, membership.DefaultLease) / 8
	return true
}

// tell remembers a crash and logs it: one for a new reason with all there is to know
// of it, one for a reason that the log knows in short. The pause is that before the
// next life, 0 where none follows.
func (x *slot) tell(err error, lived, pause time.Duration, text string) {
	stack := stackOf(err)
	times := x.set.remember(x.name(), err, stack)
	level := zerolog.WarnLevel
	if times == 1 {
		level = zerolog.ErrorLevel
	}
	x.set.log.WithLevel(level).Str("node", x.name()).Err(err).Int("times", times).
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
