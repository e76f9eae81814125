package queue

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/stellarfw/stellar/redisbus/link"
)

// Verb is the kind of a run's outcome, as commit.lua names it.
type Verb string

// The kinds of outcomes.
const (
	Done   Verb = "done"   // the handler returned nil
	Later  Verb = "later"  // the run failed; the task runs again after a pause
	Snooze Verb = "snooze" // the task runs again after a pause; the run counts as no attempt
	Aside  Verb = "aside"  // the handler did not start; the task may run after a pause
	Dead   Verb = "dead"   // the task is dead and does not run again
	Back   Verb = "back"   // the handler did not start; the task returns to its queue
	Park   Verb = "park"   // this node has no handler for the task
	// Throttle: the task returns to the front of its line, and its group, or else its queue, rests.
	Throttle Verb = "throttle"
)

// Apart is the code of a run that could have ended, but not in one with those that it was joined to: one of them
// was cancelled, or is not the incarnation's any more.
const Apart = "APART"

// Commit applies the outcomes of runs in Redis. It repeats the request until the reply is
// known or ctx ends, and reorders runs. The error is an [UnsentError] if Redis does not take
// a request of this size; then nothing has changed. refused holds, by task id, the code of each run
// that was not committed: "FENCED" if the incarnation does not own the task any more, [Apart]
// if that was so with another run that was to end with it (see [Run.Join]), any other code says
// why an effect could not be applied. ends are the tasks, of these runs or others, that were
// [Cancelled], and the follow-up tasks that were not stored because they are a [Duplicate]. If
// the first reply was lost, ends is empty.
func (s *Session) Commit(ctx context.Context, runs []*Run) (refused map[string]string, ends []End, err error) {
	return s.commit(ctx, runs, speeds(unjoined(runs)))
}

