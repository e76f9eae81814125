package runner

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker/group"
	"github.com/stellarfw/stellar/worker/internal/queue"
	"github.com/stellarfw/stellar/worker/tasks"
)

// done: the handler returned nil.
func (x *run) done(effects []queue.Effect, result json.RawMessage) {
	var keep, taken time.Duration
	keep = x.def.Retention
	if ms := x.Record.Options.Retention; ms > 0 {
		keep = time.Duration(ms) * time.Millisecond
	}
	if taken = keep; x.Record.Options.Chosen {
		taken = max(keep, tasks.DedupeWindow)
	}
	if taken > 0 || result != nil || len(effects) > 0 {
		x.End(queue.Done, effects, milliseconds(taken), milliseconds(keep), []byte(result))
		return
	}
	x.End(queue.Done, nil)
}

// milliseconds returns the empty string for none, as the scripts read it.
func milliseconds(d time.Duration) any {
	if d == 0 {
		return ""
	}
	return queue.Milliseconds(d)
}

// failed: the handler returned an error, panicked or ran out of time.
func (x *run) failed(err error) {
	t := x.Tries
	asked, hasAsked := errors.AsType[queue.LaterError](err)
	pause := asked.After
	if !hasAsked || asked.Attempt {
		t.Attempts++
		if t.Attempts >= x.maxAttempts() || isDiscarded(err) {
			x.dead(t, err)
			return
		}
	}
	if !hasAsked {
		pause = link.Backoff(x.backoff(), x.maxBackoff(), t.Attempts)
	}
	switch {
	case x.late(pause):
		x.dead(t, fmt.Errorf("%w: no attempt is left before it: %w", tasks.ErrDeadline, err))
	case hasAsked && !asked.Attempt:
		x.End(queue.Snooze, nil, pause.Milliseconds(), t.String())
	default:
		x.End(queue.Later, nil, pause.Milliseconds(), t.String(), happened(t.Attempts, x.Node.Incarnation, err))
	}
}

func isDiscarded(err error) bool {
	_, is := errors.AsType[queue.DiscardedError](err)
	return is
}

// happened is a line of a task's history.
func happened(attempt int, incarnation string, err error) []byte {
	text, _ := json.Marshal(tasks.Event{Attempt: attempt, Node: incarnation, Error: queue.Clip(err.Error(), 500)}) // it cannot fail
	return text
}

// late reports whether the task's deadline is over after that pause.
func (x *run) late(pause time.Duration) bool {
	ms := x.Record.Options.Deadline
	return ms > 0 && x.Clock.Now().Add(pause).UnixMilli() >= ms
}

func (x *run) maxAttempts() int {
	return cmp.Or(x.Record.Options.MaxAttempts, x.def.MaxAttempts)
}

func (x *run) backoff() time.Duration {
	return cmp.Or(time.Duration(x.Record.Options.Backoff)*time.Millisecond, x.def.Backoff)
}

func (x *run) maxBackoff() time.Duration {
	own := time.Duration(x.Record.Options.MaxBackoff) * time.Millisecond
	return max(cmp.Or(own, x.def.MaxBackoff), x.backoff())
}

// dead: the task is not to run again, and err says why.
func (x *run) dead(t queue.Tries, err error) {
	why := tasks.Reason{Reason: "failed", Error: queue.Clip(err.Error(), 4000), Incarnation: x.Node.Incarnation}
	var p *group.PanicError
	switch {
	case x.Malformed != nil:
		why.Reason = "malformed"
	case errors.Is(err, tasks.ErrDeadline):
		why.Reason = "deadline"
	case isDiscarded(err):
		why.Reason = "discarded"
	case errors.As(err, &p):
		why.Reason = "panicked"
	}
	text, _ := json.Marshal(why) // strings: it cannot fail
	x.End(queue.Dead, nil, t.String(), text)
}

// park: no handler here. Another node may have one.
func (x *run) park() { x.End(queue.Park, nil, x.Record.Name) }

// refusal is the error behind a code of commit.lua.
func refusal(code string) error {
	if err := cache.Refusal(code); err != nil {
		return fmt.Errorf("%w: %w", tasks.ErrRefused, err)
	}
	return fmt.Errorf("%w: %s", tasks.ErrRefused, code)
}
