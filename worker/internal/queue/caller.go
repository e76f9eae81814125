package queue

import (
	"context"
	"errors"
	"fmt"

	"github.com/stellarfw/stellar/redisbus/link"
)

// Caller is a user of a [Producer], such as a node, whose calls end with it while those of
// others go on. Make one with [Producer.Caller].
type Caller struct {
	producer *Producer
	closed   error           // the error of calls that Close interrupts, and of later calls
	ctx      context.Context //nolint:containedctx // ends with the caller and with its producer
	cancel   context.CancelFunc
}

// Caller returns a caller of the producer that works until ctx ends or [Caller.Close] is
// called. Calls that still wait then, and later calls, return an error that wraps closed.
func (p *Producer) Caller(ctx context.Context, closed error) *Caller {
	c := &Caller{producer: p, closed: closed}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(p.ctx, cancel)
	c.ctx, c.cancel = ctx, func() { stop(); cancel() }
	return c
}

// Close ends the calls that still wait. Whether their tasks were stored is unknown.
func (c *Caller) Close() { c.cancel() }

// Enqueue stores any number of tasks, in their order, in batches. While Redis is not
// available it waits until ctx ends. known is the number of tasks, from the first on,
// whose outcome is known. refused holds the codes of known tasks that were not stored, by
// position from 0: "taken" if the id is taken, "unique=…" if the task with that id has
// the unique key, "full" if the queue is full.
//
// After an error the tasks after the known ones are not stored, except if the error's
// outcome is unknown: then up to three batches of them may be.
func (c *Caller) Enqueue(ctx context.Context, tasks []Task) (known int, refused map[int]string, err error) {
	if err := link.Cancelled(ctx); err != nil {
		return 0, nil, err
	}
	parts := c.split(ctx, tasks)
	posted := 0
	for i, s := range parts {
		if len(parts) >= bulkParts {
			c.learnClock(ctx)
		}
		// Post some parts ahead, so that the senders need not wait for this goroutine.
		for ; posted < len(parts) && posted <= i+window; posted++ {
			c.producer.post(parts[posted], len(parts) == 1)
		}
		if err := c.wait(s); err != nil {
			c.producer.withdraw(parts[i+1 : posted]...)
			return known, refused, err
		}
		for at, code := range s.refused {
			if refused == nil {
				refused = map[int]string{}
			}
			refused[known+at] = code
		}
		known += len(s.tasks)
	}
	return known, refused, nil
}

// wait waits until a part has ended. When its call's context or its caller ends first, the
// error wraps link.ErrUnknownOutcome if the part was sent.
func (c *Caller) wait(s *submission) error {
	select {
	case <-s.done:
		return c.because(s.err)
	case <-s.ctx.Done():
	case <-c.ctx.Done():
	}
	c.producer.withdraw(s)
	sent := c.producer.wasSent(s)
	select {
	case <-s.done: // both channels are ready: the part's own outcome is more precise
		return c.because(s.err)
	default:
	}
	switch {
	case c.ctx.Err() != nil && sent:
		return c.because(link.Unanswered(context.Canceled))
	case c.ctx.Err() != nil:
		return c.because(link.ErrNotSent)
	case sent:
		return link.Unanswered(context.Cause(s.ctx))
	default:
		return link.GaveUp(s.ctx, nil)
	}
}

// because adds to the error of a call that the caller has ended.
func (c *Caller) because(err error) error {
	if err == nil || c.ctx.Err() == nil && c.producer.ctx.Err() == nil || errors.Is(err, c.closed) {
		return err
	}
	return fmt.Errorf("%w: %w", c.closed, err)
}
