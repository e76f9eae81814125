package tasks

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"sync"

	"github.com/stellarfw/stellar/worker/internal/queue"
)

// preparer checks and encodes the tasks of one call, one after the other.
type preparer struct {
	c   *Client
	ids queue.IDs
}

// prepareMany prepares the tasks of one call, each followed by its [Request].Then tasks.
// Many tasks are prepared on all processors at once, but only if no code of the caller
// encodes their payloads: that code may panic, or may not be safe for concurrent use.
func (c *Client) prepareMany(requests []Request) ([]queue.Task, error) {
	const share = 4096 // below it, another goroutine costs more than it saves
	total, err := count(requests, 0)
	if err != nil {
		return nil, err
	}
	n := min(runtime.GOMAXPROCS(0), 1+len(requests)/share)
	if n > 1 && slices.ContainsFunc(requests, Request.encodes) {
		n = 1
	}
	ids := c.producer.DrawIDs(len(requests))
	all := make([]queue.Task, 0, total)
	if n == 1 {
		return (&preparer{c, ids}).prepareMany(all, requests)
	}
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		from, to, at := i*len(requests)/n, (i+1)*len(requests)/n, len(all)
		many, _ := count(requests[from:to], 0) // it was right above
		all = all[:at+many]
		part := all[at:at:len(all)]
		wg.Go(func() {
			_, errs[i] = (&preparer{c, ids.From(from)}).prepareMany(part, requests[from:to])
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err // the first one's
		}
	}
	return all, nil
}

// count returns the number of tasks, [Request].Then tasks included.
func count(requests []Request, depth int) (int, error) {
	if depth > maxThen {
		return 0, fmt.Errorf("%w: Then is nested more than %d deep, or holds itself", ErrInvalid, maxThen)
	}
	n := len(requests)
	for i := range requests {
		if len(requests[i].Then) == 0 {
			continue
		}
		more, err := count(requests[i].Then, depth+1)
		if err != nil {
			return 0, err
		}
		n += more
	}
	return n, nil
}

// encodes reports whether a payload has to be encoded.
func (n Request) encodes() bool {
	_, raw := n.Payload.(json.RawMessage)
	return n.Payload != nil && !raw || slices.ContainsFunc(n.Then, Request.encodes)
}

// prepareMany appends the tasks to all.
func (p *preparer) prepareMany(all []queue.Task, requests []Request) ([]queue.Task, error) {
	var err error
	for i := range requests {
		if all, err = p.prepareAll(all, &requests[i]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// prepareAll appends a task and then its [Request].Then tasks.
func (p *preparer) prepareAll(all []queue.Task, n *Request) ([]queue.Task, error) {
	task, err := p.prepare(n)
	if err != nil {
		return nil, fmt.Errorf("enqueue %s: %w", n.Name, err)
	}
	all = append(all, task)
	for i, then := range n.Then {
		follow(&then.Options, task, i+1)
		at := len(all)
		if all, err = p.prepareAll(all, &then); err != nil {
			return nil, err
		}
		all[at].Then = true
	}
	return all, nil
}

// follow changes the options of a task into those of the n-th [Request].Then task of
// another task.
func follow(o *Options, task queue.Task, n int) {
	o.After = append(slices.Clone(o.After), task.ID)
	if o.ID == "" {
		o.ID, o.drawn = task.ID+".then."+strconv.Itoa(n), !task.Chosen()
	}
}

// prepare checks and encodes one task.
func (c *Client) prepare(name string, payload any, o Options) (queue.Task, error) {
	p := &preparer{c, c.producer.DrawIDs(1)}
	return p.prepare(&Request{Name: name, Payload: payload, Options: o})
}

// prepare checks and encodes one task.
func (p *preparer) prepare(n *Request) (queue.Task, error) {
	payload, err := encode(n.Payload)
	if err != nil {
		return queue.Task{}, err
	}
	id := n.ID
	if id == "" {
		id = p.ids.Next()
	}
	definition, known := p.c.definitionOf(n.Name, &n.Options)
	if !known && p.c.strict && !n.AnyName {
		return queue.Task{}, ErrUndefined
	}
	in := cmp.Or(n.Queue, definition.Queue, DefaultQueue)
	// Most are like the one before.
	if last := p.c.plain.Load(); last != nil && last.Is(n.Name, in) && n.none() {
		return last.Task(id, queue.NoOptions, payload), nil
	}
	if !known {
		p.c.warnUndefined(n.Name, in)
	}
	return p.kind(n, id, in, definition, payload)
}

// kind checks one task's options and makes a kind for it.
func (p *preparer) kind(n *Request, id, in string, definition Definition, payload []byte) (queue.Task, error) {
	o := n.Options
	if o.WantResult && o.Retention == 0 && definition.Retention == 0 {
		o.Retention = DefaultRetention
	}
	if err := errors.Join(checkName("task name", n.Name), checkName("queue", in), checkName("id", id), o.validate()); err != nil {
		return queue.Task{}, err
	}
	stored := o.record(o.ID != "" && !o.drawn)
	kind := queue.NewKind(n.Name, queue.Line(in, o.Group, o.Priority.mark()), stored)
	if n.Await {
		kind.Await()
	}
	if n.none() {
		p.c.plain.Store(kind)
	}
	return kind.Task(id, stored.String(), payload), nil
}

func encode(payload any) (json.RawMessage, error) {
	encoded, raw := payload.(json.RawMessage)
	if !raw || !validJSON(encoded) { // it is stored as it is: Marshal would compact it
		var err error
		if encoded, err = json.Marshal(payload); err != nil {
			return nil, fmt.Errorf("payload: %w", err)
		}
	}
	if len(encoded) > MaxPayload {
		return nil, fmt.Errorf("payload %w: %d bytes, at most %d: store it elsewhere and enqueue where it is",
			ErrTooLarge, len(encoded), MaxPayload)
	}
	return encoded, nil
}
