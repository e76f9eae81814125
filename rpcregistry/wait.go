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
	// reply takes an answer and reports whether it was one that was waited for.
	reply(from redisbus.Identity, r reply) bool
	// sent tells how many nodes got the call.
	sent(receivers int64, err error)
	// down tells that an incarnation is no more.
	down(gone redisbus.Identity)
}

// resolve receives a reply on the bus's reader.
func (e *Endpoint) resolve(_ context.Context, m redisbus.Message) {
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

// errStopped is why a call ends that waits when the endpoint stops.
var errStopped = errors.New("the endpoint takes no replies any more")

// wait begins to wait for replies.
func (e *Endpoint) wait(id string, w waiter) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.deaf {
		return &Error{Code: Unavailable, cause: fmt.Errorf("%w: %w", link.ErrUnavailable, errStopped)}
	}
	e.pending[id] = w
	return nil
}

// pickUp lets calls wait for replies, again.
func (e *Endpoint) pickUp() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.deaf = false
}

// hangUp ends the calls that wait, and those that begin later.
func (e *Endpoint) hangUp() {
	e.mu.Lock()
	e.deaf = true
	waiting := slices.Collect(maps.Values(e.pending))
	e.mu.Unlock()
	for _, w := range waiting {
		w.sent(0, link.Unanswered(errStopped))
	}
}

// awaitBus waits until the bus can send, at most for the time of a call.
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
		return &Error{Code: Unavailable, Message: err.Error(), cause: err}
	}
	return err
}

func (e *Endpoint) forget(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.pending, id)
}

// NodeDown ends the calls that wait for that incarnation with [NodeDown]. A call
// by node id does not know the incarnation: it ends as well, so that one made to
// the next incarnation in the moment between may end although it runs.
func (e *Endpoint) NodeDown(gone redisbus.Identity) {
	e.mu.Lock()
	waiting := make([]waiter, 0, len(e.pending))
	for _, w := range e.pending {
		waiting = append(waiting, w)
	}
	e.mu.Unlock()
	for _, w := range waiting {
		w.down(gone)
	}
}

// outcome is how a waiting call ends.
type outcome struct {
	from  redisbus.Identity
	value reply
}

// one waits for the reply of one node.
type one struct {
	node  string
	ends  chan outcome // holds one
	ended atomic.Bool  // the first counts, also after it was taken out
}

func (w *one) end(o outcome) bool {
	if w.ended.Swap(true) {
		return false
	}
	select {
	case w.ends <- o:
		return true
	default:
		return false
	}
}

func (w *one) reply(from redisbus.Identity, r reply) bool {
	return from.ID == w.node && w.end(outcome{from, r})
}

func (w *one) sent(receivers int64, err error) {
	if err != nil {
		w.end(outcome{value: reply{err: &Error{Code: Unavailable, Node: w.node, cause: err}}})
	} else if receivers == 0 {
		w.end(outcome{value: reply{err: &Error{Code: NoSuchTarget, Node: w.node}}})
	}
}

func (w *one) down(gone redisbus.Identity) {
	if gone.ID == w.node {
		w.end(outcome{value: reply{err: &Error{Code: NodeDown, Node: w.node}}})
	}
}

// first waits for the first node that has an answer. A node that does not have
// the method, forbids it or is busy leaves the answer to others; when all nodes
// that got the call have declined, the last one's reason is the answer.
type first struct {
	one
	mu        sync.Mutex
	receivers int64
	declined  map[redisbus.Identity]bool
	last      outcome
}

func declines(r reply) bool {
	if r.err == nil {
		return false
	}
	switch r.err.Code {
	case NoSuchMethod, Denied, Busy:
		return true
	default:
		return false
	}
}

func (w *first) reply(from redisbus.Identity, r reply) bool {
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
	w.settle()
	return true
}

func (w *first) sent(receivers int64, err error) {
	if err != nil || receivers == 0 {
		w.one.sent(receivers, err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.receivers = receivers
	w.settle()
}

func (w *first) settle() {
	if w.receivers > 0 && int64(len(w.declined)) >= w.receivers {
		w.end(w.last)
	}
}

func (w *first) down(redisbus.Identity) {}