// commit is [Session.Commit] with the speeds to note.
func (s *Session) commit(ctx context.Context, runs []*Run, speeds []any) (refused map[string]string, ends []End, err error) {
	s.commits++
	args, messages := commitArguments(runs, speeds)
	joined := runs
	runs = unjoined(runs) // of which the positions in the reply speak
	bodies := followingBodies(runs)
	bytes := sizeOf(args)
	for _, b := range bodies {
		bytes += len(b.payload)
	}
	var codes map[int]string
	breaks, withdrawals := 0, 0 // in a row
	err = s.cfg.Reports.Insist(ctx, "commits", func(ctx context.Context) error {
		var err error
		codes, ends, err = s.send(ctx, args, messages, runs, bodies)
		if len(bodies) > 0 && link.CauseOf(err) == link.CauseMemory {
			withoutBodies(runs)
			args, messages = commitArguments(joined, speeds)
			bodies = nil
			codes, ends, err = s.send(ctx, args, messages, runs, nil)
		}
		if isWithdrawn(codes, len(runs)) { // by a withdrawal whose answer was lost
			breaks, withdrawals = 0, 0 // Redis has read this request
			s.commits++
			codes, ends, err = s.send(ctx, args, messages, runs, bodies)
		}
		if !brokenOff(err) {
			breaks, withdrawals = 0, 0
			return err
		}
		if breaks++; breaks < link.FewTries || bytes < leastUnsent {
			return err
		}
		answer, failure := s.withdraw(ctx, len(runs))
		switch {
		case failure != nil: // it is not about this request
			withdrawals = 0
		case !isWithdrawn(answer, len(runs)): // it has run, and the replies were lost
			codes, err = answer, nil
		default:
			if withdrawals++; withdrawals == link.FewTries {
				return &UnsentError{bytes, err}
			}
			s.commits++
		}
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("commit: %w", refusal(err))
	}
	return codesByID(runs, codes), ends, nil
}

// codesByID returns the codes of refused runs by the ids of their tasks.
func codesByID(runs []*Run, codes map[int]string) map[string]string {
	refused := map[string]string{}
	for at, code := range codes {
		if at >= 1 && at <= len(runs) {
			refused[runs[at-1].ID] = code
		}
	}
	return refused
}

// send sends a commit of runs once, under the current number, with a new seal of its messages.
func (s *Session) send(ctx context.Context, args []any, messages []int, runs []*Run, bodies []body) (
	codes map[int]string, ends []End, err error,
) {
	if len(messages) > 0 {
		args = slices.Clone(args)
		if err := runs[0].Node.sealAll(ctx, args, messages); err != nil {
			return nil, nil, err
		}
	}
	args = append([]any{s.cfg.Incarnation, s.commits}, args...)
	reply, err := callWith(ctx, s.ending, s.cfg.Redis, s.cfg.Keys, bodies, args)
	if err == nil {
		ends, reply = takeEnds(reply)
		codes, err = reply.Refusals()
	}
	return codes, ends, err
}

// withdraw uses up the number of a commit of n runs whose outcome is unknown, with a commit of
// tasks that nobody owns, one more than the runs: Redis runs one of the two and answers both
// with the result of that one, which [isWithdrawn] tells apart.
func (s *Session) withdraw(ctx context.Context, n int) (codes map[int]string, err error) {
	nobodys := make([]*Run, n+1)
	for i := range nobodys {
		nobodys[i] = &Run{}
		nobodys[i].End(Back, nil)
	}
	args, _ := commitArguments(nobodys, nil)
	codes, _, err = s.send(ctx, args, nil, nil, nil)
	return codes, err
}

// isWithdrawn reports whether an answer to a commit of n runs, or to its withdrawal, is the
// withdrawal's: then the commit has not run and never will under that number.
func isWithdrawn(codes map[int]string, n int) bool {
	_, is := codes[n+1]
	return is
}

// commitArguments returns the arguments of commit.lua after the number for a batch, which it
// sorts, and for speeds. Most tasks are done and have no effects, result or retention: only their ids
// are sent, grouped by queue. messages are the places of those that are to be sealed.
func commitArguments(batch []*Run, speeds []any) (args []any, messages []int) {
	sortRuns(batch)
	plain := 0
	for plain < len(batch) && batch[plain].weight() == 0 {
		plain++
	}
	args = append(make([]any, 0, 16+3*len(batch)), len(speeds)/speedWords)
	args = append(args, speeds...)
	args = appendDone(args, batch[:plain])
	args = append(args, len(unjoined(batch[plain:])))
	for _, r := range batch[plain:] {
		if len(r.with) > 0 {
			args = append(args, "&", r.Joined()) // no id is like that
		}
		args, messages = appendOther(args, messages, r)
		for _, other := range r.with {
			args, messages = appendOther(args, messages, other)
		}
	}
	return args, messages
}

// appendOther appends a run that is not just done.
func appendOther(args []any, messages []int, r *Run) ([]any, []int) {
	if r.outcome.verb == Done && r.outcome.args == nil {
		r.outcome.args = []any{"", "", ""}
	}
	args = append(args, r.ID, r.Record.Line, r.Record.Options.deadline(), string(r.outcome.verb))
	args = append(args, r.outcome.args...)
	return appendEffects(args, messages, r.outcome.effects)
}

// appendEffects appends the number of effects and these, as lua/effects.lua reads them, and the
// places of the messages that are to be sealed.
func appendEffects(args []any, messages []int, effects []Effect) ([]any, []int) {
	args = append(args, len(effects))
	for _, e := range effects {
		args = append(args, e.kind)
		args = append(args, e.args...)
		if e.kind == publishing {
			messages = append(messages, len(args)-1)
		}
	}
	return args, messages
}

// followingBodies returns the bodies of the tasks that runs enqueue.
func followingBodies(runs []*Run) (all []body) {
	for _, r := range runs {
		all = append(all, bodiesIn(r.outcome.effects)...)
	}
	return all
}

// bodiesIn returns the bodies of the tasks that effects enqueue.
func bodiesIn(effects []Effect) (all []body) {
	for _, e := range effects {
		if e.large != nil {
			all = append(all, e.large.body)
		}
	}
	return all
}

// withoutBodies puts the payloads of the tasks that runs enqueue into their records. At maxmemory
// Redis takes what a commit writes, as it frees memory in the end, but no SET before it.
func withoutBodies(runs []*Run) {
	for _, r := range runs {
		embody(r.outcome.effects)
	}
}

func embody(effects []Effect) {
	for i, e := range effects {
		if e.large != nil {
			effects[i] = EnqueueEffect(e.large.whole())
		}
	}
}

// sortRuns sorts the runs of a commit: first those that are done and nothing more, by queue.
func sortRuns(batch []*Run) {
	slices.SortStableFunc(batch, func(a, b *Run) int {
		return cmp.Or(a.weight()-b.weight(), strings.Compare(a.outcome.queue, b.outcome.queue))
	})
}

// appendDone appends sorted runs that are done and nothing more: the number of their queues,
// then for each its name, its number of ids, and these.
func appendDone(args []any, runs []*Run) []any {
	groupsAt := len(args)
	args = append(args, 0)
	groups, countAt := 0, 0
	for i, r := range runs {
		if i == 0 || r.outcome.queue != runs[i-1].outcome.queue {
			groups++
			args = append(args, r.outcome.queue, 0)
			countAt = len(args) - 1
		}
		args = append(args, r.ID)
		args[countAt] = len(args) - 1 - countAt
	}
	args[groupsAt] = groups
	return args
}
