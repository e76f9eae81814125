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
	// Options are the caller's, but for the queue: it is the definition's where the
	// caller names none. The ID is empty unless the caller chose one.
	Options
}

// EnqueueFunc stores the tasks of one call and returns their receipts, as
// [Client.EnqueueMany] does.
type EnqueueFunc func(ctx context.Context, tasks []Outgoing) ([]Receipt, error)

// EnqueueMiddleware wraps the storing of tasks by a [Client], one call at a time
// however many tasks it has, those of [Request].Then behind that of their task. It may
// change payloads and options before it gives the tasks to next, may refuse them with
// an error, and sees how storing them ended. The slice is its own, but maps, slices
// and payloads in it may be shared: replace them, never change them in place. It
// cannot add, reorder or remove tasks. It runs on the goroutine that enqueues, and a
// panic is that goroutine's.
//
// It wraps [Transaction.Enqueue] as well, with the context of the [Transaction]. There
// next only makes the task, whose receipt has nothing but its id; the transaction
// stores it later, or never.
//
// What [Registry.RegisterPeriodic] enqueues does not pass through it.
type EnqueueMiddleware func(next EnqueueFunc) EnqueueFunc

// UseEnqueue adds middleware around the storing of tasks. The first one added is the
// outermost. Add all before a [Client] uses the registry.
func (r *Registry) UseEnqueue(m EnqueueMiddleware) { r.enqueue = append(r.enqueue, m) }

// wrapEnqueue returns send with the middleware around it.
func (c *Client) wrapEnqueue(send EnqueueFunc) EnqueueFunc {
	for _, m := range slices.Backward(c.registry.enqueue) {
		send = m(send)
	}
	return send
}

// follows says which task of the same call another follows: the one at a position, as
// the n-th; n is 0 for a task that follows none.
type follows struct{ at, n int }

// enqueueWrapped is [Client.EnqueueMany] with the middleware around it.
func (c *Client) enqueueWrapped(ctx context.Context, requests []Request) (receipts []Receipt, sent bool, err error) {
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
		all, err := c.prepareOutgoing(out, order)
		if err != nil {
			return nil, err
		}
		sent = true
		return c.send(ctx, all)
	})(ctx, out)
	if err == nil && len(receipts) != total {
		err = fmt.Errorf("enqueue middleware returned %d receipts for %d tasks", len(receipts), total)
	}
	return receipts, sent, err
}

// outgoing appends a task and those that are to run after it, in this order.
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
	definition, _ := c.registry.Definition(name)
	o.Queue = cmp.Or(o.Queue, definition.Queue, DefaultQueue)
	return Outgoing{name, encoded, o}, nil
}

// prepareOutgoing prepares what the middleware made of the tasks of one call.
func (c *Client) prepareOutgoing(out []Outgoing, order []follows) ([]queue.Task, error) {
	if len(out) != len(order) {
		return nil, fmt.Errorf("enqueue middleware made %d tasks of %d", len(out), len(order))
	}
	p := &preparer{c, c.producer.DrawIDs(len(out))}
	all := make([]queue.Task, len(out))
	for i, o := range out {
		f := order[i]
		if f.n > 0 {
			o.follow(all[f.at], f.n)
		}
		var err error
		if all[i], err = p.prepare(&Request{Name: o.Name, Payload: o.Payload, Options: o.Options}); err != nil {
			return nil, fmt.Errorf("enqueue %s: %w", o.Name, err)
		}
		all[i].Then = f.n > 0
	}
	return all, nil
}

// seal prepares a task of a transaction, with the middleware around it.
func (c *Client) seal(ctx context.Context, name string, payload any, o Options) (queue.Task, error) {
	if len(c.registry.enqueue) == 0 {
		return c.prepare(name, payload, o)
	}
	var task queue.Task
	out, err := c.outgoingOf(name, payload, o)
	if err != nil {
		return task, err
	}
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
