package tasks

import (
	"context"
	"fmt"
	"slices"
	"time"
)

const (
	// maxUnflushed is how many commits may wait before the node claims no more.
	maxUnflushed = 2000
	// mendTime is how long a task waits whose place on Redis is something else's.
	mendTime = time.Minute
)

// ended hands an outcome to the commits.
func (r *Runner) ended(o outcome) {
	r.mu.Lock()
	delete(r.inHand, o.id)
	r.unsent = append(r.unsent, o)
	r.changed.Broadcast()
	r.mu.Unlock()
	select {
	case r.flush <- struct{}{}:
	default:
	}
}

// commitAll sends outcomes, those together that gathered while the last commit
// was on its way.
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

func (r *Runner) nextBatch() []outcome {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := min(len(r.unsent), maxBatch)
	batch := slices.Clone(r.unsent[:n])
	r.unsent = slices.Delete(r.unsent, 0, n)
	r.sending = n
	return batch
}

func (r *Runner) commit(ctx context.Context, batch []outcome) error {
	refused, err := r.stream.commit(ctx, batch)
	if err != nil {
		return err
	}
	var again []outcome
	fenced := 0
	for position, o := range batch {
		code, no := refused[position]
		if !no {
			if o.verb == verbDone {
				r.done.Add(1)
			}
			continue
		}
		if code == "FENCED" {
			fenced++
			continue
		}
		if o.verb == verbSnooze { // it cannot even be put off: it stays in hand for a while
			r.keepFor(time.Second, o)
			continue
		}
		if o.verb != verbDone { // it could not be put where it was to go: later, as it was
			again = append(again, o.run.outcome(verbSnooze, mendTime.Milliseconds(), o.run.claimed.tries.String()))
			continue
		}
		err := refusal(code)
		o.run.log().Warn().Err(err).Msg("transaction refused: the run has failed")
		again = append(again, o.run.failed(err))
	}
	r.mu.Lock()
	r.sending = 0
	r.unsent = append(r.unsent, again...)
	r.changed.Broadcast()
	r.mu.Unlock()
	if fenced > 0 {
		return fmt.Errorf("commit: %d tasks are not in hand any more: %w", fenced, ErrFenced)
	}
	return nil
}

// keepFor takes an outcome back that Redis cannot take, and tries again later.
func (r *Runner) keepFor(d time.Duration, o outcome) {
	r.mu.Lock()
	o.run.returned = true
	r.inHand[o.id] = o.run
	r.mu.Unlock()
	time.AfterFunc(d, func() { r.ended(o) })
}
