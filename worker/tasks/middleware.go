package tasks

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/stellarfw/stellar/worker/internal/queue"
)

// Outgoing is a task that is not stored yet.
type Outgoing struct {
	Name string
	// Payload is one JSON value.
	Payload json.RawMessage
	// Transaction: the task belongs to a transaction, which stores it later, or never.
	Transaction bool
	// Options are the caller's options. If the caller named no queue, Queue is the
	// definition's. ID is empty unless the caller chose an id.
	Options
}

// EnqueueFunc stores the tasks of one call and returns their receipts, as
// [Client.EnqueueMany] does.
type EnqueueFunc func(ctx context.Context, tasks []Outgoing) ([]Receipt, error)

// EnqueueMiddleware wraps the storing of tasks by a [Client]. It is called once for each
// call of the client, with all tasks of the call; [Request].Then tasks follow their task.
// The middleware may change payloads and options before it calls next, may refuse the
// tasks with an error, and sees the result of next. It may change the slice's elements,
// but maps, slices and payloads in them may be shared: replace them, never change them in
// place. The middleware cannot add, reorder or remove tasks. It runs on the goroutine of
// the caller, which also gets its panics.
//
// The middleware wraps [Transaction.Enqueue] as well, with the context of the
// [Transaction]. There next only prepares the task, and the receipt has only an id: the
// transaction stores the task later, or never ([Outgoing].Transaction).
//
// Tasks enqueued by periodic tasks ([Registry.RegisterPeriodic]) bypass the middleware.
type EnqueueMiddleware func(next EnqueueFunc) EnqueueFunc

// UseEnqueue adds middleware around the storing of tasks. The first one added is the
// outermost. Add all before a [Client] uses the registry.
func (r *Registry) UseEnqueue(m EnqueueMiddleware) { r.enqueue = append(r.enqueue, m) }

// Outermost calls add, and puts the middleware that add adds around all that was added before.
func (r *Registry) Outermost(add func()) {
	run, enqueue := r.middleware, r.enqueue
	r.middleware, r.enqueue = nil, nil
	add()
	r.middleware, r.enqueue = append(r.middleware, run...), append(r.enqueue, enqueue...)
}

// wrapEnqueue returns send with the middleware around it.
func (c *Client) wrapEnqueue(send EnqueueFunc) EnqueueFunc {
	for _, m := range slices.Backward(c.registry.enqueue) {
		send = m(send)
	}
	return send
}

// follows says that a task is the n-th [Request].Then task of the task at position at of
// the same call; n is 0 for a task that is not a Then task.
type follows struct{ at, n int }

// enqueueWrapped is [Client.EnqueueMany] with the middleware around it. With some it stores those before a task that
// is refused, as the middleware must not get them again.
func (c *Client) enqueueWrapped(ctx context.Context, requests []Request, some bool) (receipts []Receipt, sent bool, err error) {
	total, err := count(requests, 0)
	if err != nil {
		return nil, false, err
	}
	out, order := make([]Outgoing, 0, total), make([]follows, 0, total)
	for i := range requests {
		if out, order, err = c.outgoing(out, order, &requests[i], follows{}); err != nil {
			return nil, false, err
		}
	}
	receipts, err = c.wrapEnqueue(func(ctx context.Context, out []Outgoing) ([]Receipt, error) {
		all, refused := c.prepareOutgoing(out, order)
		if refused != nil && (!some || len(all) == 0) {
			return nil, refused
		}
		sent = true
		receipts, err := c.send(ctx, all)
		if refused == nil || err != nil {
			return receipts, err
		}
		if c.observer != nil {
			first := len(all) // which is a request's own task
			c.observeRefused(requests[len(requests)-requestsIn(order[first:]):])
		}
		return receipts, refused
	})(ctx, out)
	if err == nil && len(receipts) != total {
		err = fmt.Errorf("enqueue middleware returned %d receipts for %d tasks", len(receipts), total)
	}
	return receipts, sent, err
}

// requestsIn returns how many of the tasks are no Then tasks.
func requestsIn(order []follows) (n int) {
	for _, f := range order {
		if f.n == 0 {
			n++
		}
	}
	return n
}

// outgoing appends a task and then its [Request].Then tasks.
func (c *Client) outgoing(out []Outgoing, order []follows, n *Request, f follows) ([]Outgoing, []follows, error) {
	o, err := c.outgoingOf(n.Name, n.Payload, n.Options)
	if err != nil {
		return nil, nil, err
	}
	at := len(out)
	out, order = append(out, o), append(order, f)
	for i := range n.Then {
		if out, order, err = c.outgoing(out, order, &n.Then[i], follows{at, i + 1}); err != nil {
			return nil, nil, err
		}
	}
	return out, order, nil
}

func (c *Client) outgoingOf(name string, payload any, o Options) (Outgoing, error) {
	encoded, err := encode(payload)
	if err != nil {
		return Outgoing{}, fmt.Errorf("enqueue %s: %w", name, err)
	}
	definition, _ := c.definitionOf(name, &o)
	o.Queue = cmp.Or(o.Queue, definition.Queue, DefaultQueue)
	return Outgoing{Name: name, Payload: encoded, Options: o}, nil
}

// prepareOutgoing prepares the tasks of one call as the middleware left them. With an error it returns those of the
// requests before that of the task which is refused.
func (c *Client) prepareOutgoing(out []Outgoing, order []follows) ([]queue.Task, error) {
	if len(out) != len(order) {
		return nil, fmt.Errorf("enqueue middleware made %d tasks of %d", len(out), len(order))
	}
	p := &preparer{c, c.producer.DrawIDs(len(out))}
	all, request := make([]queue.Task, len(out)), 0
	for i, o := range out {
		f := order[i] //nolint:gosec // as long as out, see above
		if f.n > 0 {
			follow(&o.Options, all[f.at], f.n)
		} else {
			request = i
		}
		var err error
		if all[i], err = p.prepare(&Request{Name: o.Name, Payload: o.Payload, Options: o.Options}); err != nil {
			return all[:request], fmt.Errorf("enqueue %s: %w", o.Name, err)
		}
		all[i].Then = f.n > 0
	}
	return all, nil
}

// seal prepares a follow-up task of a transaction, through the middleware.
func (c *Client) seal(ctx context.Context, name string, payload any, o Options) (queue.Task, error) {
	if len(c.registry.enqueue) == 0 {
		return c.prepare(name, payload, o)
	}
	var task queue.Task
	out, err := c.outgoingOf(name, payload, o)
	if err != nil {
		return task, err
	}
	out.Transaction = true
	_, err = c.wrapEnqueue(func(_ context.Context, out []Outgoing) ([]Receipt, error) {
		all, err := c.prepareOutgoing(out, make([]follows, 1))
		if err != nil {
			return nil, err
		}
		task = all[0]
		return []Receipt{{ID: task.ID}}, nil
	})(ctx, []Outgoing{out})
	if err == nil && task.Kind == nil {
		err = errors.New("enqueue middleware did not pass it on")
	}
	return task, err
}
