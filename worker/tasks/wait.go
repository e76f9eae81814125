package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker/internal/queue"
)

// ErrDead is wrapped by the error of [Client.Result] and [Client.Wait] for a task
// that is dead; see also [ErrCancelled].
var ErrDead = errors.New("task is dead")

// Result returns the result of a completed task (nil when its handler set none), and whether
// the task has completed. Completed tasks are remembered only if they have a retention or an
// id that the caller chose; for other tasks the error is [ErrNotFound] once they are done.
func (c *Client) Result(ctx context.Context, id string) (result json.RawMessage, done bool, err error) {
	return c.ending(ctx, id, false)
}

// ending reads how a task ended. With listen, the end of a task that has not ended yet will
// be announced.
func (c *Client) ending(ctx context.Context, id string, listen bool) (result json.RawMessage, done bool, err error) {
	word, detail, err := c.store.Ending(ctx, id, listen)
	if err != nil {
		return nil, false, fmt.Errorf("result of %s: %w", id, err)
	}
	switch word {
	case string(Done):
		if detail != "" {
			result = json.RawMessage(detail)
		}
		return result, true, nil
	case string(Dead):
		return nil, false, fmt.Errorf("%w: %s: %s", ErrDead, id, parseReason(detail))
	case string(Cancelled):
		return nil, false, fmt.Errorf("%w: %s: %s", ErrCancelled, id, parseReason(detail).Error)
	case queue.Gone:
		return nil, false, fmt.Errorf("%w: %s: done and forgotten, or never stored: use EnqueueAndWait, WantResult or Retention", ErrNotFound, id)
	}
	return nil, false, nil
}

func parseReason(text string) Reason {
	var why Reason
	_ = json.Unmarshal([]byte(text), &why) // a reason that cannot be read stays empty
	return why
}

// String returns the reason and the error, to end a sentence with.
func (r Reason) String() string { return r.Reason + ": " + r.Error }

// errNotYet means that the task has not ended.
var errNotYet = errors.New("not yet")

// EnqueueAndWait enqueues a task and waits until it has ended. It returns the task's result
// and the errors of [Client.EnqueueWith] and [Client.Wait]. The wait is announced by the
// script that stores the task, so that the end is not missed however soon it comes: no
// retention is needed.
func (c *Client) EnqueueAndWait(ctx context.Context, name string, payload any, o Options) (json.RawMessage, error) {
	o.Await = true
	receipt, err := c.EnqueueWith(ctx, name, payload, o)
	if err != nil {
		return nil, err
	}
	return c.Wait(ctx, receipt.ID)
}

// Wait waits until a task has ended, which Redis announces, and returns the task's result. A
// task without a retention is remembered for a minute if a caller waits for it when it ends;
// a fast task may end before that caller waits, and is then not found: use
// [Client.EnqueueAndWait], or [Options].Await, WantResult or Retention.
//
// The error is [ErrDead], [ErrCancelled], [ErrNotFound] (also if the task was forgotten
// before the call), [ErrClosed], or ctx's. Wait goes on waiting while Redis is not
// available.
func (c *Client) Wait(ctx context.Context, id string) (json.RawMessage, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	stay := context.AfterFunc(c.closed, func() { stop(ErrClosed) })
	defer stay()
	var result json.RawMessage
	err := c.endings.Await(ctx, c.keys.Ended(id), true,
		func(err error) bool {
			return errors.Is(err, errNotYet) || link.IsOutage(err)
		},
		func() (time.Duration, error) {
			var done bool
			var err error
			result, done, err = c.ending(ctx, id, true)
			if err == nil && !done {
				err = errNotYet
			}
			return 0, err
		})
	if errors.Is(err, redisbus.ErrClosed) {
		return nil, fmt.Errorf("wait for %s: %w", id, ErrClosed)
	}
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("wait for %s: %w", id, context.Cause(ctx))
	}
	return result, err
}

// WaitFor is [Client.Wait] with the result decoded into Out; the zero value when the
// handler set none.
func WaitFor[Out any](ctx context.Context, c *Client, id string) (Out, error) {
	result, err := c.Wait(ctx, id)
	return decodeResult[Out](result, id, err)
}
