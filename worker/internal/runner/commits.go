package runner

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/stellarfw/stellar/worker/internal/queue"
)

const (
	// maxUnflushed is how many commits may wait before the node claims no more.
	maxUnflushed = 2000
	// mendTime is how long a task waits whose place on Redis is something else's.
	mendTime = time.Minute
)

// ended hands a run whose outcome is known to the commits.
func (r *Runner) ended(x *run) {
	r.mu.Lock()
	delete(r.inHand, x.ID)
	r.unsent = append(r.unsent, x)
	r.changed.Broadcast()
	r.mu.Unlock()
	select {
	case r.flush <- struct{}{}:
	default:
	}
}

// commitAll sends outcomes: those that gathered while the last commit was on its
// way go together.
func (r *Runner) commitAll(ctx context.Context) error {
	for {
		select {
		case <-r.flush:
		case <-ctx.Done():
			return nil
		}
		for {
			batch := r.nextBatch()
			if len(batch) == 0 {
				break
			}
			err := r.commit(ctx, batch)
			if ctx.Err() != nil {
				return nil //nolint:nilerr // the node is ending: what is not committed goes back with it
			}
			if err != nil {
				return err
			}
		}
	}
}

func (r *Runner) nextBatch() []*run {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := min(len(r.unsent), queue.MaxBatch)
	batch := slices.Clone(r.unsent[:n])
	r.unsent = slices.Delete(r.unsent, 0, n)
	r.sending = n
	return batch
}

func (r *Runner) commit(ctx context.Context, batch []*run) error {
	runs := make([]*queue.Run, len(batch))
	for i, x := range batch {
		runs[i] = &x.Run
	}
	began := time.Now()
	refused, ends, err := r.session.Commit(ctx, runs)
	if err != nil {
		r.observeLost(cmp.Or(context.Cause(ctx), err), batch...)
		return err
	}
	r.observeCommit(batch, refused, ends, began)
	var again []*run
	fenced := 0
	for _, x := range batch {
		code, no := refused[x.ID]
		switch {
		case !no:
			if x.Verb() == queue.Done {
				r.done.Add(1)
			}
		case code == "FENCED":
			fenced++
		case x.Verb() == queue.Snooze: // it cannot even be put off: it stays in hand for a while
			r.keepFor(time.Second, x)
		case x.Verb() != queue.Done: // it could not be put where it was to go: later, as it was
			x.End(queue.Snooze, nil, mendTime.Milliseconds(), x.Tries.String())
			again = append(again, x)
		default:
			err := refusal(code)
			x.log().Warn().Err(err).Msg("transaction refused: the run has failed")
			x.failed(err)
			again = append(again, x)
		}
	}
	r.mu.Lock()
	r.sending = 0
	r.unsent = append(r.unsent, again...)
	r.changed.Broadcast()
	r.mu.Unlock()
	if fenced > 0 {
		return fmt.Errorf("commit: %d tasks are not in hand any more: %w", fenced, queue.ErrFenced)
	}
	return nil
}

// keepFor takes a run back whose outcome Redis cannot take, and tries again later.
func (r *Runner) keepFor(d time.Duration, x *run) {
	r.mu.Lock()
	x.returned = true
	r.inHand[x.ID] = x
	r.mu.Unlock()
	time.AfterFunc(d, func() { r.ended(x) })
}
