package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stellarfw/stellar/worker/internal/queue"
)

// Bounds of a [Batch].
const (
	// DefaultBatch is how many tasks a batch has at most whose Max is 0.
	DefaultBatch = 100
	// MaxBatch is the largest Max.
	MaxBatch = queue.MaxBatch
	// MaxBatchBytes bounds the payloads of a batch: the task that reaches it is its last one.
	MaxBatchBytes = 1 << 20
	// MaxBatchWait is the longest Wait.
	MaxBatchWait = time.Hour
)

// Batch says how many tasks of a name go to one call of their handler; see [HandleBatch].
type Batch struct {
	// Max is how many tasks a batch has at most, up to [MaxBatch]. Default [DefaultBatch].
	Max int
	// Wait is for how long a node gathers after the first task of a batch, up to
	// [MaxBatchWait]. Default 0: a batch has what waits when the node looks.
	Wait time.Duration
}

func (b Batch) validate(name string) error {
	if b.Max < 0 || b.Max > MaxBatch || b.Wait < 0 || b.Wait > MaxBatchWait {
		return fmt.Errorf("task %s: %w: batch of %d tasks within %s: use up to %d tasks, and up to %s",
			name, ErrInvalid, b.Max, b.Wait, MaxBatch, MaxBatchWait)
	}
	return nil
}

// HandleBatch registers a task whose handler is called with many of them: a node gathers up to b.Max
// tasks of the name, or what came within b.Wait of the first, or [MaxBatchBytes] of payloads, and gives
// them to one call, which takes one slot of the node, and counts as one for [Limits].Concurrency. What is
// gathered takes no slot.
//
// The batch has one transaction ([Tx]), which commits in one script with all of its tasks that
// succeeded. When the handler returns nil, these are all; when it returns a [BatchError], they are
// those that it does not name. Each of the others goes its own way: it has failed an attempt, or what
// its error asks for ([Snooze], [RetryAfter], [Discard]). After any other error or a panic all have failed with it.
// A task whose payload does not decode fails with [ErrPayload]; the handler does not get it.
//
// If a task that would commit was cancelled, or is not this run's any more, nothing of the batch commits, and
// the others go back to their queues: that counts as no attempt. The handler's context ends when a task of the batch is
// cancelled, and at the earliest deadline or timeout of its tasks. If it fails after one was cancelled, or at a deadline, those
// that neither was cancelled nor is late go back likewise.
//
// When its node ends, gathered tasks, and those of batches that run, go back to their queues as others do. A task that may have ended
// a process with others before runs alone, as a batch of one.
//
// Inside, [InfoOf] describes the batch. [Step], [Sleep], [Checkpoint], [Restore], [SetProgress] and [Transaction].Result
// fail with [ErrBatch]. Middleware is called once for a batch, with the JSON array of its tasks'
// payloads.
func HandleBatch[In any](r Registrar, d Definition, b Batch, h func(ctx context.Context, in []In) error) {
	if h == nil {
		r.RegisterBatch(d, b, nil)
		return
	}
	r.RegisterBatch(d, b, func(ctx context.Context, payload json.RawMessage) error {
		g, in, err := open[In](ctx, payload)
		if err != nil || len(in) == 0 && len(g.failed) > 0 {
			return errors.Join(err, g.failed.Err())
		}
		return g.close(h(context.WithValue(ctx, givenKey{}, g.given), in))
	})
}

// HandleBatchResult is [HandleBatch] for a handler that returns the results of the tasks, one
// for each, in their order; see [HandleResult]. Those of tasks that a [BatchError] names do not count.
func HandleBatchResult[In, Out any](r Registrar, d Definition, b Batch, h func(ctx context.Context, in []In) ([]Out, error)) {
	if h == nil {
		r.RegisterBatch(d, b, nil)
		return
	}
	HandleBatch(r, d, b, func(ctx context.Context, in []In) error {
		out, err := h(ctx, in)
		failed, some := batchError(err)
		if err != nil && !some {
			return err
		}
		if len(out) != len(in) {
			return fmt.Errorf("the handler returned %d results for %d tasks", len(out), len(in))
		}
		failed = maps.Clone(failed)
		for i, run := range givenOf(ctx) {
			if failed[i] != nil {
				continue
			}
			encoded, err := encodeResult(out[i])
			if err != nil {
				if failed == nil {
					failed = BatchError{}
				}
				failed[i] = fmt.Errorf("result: %w", err)
				continue
			}
			run.SetResult(encoded)
		}
		return failed.Err()
	})
}

