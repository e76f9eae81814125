package queue

import (
	"context"
	"fmt"
)

// QuarantineAfter is how many runs of a task may end with their node before it
// is put aside as dead.
const QuarantineAfter = 3

// Remains are the tasks that a condemned incarnation still owned.
type Remains struct {
	// Unknown: the process died, and which tasks ran is not known. Every task that
	// the incarnation owned counts a crash; of the suspects (tasks that one more
	// crash quarantines) only the one noted by [Session.Suspect].
	Unknown bool
	// Suspects are tasks whose run may have caused the crash. They count it.
	Suspects []string
	// Running are tasks whose handlers have not returned. The incarnation keeps them.
	Running []string
}

// Handed counts what became of the tasks of an incarnation in a take-over.
type Handed struct {
	On          int // back at the front of their queues
	Quarantined int // dead: too many crashes
	Cancelled   int // their cancellation was requested while they ran
	Left        int // still running

	Dead []string // ids of the quarantined tasks, as far as the replies of Redis have come
}

// TakeOver returns the tasks of a condemned incarnation to their queues, or ends them (see
// [Handed]). Any process may call it, repeatedly; the result counts only the tasks that
// this call moved.
func (s Store) TakeOver(ctx context.Context, incarnation string, r Remains) (Handed, error) {
	var sum Handed
	notify := s.OnEnd
	s.OnEnd = func(e End) {
		if e.How == Quarantined {
			sum.Dead = append(sum.Dead, e.ID)
		}
		report(notify, []End{e})
	}
	for {
		h, err := s.takeOverSome(ctx, incarnation, r)
		sum.On += h.On
		sum.Quarantined += h.Quarantined
		sum.Cancelled += h.Cancelled
		sum.Left = h.Left
		if err != nil {
			return sum, fmt.Errorf("take over %s: %w", incarnation, err)
		}
		if h.Left <= len(r.Running) || h.On+h.Quarantined+h.Cancelled == 0 {
			return sum, nil
		}
	}
}

// takeOverBatch is the number of tasks that one script call takes over, so that it blocks
// Redis for about a millisecond.
const takeOverBatch = 500

func (s Store) takeOverSome(ctx context.Context, incarnation string, r Remains) (Handed, error) {
	which := "some"
	if r.Unknown {
		which = "all"
	}
	args := []any{incarnation, QuarantineAfter, takeOverBatch, which, len(r.Running)}
	for _, id := range r.Running {
		args = append(args, id)
	}
	for _, id := range r.Suspects {
		args = append(args, id)
	}
	var h Handed
	err := s.Reports.Retry(ctx, "hand-over", func(ctx context.Context) error {
		reply, err := s.call(ctx, takeoverScript, args...)
		if err == nil {
			err = reply.Scan(&h.On, &h.Quarantined, &h.Left, &h.Cancelled)
		}
		return err
	})
	return h, err
}
