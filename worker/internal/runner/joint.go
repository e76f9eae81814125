package runner

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/stellarfw/stellar/worker/internal/queue"
	"github.com/stellarfw/stellar/worker/tasks"
)

// errApart is the error of runs of a batch that could not commit.
var errApart = errors.New("the batch could not commit: a task of it was cancelled, or was late, or is not this node's any more")

// finishBatch sets the outcomes of the runs of a batch whose handler returned err. those are the errors of its
// goroutines.
func (r *run) finishBatch(err, those error) {
	ending := r.work.Err() != nil
	r.end()
	effects, _, txErr := r.Close()
	r.each(func(x *run) { x.Ran = r.Ran })
	if ending {
		r.log().Debug().AnErr("error", err).Msg("batch goes back: its node is ending")
		r.each(func(x *run) {
			x.err = err
			r.runner.observeLost(context.Cause(r.work), x)
			r.runner.abandoned(x.ID)
		})
		return
	}
	errs, split := errors.AsType[queue.SplitError](err)
	if !split || those != nil {
		errs = make([]error, len(r.batch))
		for i := range errs {
			errs[i] = errors.Join(err, those)
		}
		split = false
	}
	var succeeded, over []*run
	failed := &failures{}
	apart := r.apart()
	for i, x := range r.batch {
		switch why := errs[i]; {
		case why == nil && txErr == nil:
			succeeded = append(succeeded, x)
			continue
		case why != nil && !split && apart(x):
			x.goBack()
		case why == nil:
			failed.note(x, txErr)
		default:
			failed.note(x, why)
		}
		over = append(over, x)
	}
	failed.log(r)
	slices.Reverse(over) // each goes to the front of its line: the first one last
	r.runner.ended(append(over, joint(succeeded, effects)...)...)
}

// apart returns a function that reports whether a run goes back when the batch has failed, because
// the failure is another's: a task of the batch was cancelled or past its deadline, and it is not that one.
func (r *run) apart() func(*run) bool {
	r.runner.mu.Lock()
	defer r.runner.mu.Unlock()
	blamed := map[*run]bool{}
	late := errors.Is(r.cause(), tasks.ErrDeadline)
	for _, x := range r.batch {
		if x.cancelled || late && x.late(0) {
			blamed[x] = true
		}
	}
	return func(x *run) bool { return len(blamed) > 0 && !blamed[x] }
}

// joint sets the outcomes of runs that are done together, with these effects, and returns the first one, to
// which the others are joined.
func joint(runs []*run, effects []queue.Effect) []*run {
	if len(runs) == 0 {
		return nil
	}
	first := runs[0]
	first.joined = runs[1:]
	var others []*queue.Run
	for i, x := range runs {
		_, result, _ := x.Close()
		x.done(effects, result)
		if effects = nil; i > 0 {
			others = append(others, &x.Run)
		}
	}
	first.Join(others)
	return runs[:1]
}

// unjoin returns the runs that were to end together, which end each for itself from now on.
func (r *run) unjoin() []*run {
	all := append([]*run{r}, r.joined...)
	r.joined = nil
	r.Join(nil)
	return all
}

// unjoined returns runs with those that are joined to them.
func unjoined(runs []*run) (all []*run) {
	if !slices.ContainsFunc(runs, func(x *run) bool { return x.joined != nil }) {
		return runs
	}
	for _, x := range runs {
		all = append(append(all, x), x.joined...)
	}
	return all
}

// goBack sets the outcome of a run whose batch did not commit.
func (r *run) goBack() {
	r.err = errApart
	r.End(queue.Back, nil)
}

// refusedJoint handles the answer to runs that were to be done together: none of them is. It returns the outcomes
// to commit next.
func (r *Runner) refusedJoint(x *run, refused map[string]string) (again []*run, fenced int) {
	if refused[x.ID] == "EXPIRED" { // the next commit sends the payloads of the follow-up tasks again
		return []*run{x}, 0
	}
	failed := &failures{}
	for _, x := range x.unjoin() {
		switch code := refused[x.ID]; code {
		case "FENCED":
			fenced++
			continue
		case queue.Apart:
			x.goBack()
		default:
			failed.note(x, queue.RefusalOf(code))
		}
		again = append(again, x)
	}
	failed.log(x)
	slices.Reverse(again) // each goes to the front of its line: the first one last
	return again, fenced
}

// failures sets the outcomes of the runs of a batch that failed, and logs them in one line.
type failures struct {
	runs, dead int
	first      error
}

func (f *failures) note(x *run, err error) {
	x.failed(err)
	if errors.Is(err, tasks.ErrSnoozed) || errors.Is(err, tasks.ErrThrottled) {
		return
	}
	f.runs++
	if x.Verb() == queue.Dead {
		f.dead++
	}
	if f.first == nil {
		f.first = fmt.Errorf("task %s: %w", x.ID, err)
	}
}

func (f *failures) log(batch *run) {
	if f.runs > 0 {
		withStack(batch.log().Warn(), f.first).Int("failed", f.runs).Int("dead", f.dead).Msg("tasks of a batch failed")
	}
}