// BatchError is the error of a handler of [HandleBatch] for tasks that failed: why, by their
// positions in its argument. The tasks that it does not name have succeeded.
//
//	failed := tasks.BatchError{}
//	for i, in := range all {
//		if err := send(ctx, in); err != nil {
//			failed[i] = err
//		}
//	}
//	return failed.Err()
//
// It may be wrapped, but not joined with other errors: then all tasks have failed.
type BatchError map[int]error

// Err returns the error, or nil if no task failed.
func (e BatchError) Err() error {
	for _, err := range e {
		if err != nil {
			return e
		}
	}
	return nil
}

// Error implements error. It names the first few tasks.
func (e BatchError) Error() string {
	const most = 3
	at := e.positions()
	text := make([]string, 0, most)
	for _, i := range at[:min(len(at), most)] {
		text = append(text, fmt.Sprintf("task %d: %v", i, e[i]))
	}
	if len(at) > most {
		text = append(text, "…")
	}
	return fmt.Sprintf("%d of the batch failed: %s", len(at), strings.Join(text, "; "))
}

// Unwrap returns the errors of the tasks.
func (e BatchError) Unwrap() []error {
	all := make([]error, 0, len(e))
	for _, i := range e.positions() {
		all = append(all, e[i])
	}
	return all
}

// positions returns where an error is.
func (e BatchError) positions() []int {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(e)), func(i int) bool { return e[i] == nil })
}

// batchError returns the [BatchError] that err is or wraps.
func batchError(err error) (BatchError, bool) {
	for err != nil {
		if e, is := err.(BatchError); is { //nolint:errorlint // one that is joined with others does not count
			return e, true
		}
		many, joined := err.(interface{ Unwrap() []error })
		if joined && len(many.Unwrap()) != 1 {
			return nil, false
		}
		if joined {
			err = many.Unwrap()[0]
		} else {
			err = errors.Unwrap(err)
		}
	}
	return nil, false
}

// splitBatch returns the errors of the n tasks of a batch whose handler returned err; nil stands for those that
// succeeded.
func splitBatch(err error, n int) []error {
	failed, some := batchError(err)
	for i := range failed {
		if i < 0 || i >= n {
			some, err = false, fmt.Errorf("the handler returned an error for task %d of a batch of %d: %w", i, n, err)
			break
		}
	}
	errs := make([]error, n)
	for i := range errs {
		if errs[i] = err; some {
			errs[i] = failed[i]
		}
	}
	return errs
}

// splitting returns the handler of a batch whose error is a [queue.SplitError] if it is a [BatchError].
func splitting(h Handler) Handler {
	return func(ctx context.Context, payload json.RawMessage) error {
		err := h(ctx, payload)
		if _, some := batchError(err); some {
			return queue.SplitError(splitBatch(err, len(mustRun(ctx, "HandleBatch").Members)))
		}
		return err
	}
}

// givenKey is the key of the runs of a batch that its handler was given.
type givenKey struct{}

// givenOf returns the runs of the batch that the context belongs to, in the order of the handler's
// argument.
func givenOf(ctx context.Context) []*queue.Run {
	if given, is := ctx.Value(givenKey{}).([]*queue.Run); is {
		return given
	}
	return queue.RunOf(ctx).Members
}

// opened is a batch whose payloads were decoded.
type opened struct {
	given  []*queue.Run
	places []int      // of these in the batch
	failed BatchError // the others
	all    int
}

// open decodes the payloads of a batch.
func open[In any](ctx context.Context, payload json.RawMessage) (*opened, []In, error) {
	g := &opened{failed: BatchError{}}
	members := mustRun(ctx, "HandleBatch").Members
	var payloads []json.RawMessage
	if err := json.Unmarshal(payload, &payloads); err != nil {
		return g, nil, fmt.Errorf("payloads of the batch: %w", err)
	}
	if g.all = len(payloads); g.all != len(members) {
		return g, nil, fmt.Errorf("middleware made %d payloads of those of %d tasks", g.all, len(members))
	}
	in := make([]In, 0, len(payloads))
	for i, text := range payloads {
		one, err := decode[In](text)
		if err != nil {
			g.failed[i] = err
			continue
		}
		in, g.given, g.places = append(in, one), append(g.given, members[i]), append(g.places, i)
	}
	return g, in, nil
}

// close returns the error of the batch whose handler returned err for the payloads that it was given.
func (g *opened) close(err error) error {
	if err == nil || len(g.failed) == 0 {
		if err == nil {
			return g.failed.Err()
		}
		return err
	}
	for i, err := range splitBatch(err, len(g.given)) {
		g.failed[g.places[i]] = err
	}
	return g.failed
}
