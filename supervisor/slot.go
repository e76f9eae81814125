package supervisor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/thejerf/suture/v4"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/group"
	"github.com/stellarfw/stellar/worker/membership"
)

// slot is the place of one node in the set: it lives one life after the other.
type slot struct {
	set    *Set
	number int

	mu       sync.Mutex
	node     *worker.Node
	id       string // of the last life, preferred in the next
	failures int    // crashes in a row
	pause    time.Duration
	crashAt  time.Time
}

// longLife is how long a node must have lived for its crash to count as the first.
const longLife = time.Minute

// errNextLife makes suture start the slot again.
var errNextLife = errors.New("next life")

func (x *slot) String() string { return fmt.Sprintf("slot %d", x.number) }

func (x *slot) current() *worker.Node {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.node
}

// Serve lives one life of the node, after the pause that its crashes demand.
// Whatever the node ended with, only these leave it: nil, suture.ErrDoNotRestart
// and errNextLife; an error of a handler must not steer the tree.
func (x *slot) Serve(ctx context.Context) error {
	if redisbus.Sleep(ctx, x.pause) != nil {
		return suture.ErrDoNotRestart
	}
	n := x.set.host.NewNode(worker.NodeConfig{
		Prefix: x.set.cfg.WorkerPrefix, ID: x.set.cfg.ID, Prefer: x.id,
		Concurrency: x.set.cfg.Concurrency, Queues: x.set.cfg.Queues,
		Drain: x.set.cfg.Drain, Grace: x.set.cfg.Grace,
		Announce: x.set.gate.open, Hurry: x.set.hurry,
	})
	x.mu.Lock()
	x.node = n
	x.mu.Unlock()
	began := time.Now()
	watching, watched := context.WithCancel(ctx)
	go x.watch(watching, n, x.crashAt)
	err := n.Serve(ctx)
	watched()
	x.set.gate.arrive(x)
	ended := n.Ended()
	x.set.tally(ended, ctx.Err() != nil)
	x.mu.Lock()
	x.node = nil
	if ended.ID != "" {
		x.id = ended.ID
	}
	x.mu.Unlock()
	return x.next(ctx, err, time.Since(began))
}

// watch tells the gate when the node runs, and logs how long a restart took.
func (x *slot) watch(ctx context.Context, n *worker.Node, crashAt time.Time) {
	select {
	case <-n.Running():
	case <-ctx.Done():
		return
	}
	x.set.gate.arrive(x)
	if !crashAt.IsZero() {
		x.set.log.Info().Str("node", n.ID()).Stringer("after", time.Since(crashAt).Round(time.Millisecond)).Msg("node is back after its crash")
	}
}

// next decides what follows a life.
func (x *slot) next(ctx context.Context, err error, lived time.Duration) error {
	switch {
	case ctx.Err() != nil:
		return suture.ErrDoNotRestart
	case errors.Is(err, worker.ErrStop):
		x.set.stopped(x)
		return suture.ErrDoNotRestart
	case err == nil, errors.Is(err, worker.ErrRestart):
		x.pause, x.failures, x.crashAt = 0, 0, time.Time{}
		return errNextLife
	case errors.Is(err, membership.ErrLeaseLost):
		// Not a crash: Redis was away, or the process was paused.
		x.pause, x.crashAt = 0, time.Now()
		return errNextLife
	}
	x.crashAt = time.Now()
	if lived >= longLife {
		x.failures = 0
	}
	x.failures++
	x.pause = redisbus.Backoff(x.set.cfg.Backoff, x.set.cfg.MaxBackoff, x.failures)
	name := x.id
	if name == "" {
		name = x.String()
	}
	if x.set.crashed(name, err) {
		return suture.ErrDoNotRestart
	}
	event := x.set.log.Error().Str("node", name).Err(err).
		Stringer("lived", lived.Round(time.Millisecond)).Stringer("pause", x.pause.Round(time.Millisecond))
	if p, ok := errors.AsType[*group.PanicError](err); ok && !errors.Is(err, worker.ErrInjected) {
		event.Bytes("stack", p.Stack)
	}
	event.Msg("node crashed: starting it again")
	return errNextLife
}
