package tasks

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker/group"
)

// outcome is how a run ended, in the words that commit.lua reads.
type outcome struct {
	id      string
	queue   string
	verb    string // verbDone, …
	args    []any
	effects []effect
	run     *run
}

// How a run ends.
const (
	verbDone   = "done"   // the handler returned nil
	verbLater  = "later"  // it has failed and is tried again
	verbSnooze = "snooze" // it runs again, and this was no attempt
	verbDead   = "dead"   // it is not to run again
	verbBack   = "back"   // it did not begin: another node may have it
	verbPark   = "park"   // there is no handler for it here
)

// weight is 0 for a task that is done and leaves nothing behind, 1 for others.
func (o outcome) weight() int {
	if o.verb == verbDone && o.args == nil && len(o.effects) == 0 {
		return 0
	}
	return 1
}

// outcome is the run's end with that verb and its arguments.
func (x *run) outcome(verb string, args ...any) outcome {
	return outcome{id: x.claimed.id, queue: x.claimed.record.queue(), verb: verb, args: args, run: x}
}

// done: the handler returned nil.
func (x *run) done(effects []effect, result json.RawMessage) outcome {
	var keep, taken time.Duration
	keep = x.def.Retention
	if ms := x.claimed.record.options.Retention; ms > 0 {
		keep = time.Duration(ms) * time.Millisecond
	}
	if taken = keep; x.claimed.record.options.Chosen {
		taken = max(keep, DedupeWindow)
	}
	o := x.outcome(verbDone)
	o.effects = effects
	if taken > 0 || result != nil || len(effects) > 0 {
		o.args = []any{milliseconds(taken), milliseconds(keep), []byte(result)}
	}
	return o
}

// milliseconds returns the empty string for none, as the scripts read it.
func milliseconds(d time.Duration) any {
	if d == 0 {
		return ""
	}
	return roundUp(d)
}

// failed: the handler returned an error, panicked or ran out of time.
func (x *run) failed(err error) outcome {
	t := x.claimed.tries
	asked, hasAsked := errors.AsType[later](err)
	pause := asked.after
	if !hasAsked || asked.attempt {
		t.attempts++
		if t.attempts >= x.maxAttempts() || isDiscarded(err) {
			return x.dead(t, err)
		}
	}
	if !hasAsked {
		pause = link.Backoff(x.backoff(), x.maxBackoff(), t.attempts)
	}
	if x.late(pause) {
		return x.dead(t, fmt.Errorf("%w: no attempt is left before it: %w", ErrDeadline, err))
	}
	if hasAsked && !asked.attempt {
		return x.outcome(verbSnooze, pause.Milliseconds(), t.String())
	}
	return x.outcome(verbLater, pause.Milliseconds(), t.String(), happened(t.attempts, x.runner.Incarnation, err))
}

// happened is a line of a task's history.
func happened(attempt int, incarnation string, err error) []byte {
	text, _ := json.Marshal(Event{Attempt: attempt, Node: incarnation, Error: clip(err.Error(), 500)}) // it cannot fail
	return text
}

// late reports whether the task's deadline is over after that pause.
func (x *run) late(pause time.Duration) bool {
	ms := x.claimed.record.options.Deadline
	return ms > 0 && x.claimed.clock.now().Add(pause).UnixMilli() >= ms
}

func (x *run) maxAttempts() int {
	return cmp.Or(x.claimed.record.options.MaxAttempts, x.def.MaxAttempts)
}

func (x *run) backoff() time.Duration {
	return cmp.Or(time.Duration(x.claimed.record.options.Backoff)*time.Millisecond, x.def.Backoff)
}

func (x *run) maxBackoff() time.Duration {
	own := time.Duration(x.claimed.record.options.MaxBackoff) * time.Millisecond
	return max(cmp.Or(own, x.def.MaxBackoff), x.backoff())
}

// Reason is why a task is dead or cancelled.
type Reason struct {
	Reason      string `json:"reason"` // failed, discarded, panicked, deadline, malformed, quarantined; cancelled
	Error       string `json:"error"`
	Incarnation string `json:"incarnation,omitempty"` // of the node that ran it last
}

func (x *run) dead(t tries, err error) outcome {
	why := Reason{Reason: "failed", Error: clip(err.Error(), 4000), Incarnation: x.runner.Incarnation}
	var p *group.PanicError
	switch {
	case x.claimed.malformed != nil:
		why.Reason = "malformed"
	case errors.Is(err, ErrDeadline):
		why.Reason = "deadline"
	case isDiscarded(err):
		why.Reason = "discarded"
	case errors.As(err, &p):
		why.Reason = "panicked"
	}
	text, _ := json.Marshal(why) // strings: it cannot fail
	return x.outcome(verbDead, t.String(), text)
}

// park: no handler here. Another node may have one.
func (x *run) park() outcome {
	return x.outcome(verbPark, x.claimed.record.name)
}

// refusal is the error behind a code of commit.lua.
func refusal(code string) error {
	if err := cache.Refusal(code); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return fmt.Errorf("%w: %s", ErrRefused, code)
}

// clip bounds a text that is kept in Redis.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
