package rpcregistry

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
)

// waiter is a call that waits for replies. Its methods are called by the bus's
// goroutines and never block.
type waiter interface {
	// reply handles a reply and reports whether the call waited for it.
	reply(from redisbus.Identity, r reply) bool
	// sent is called once Redis has answered, with the number of nodes that got the
	// call or the error of sending it.
	sent(receivers int64, err error)
	// nodeDown is called when an incarnation has ended.
	nodeDown(gone redisbus.Identity)
}

// receiveReply handles a reply. It runs on the bus's reader and must not block.
func (e *Endpoint) receiveReply(_ context.Context, m redisbus.Message) {
	id, r, ok := decodeReply(m)
	if !ok {
		e.stats.malformed.Add(1)
		return
	}
	e.mu.Lock()
	w := e.pending[string(id)]
	e.mu.Unlock()
	if !m.Directed || w == nil || !w.reply(m.Sender(), r) {
		e.stats.stray.Add(1)
	}
}

// errStopped is the reason with which waiting calls end when the endpoint stops.
var errStopped = errors.New("the endpoint takes no replies any more")

// addWaiter makes a call wait for replies. It fails after Serve has ended, when no reply
// can come any more.
func (e *Endpoint) addWaiter(id string, w waiter) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return &Error{Code: ErrUnavailable, cause: fmt.Errorf("%w: %w", link.ErrUnavailable, errStopped)}
	}
	e.pending[id] = w
	return nil
}

// openWaiters lets calls wait for replies again after closeWaiters.
func (e *Endpoint) openWaiters() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = false
}

// closeWaiters ends the calls that wait; calls that begin later fail.
func (e *Endpoint) closeWaiters() {
	e.mu.Lock()
	e.closed = true
	waiting := slices.Collect(maps.Values(e.pending))
	e.mu.Unlock()
	for _, w := range waiting {
		w.sent(0, link.Unanswered(errStopped))
	}
}

// awaitBus waits until the bus can send, at most until ctx's deadline or, without a
// deadline, for the endpoint's timeout.
func (e *Endpoint) awaitBus(ctx context.Context) error {
	if e.cfg.Bus.Usable() {
		return nil
	}
	waiting, cancel := ctx, context.CancelFunc(func() {})
	if _, bounded := ctx.Deadline(); !bounded {
		waiting, cancel = context.WithTimeout(ctx, e.cfg.Timeout)
	}
	defer cancel()
	err := e.cfg.Bus.Await(waiting)
	if link.IsOutage(err) && !errors.Is(ctx.Err(), context.Canceled) {
		return &Error{Code: ErrUnavailable, Message: err.Error(), cause: err}
	}
	return err
}

func (e *Endpoint) removeWaiter(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.pending, id)
}

// Waits reports whether calls wait for answers.
func (e *Endpoint) Waits() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.pending) > 0
}

// NodeDown ends the calls that wait for an incarnation that is gone, with [ErrNodeDown]. A
// call to a node id does not know which incarnation received it, so every call to that node
// id ends: also a call that the node's next incarnation has already received and still
// runs.
func (e *Endpoint) NodeDown(gone redisbus.Identity) {
	e.mu.Lock()
	waiting := slices.Collect(maps.Values(e.pending))
	e.mu.Unlock()
	for _, w := range waiting {
		w.nodeDown(gone)
	}
}

// outcome is the reply with which a waiting call ends.
type outcome struct {
	from  redisbus.Identity
	value reply
}

// nodeWaiter waits for the reply of one node.
type nodeWaiter struct {
	node  string
	ends  chan outcome // has capacity 1
	ended atomic.Bool  // only the first outcome counts
}

func (w *nodeWaiter) end(o outcome) bool {
	if w.ended.Swap(true) {
		return false
	}
	w.ends <- o
	return true
}

func (w *nodeWaiter) reply(from redisbus.Identity, r reply) bool {
	return from.ID == w.node && w.end(outcome{from, r})
}

func (w *nodeWaiter) sent(receivers int64, err error) {
	if err != nil {
		w.end(outcome{value: reply{err: &Error{Code: ErrUnavailable, Node: w.node, cause: err}}})
	} else if receivers == 0 {
		w.end(outcome{value: reply{err: &Error{Code: ErrNoSuchTarget, Node: w.node}}})
	}
}

func (w *nodeWaiter) nodeDown(gone redisbus.Identity) {
	if gone.ID == w.node {
		w.end(outcome{value: reply{err: &Error{Code: ErrNodeDown, Node: w.node}}})
	}
}

// firstWaiter waits for the first answer to a call to all nodes. A node declines if it does
// not have the method, forbids it or is busy; when all that got the call have declined, or
// all live nodes, as clients get it too and never answer, the last refusal is the answer.
type firstWaiter struct {
	nodeWaiter
	mu        sync.Mutex
	receivers int64
	members   []redisbus.Identity // the live nodes, nil while they are not known
	declined  map[redisbus.Identity]bool
	last      outcome
}

// declines reports whether the reply refuses the call: another node may still answer it.
func declines(r reply) bool {
	if r.err == nil {
		return false
	}
	switch r.err.Code {
	case ErrNoSuchMethod, ErrDenied, ErrBusy:
		return true
	default:
		return false
	}
}

func (w *firstWaiter) reply(from redisbus.Identity, r reply) bool {
	if !declines(r) {
		return w.end(outcome{from, r})
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.declined[from] {
		return false
	}
	w.declined[from] = true
	w.last = outcome{from, r}
	w.endIfAllDeclined()
	return true
}

func (w *firstWaiter) sent(receivers int64, err error) {
	if err != nil || receivers == 0 {
		w.nodeWaiter.sent(receivers, err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.receivers = receivers
	w.endIfAllDeclined()
}

// endIfAllDeclined ends the call if nobody is left to answer it. The caller holds the lock.
func (w *firstWaiter) endIfAllDeclined() {
	if len(w.declined) == 0 {
		return
	}
	open := func(m redisbus.Identity) bool { return !w.declined[m] }
	if w.receivers > 0 && int64(len(w.declined)) >= w.receivers || w.members != nil && !slices.ContainsFunc(w.members, open) {
		w.end(w.last)
	}
}

// askMembers tells a call to all that some have declined who the live nodes are.
func (e *Endpoint) askMembers(ctx context.Context, w waiter) {
	first, isFirst := w.(*firstWaiter)
	if !isFirst || e.cfg.Members == nil || !first.anyDeclined() {
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(ctx, modesPatience)
		defer cancel()
		if members, err := e.cfg.Members.Live(ctx); err == nil {
			first.live(members)
		}
	}()
}

func (w *firstWaiter) anyDeclined() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.declined) > 0
}

func (w *firstWaiter) live(members []redisbus.Identity) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.members = members
	w.endIfAllDeclined()
}

func (w *firstWaiter) nodeDown(redisbus.Identity) {}
