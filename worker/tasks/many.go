package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"sync"

	"github.com/stellarfw/stellar/worker/internal/queue"
)

// Bounds of what [Client.EnqueueSeq] has in memory at a time.
const (
	seqTasks = 4 * queue.MaxBatch
	seqBytes = 4 << 20 // of payloads, and one task more
)

// EnqueueSeq is [Client.EnqueueMany] for any number of tasks in bounded memory: it takes some from the sequence,
// stores them, and yields their receipts, in the order of the tasks. A task is taken only when those
// before it are stored, but for up to 2,000 of 4 MiB. It ends at the first error, which is yielded last, and
// when the caller wants no more receipts: what was taken until then is stored. With [ErrQueueFull] the receipts before it
// that have no id are those of tasks that were not accepted. Middleware ([Registry.UseEnqueue]) gets each task once, up to
// 2,000 in one call; an error of its own refuses all of its call.
func (c *Client) EnqueueSeq(ctx context.Context, requests iter.Seq[Request]) iter.Seq2[Receipt, error] {
	return func(yield func(Receipt, error) bool) {
		var some []Request
		bytes := 0
		for r := range requests {
			size, err := r.encode(0)
			if err != nil {
				if c.enqueueSome(ctx, some, yield) {
					yield(Receipt{}, err)
				}
				return
			}
			some, bytes = append(some, r), bytes+size
			if len(some) >= seqTasks || bytes >= seqBytes {
				if !c.enqueueSome(ctx, some, yield) {
					return
				}
				some, bytes = some[:0], 0
			}
		}
		c.enqueueSome(ctx, some, yield)
	}
}

// enqueueSome enqueues tasks and yields their receipts, then an error. It returns false after an error, or if no
// more is wanted.
func (c *Client) enqueueSome(ctx context.Context, some []Request, yield func(Receipt, error) bool) bool {
	if len(some) == 0 {
		return true
	}
	receipts, sent, err := c.enqueueMany(ctx, some, true)
	if err != nil && !sent {
		refused := len(c.registry.enqueue) == 0 &&
			(errors.Is(err, ErrInvalid) || errors.Is(err, ErrName) || errors.Is(err, ErrUndefined) || errors.Is(err, ErrTooLarge))
		if n := len(some) / 2; n > 0 && refused { // one of them: those before it are stored
			return c.enqueueSome(ctx, some[:n], yield) && c.enqueueSome(ctx, some[n:], yield)
		}
		if c.observer != nil {
			c.observeRefused(some)
		}
	}
	for _, r := range receipts {
		if !yield(r, nil) {
			return false
		}
	}
	if err != nil {
		yield(Receipt{}, err)
	}
	return err == nil
}

// encode encodes the payloads of the task and of its Then tasks, and returns their size.
func (n *Request) encode(depth int) (size int, err error) {
	if depth > maxThen {
		return 0, fmt.Errorf("%w: Then is nested more than %d deep, or holds itself", ErrInvalid, maxThen)
	}
	payload, err := encode(n.Payload)
	if err != nil {
		return 0, fmt.Errorf("enqueue %s: %w", n.Name, err)
	}
	n.Payload, size = payload, len(payload)
	if len(n.Then) == 0 {
		return size, nil
	}
	n.Then = append([]Request(nil), n.Then...) // the caller's stay as they are
	for i := range n.Then {
		more, err := n.Then[i].encode(depth + 1)
		if err != nil {
			return 0, err
		}
		size += more
	}
	return size, nil
}

// Ending is how one of many tasks ended for which a caller waited.
type Ending struct {
	ID     string
	Result json.RawMessage
	Err    error // see [Client.Wait]
}

// WaitMany is [Client.Wait] for many tasks at once. It yields how each has ended as soon as it has: one Ending for
// each id. When ctx ends, those that have not ended come with its error. A caller that wants no more waits no more.
func (c *Client) WaitMany(ctx context.Context, ids []string) iter.Seq[Ending] {
	return func(yield func(Ending) bool) {
		ctx, stop := context.WithCancel(ctx)
		endings := make(chan Ending, len(ids)) // nobody may receive them
		var waits sync.WaitGroup
		defer waits.Wait()
		defer stop()
		for _, id := range ids {
			waits.Go(func() {
				result, err := c.Wait(ctx, id)
				endings <- Ending{id, result, err}
			})
		}
		for range ids {
			if !yield(<-endings) {
				return
			}
		}
	}
}

// EndingOf is an [Ending] with the result decoded into Out; the zero value when the handler set none.
type EndingOf[Out any] struct {
	ID     string
	Result Out
	Err    error // see [WaitFor]
}

// WaitManyFor is [Client.WaitMany] with the results decoded into Out.
func WaitManyFor[Out any](ctx context.Context, c *Client, ids []string) iter.Seq[EndingOf[Out]] {
	return func(yield func(EndingOf[Out]) bool) {
		for e := range c.WaitMany(ctx, ids) {
			result, err := decodeResult[Out](e.Result, e.ID, e.Err)
			if !yield(EndingOf[Out]{e.ID, result, err}) {
				return
			}
		}
	}
}
