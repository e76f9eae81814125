package queue

import (
	"context"
	"fmt"

	"github.com/stellarfw/stellar/redisbus/link"
)

// QuarantineAfter is how many runs of a task may end with their node before it
// is put aside as dead.
const QuarantineAfter = 3

// Remains are the tasks that a condemned incarnation still had in hand.
type Remains struct {
	// Unknown: nobody knows what it was doing (its process died): every task
	// that it had in hand counts a crash.
	Unknown bool
	// Suspects are tasks whose run may have caused the end. They count a crash.
	Suspects []string
	// Running are tasks whose handlers have not returned. They stay where they are.
	Running []string
}

// Handed is what became of an incarnation's tasks.
type Handed struct {
	On          int // back at the front of their queues
	Quarantined int // dead: too many crashes
	Cancelled   int // as somebody had asked while they ran
	Left        int // still running
}

// TakeOver hands on the tasks of a condemned incarnation. It can be repeated, by
// anybody; Handed counts only what this call moved.
func (s Store) TakeOver(ctx context.Context, incarnation string, r Remains) (Handed, error) {
	var sum Handed
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

// takeOverBatch bounds how long one script holds Redis up: about a millisecond.
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
	err := link.Retry(ctx, func(ctx context.Context) error {
		reply, err := s.call(ctx, takeoverScript, args...)
		if err == nil {
			err = reply.Scan(&h.On, &h.Quarantined, &h.Left, &h.Cancelled)
		}
		return err
	})
	return h, err
}
