package runner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker/internal/queue"
	"github.com/stellarfw/stellar/worker/tasks"
)

const (
	// maxUnflushed is how many ended runs may wait for their commit before the node
	// claims no more tasks.
	maxUnflushed = 2000
	// batchBytes bounds a commit. A larger outcome is committed alone, after those that wait
	// with it: Redis may not take it, which shows only after some tries. Every Redis takes
	// this much.
	batchBytes = 1 << 20
	// mendTime is the pause of a task whose outcome could not be applied, for example
	// because a Redis key that it needs has the wrong type.
	mendTime = time.Minute
)

// ended removes runs, and those that are joined to them, from those in hand and queues their outcomes for
// the next commit.
func (r *Runner) ended(runs ...*run) {
	var overdue *run
	r.mu.Lock()
	for _, x := range runs {
		if r.release(x) {
			overdue = x
		}
		for _, other := range x.joined {
			if r.release(other) {
				overdue = other
			}
		}
	}
	r.unsent = append(r.unsent, runs...)
	r.changed.Broadcast()
	r.mu.Unlock()
	if overdue != nil {
		overdue.log().Info().Stringer("ran", overdue.Ran).Msg("the handler that was overdue has returned")
	}
	select {
	case r.flush <- struct{}{}:
	default:
	}
}

// release removes a run from those in hand, and reports whether its handler was overdue. The caller holds r.mu.
func (r *Runner) release(x *run) bool {
	delete(r.inHand, x.ID)
	return x.stopAlarm()
}

// commitAll commits the outcomes of ended runs until ctx ends. Outcomes that gathered
// during one commit go together in the next.
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
	if r.tending.rests && len(r.unsent) < queue.MaxBatch {
		return nil
	}
	for len(r.unsent) > 1 && !r.unsent[0].letPass && r.unsent[0].Size() > batchBytes {
		r.unsent[0].letPass = true
		r.unsent = append(r.unsent[1:], r.unsent[0])
	}
	n, runs, bytes := 0, 0, 0
	for ; n < len(r.unsent) && runs < queue.MaxBatch; runs += r.unsent[n-1].Joined() {
		if bytes += r.unsent[n].Size(); bytes > batchBytes && n > 0 {
			break
		}
		n++
	}
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
	refused, ends, err := r.send(ctx, runs)
	if unsent, is := errors.AsType[*queue.UnsentError](err); is {
		return r.commitApart(ctx, batch, unsent)
	}
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
		case no && x.joined != nil:
			next, gone := r.refusedJoint(x, refused)
			again, fenced = append(again, next...), fenced+gone
		case !no:
			if x.Verb() == queue.Done {
				r.done.Add(int64(x.Joined()))
			}
			if x.postponed {
				r.reports.Works(ending)
			}
		case code == "FENCED":
			fenced++
		case r.refused(x, code):
			again = append(again, x)
		}
	}
	r.mu.Lock()
	r.sending -= len(batch)
	r.unsent = append(r.unsent, again...)
	r.changed.Broadcast()
	r.mu.Unlock()
	if fenced > 0 {
		return fmt.Errorf("commit: %s not in hand any more: %w", link.Count(fenced, "task"), queue.ErrFenced)
	}
	return nil
}

// refused sets what becomes of a run that was not committed, and reports whether the next commit has it.
func (r *Runner) refused(x *run, code string) bool {
	switch {
	case code == "EXPIRED": // the next commit sends the payloads of its follow-up tasks again
	case x.Verb() != queue.Done:
		r.reports.Failed(ending, r.misplaced(x))
		x.postponed = true
		if x.Verb() == queue.Snooze || x.Verb() == queue.Aside { // even a postponement was refused: try it again in a second
			r.keepFor(time.Second, x)
			return false
		}
		x.End(queue.Snooze, nil, mendTime.Milliseconds(), x.Counts().String()) // its counts unchanged
	default:
		err := queue.RefusalOf(code)
		x.log().Warn().Err(err).Msg("transaction refused: the run has failed")
		x.failed(err)
	}
	return true
}

// send commits runs, and claims others with the same request if no other claim is on its way.
func (r *Runner) send(ctx context.Context, runs []*queue.Run) (refused map[string]string, ends []queue.End, err error) {
	want := r.beginClaim()
	if want.Want == 0 {
		return r.session.Commit(ctx, runs)
	}
	r.offer()
	if !r.session.Works(runs) {
		r.leaveClaim()
		return r.session.Commit(ctx, runs)
	}
	began := time.Now()
	want.Tend = r.mayTend(began)
	w, err := r.session.Work(ctx, runs, want)
	if w.Claimed {
		r.claimed(want.Want, w.Got, w.Broken, began)
		r.start(ctx, w.Got)
	}
	next := soon
	if w.Claimed {
		next = r.outlook(true)
	} else {
		r.lookAgain()
	}
	if !w.Claimed && r.session.Tends() {
		next = tends // until a claim, or if there is no room a resignation, tells Redis otherwise
	}
	r.endClaim(next)
	if r.quiet.Load() { // since the claim began
		r.giveBack()
		next = soon
	}
	if next != woken {
		r.Wake()
	}
	return w.Refused, w.Ends, err
}

// commitApart commits one by one the runs of a batch that Redis does not take. The task of a run
// that it does not take alone is dead: another attempt would hold up all commits as long, for
// an outcome as large.
func (r *Runner) commitApart(ctx context.Context, batch []*run, unsent *queue.UnsentError) error {
	if len(batch) > 1 {
		for i := range batch {
			if err := r.commit(ctx, batch[i:i+1]); err != nil {
				r.observeLost(cmp.Or(context.Cause(ctx), err), batch[i+1:]...)
				return err
			}
		}
		return nil
	}
	x := batch[0]
	if x.Verb() != queue.Done { // a few kilobytes: something else is wrong
		return unsent
	}
	err := fmt.Errorf("%w: %w", tasks.ErrRefused, unsent)
	x.log().Warn().Err(err).Msg("transaction refused: the task is dead")
	all := x.unjoin()
	for _, x := range all {
		tries := x.Counts()
		tries.Attempts++
		x.dead(tries, err)
	}
	r.mu.Lock()
	r.sending--
	r.unsent = append(r.unsent, all...)
	r.mu.Unlock()
	return nil
}

// ending names in reports the outcomes that Redis refuses.
const ending = "ends of tasks"

// misplaced returns the error for a run that Redis cannot put where it belongs, because the
// key is something else's.
func (r *Runner) misplaced(x *run) error {
	place := r.keys.Delayed(x.Queue())
	switch x.Verb() { //nolint:exhaustive // the others put the task among the delayed ones
	case queue.Back, queue.Throttle:
		place = r.keys.Queue(x.Record.Line)
	case queue.Park:
		place = r.keys.Parked(x.Queue(), x.Record.Name)
	}
	return fmt.Errorf("task %s: %w", x.ID, &link.WrongTypeError{Key: place})
}

// keepFor keeps a run in hand whose outcome Redis refused, and commits it again after d.
func (r *Runner) keepFor(d time.Duration, x *run) {
	r.mu.Lock()
	x.returned = true
	r.inHand[x.ID] = x
	r.mu.Unlock()
	time.AfterFunc(d, func() { r.ended(x) })
}
