package queue

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
)

// Verb says how a run ends, in the words of commit.lua.
type Verb string

// How a run ends.
const (
	Done   Verb = "done"   // the handler returned nil
	Later  Verb = "later"  // it has failed and is tried again
	Snooze Verb = "snooze" // it runs again, and this was no attempt
	Dead   Verb = "dead"   // it is not to run again
	Back   Verb = "back"   // it did not begin: another node may have it
	Park   Verb = "park"   // there is no handler for it here
)

// Commit ends tasks as their runs' outcomes say; it reorders the runs. It returns the
// codes of those that did not end, by id: "FENCED" is a task that is not in this
// incarnation's hands, any other says why an effect could not be applied. ends are
// tasks that ended as [Cancelled], of these runs or others, and follow-up tasks of the
// runs that are a [Duplicate]; nobody is told of them when the first reply was lost.
func (s *Session) Commit(ctx context.Context, runs []*Run) (refused map[string]string, ends []End, err error) {
	s.commits++
	args := append([]any{s.cfg.Incarnation, s.commits}, commitArguments(runs)...)
	var codes map[int]string
	err = link.Retry(ctx, func(ctx context.Context) error {
		reply, err := s.ending.Call(ctx, s.cfg.Redis, []string{s.cfg.Keys.Tasks()}, args...)
		if err == nil {
			ends, reply = takeEnds(reply)
			codes, err = reply.Refusals()
		}
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("commit: %w", refusal(err))
	}
	refused = map[string]string{}
	for at, code := range codes {
		if at >= 1 && at <= len(runs) {
			refused[runs[at-1].ID] = code
		}
	}
	return refused, ends, nil
}

// commitArguments puts a batch in the order and the words of commit.lua: of most
// tasks, which are done and nothing more, only the ids are sent, by queue.
func commitArguments(batch []*Run) []any {
	slices.SortStableFunc(batch, func(a, b *Run) int {
		return cmp.Or(a.outcome.weight()-b.outcome.weight(), strings.Compare(a.outcome.queue, b.outcome.queue))
	})
	plain := 0
	for plain < len(batch) && batch[plain].outcome.weight() == 0 {
		plain++
	}
	args := append(make([]any, 0, 16+3*len(batch)), speeds(batch)...)
	groupsAt := len(args)
	args = append(args, 0)
	groups, countAt := 0, 0
	for i, r := range batch[:plain] {
		if i == 0 || r.outcome.queue != batch[i-1].outcome.queue {
			groups++
			args = append(args, r.outcome.queue, 0)
			countAt = len(args) - 1
		}
		args = append(args, r.ID)
		args[countAt] = len(args) - 1 - countAt
	}
	args[groupsAt] = groups
	args = append(args, len(batch)-plain)
	for _, r := range batch[plain:] {
		args = append(args, r.ID, r.Record.Line, string(r.outcome.verb))
		args = append(args, r.outcome.args...)
		args = append(args, len(r.outcome.effects))
		for _, e := range r.outcome.effects {
			args = append(args, e.kind)
			args = append(args, e.args...)
		}
	}
	return args
}

// speeds returns of each queue how many of the tasks are done, how many of these
// ran for the first time, and how long these waited and all ran, in microseconds.
func speeds(batch []*Run) []any {
	type speed struct {
		runs, first int
		waited, ran time.Duration
	}
	var order []string
	of := map[string]*speed{}
	for _, r := range batch {
		if r.outcome.verb != Done {
			continue
		}
		queue := r.outcome.queue
		s := of[queue]
		if s == nil {
			s = &speed{}
			of[queue] = s
			order = append(order, queue)
		}
		s.runs++
		s.ran += r.Ran
		if r.Tries == (Tries{}) {
			s.first++
			s.waited += r.Waited
		}
	}
	args := []any{len(order)}
	for _, q := range order {
		s := of[q]
		args = append(args, q, s.runs, s.first, s.waited.Microseconds(), s.ran.Microseconds())
	}
	return args
}
