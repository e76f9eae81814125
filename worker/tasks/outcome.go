package tasks

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/worker/group"
)

// outcome is how a run ended, in the words that commit.lua reads.
type outcome struct {
	id      string
	verb    string // done, later, snooze, dead, park
	args    []any
	effects []effect
	run     *run
}

// verbDone is the verb of a task whose handler returned nil.
const verbDone = "done"

// weight is 0 for a task that is done and leaves nothing behind, 1 for others.
func (o outcome) weight() int {
	if o.verb == verbDone && o.args == nil && len(o.effects) == 0 {
		return 0
	}
	return 1
}

// done: the handler returned nil.
func (x *run) done(effects []effect, result json.RawMessage) outcome {
	keep := x.def.Retention
	if ms := x.claimed.record.options.Retention; ms > 0 {
		keep = time.Duration(ms) * time.Millisecond
	}
	value := any("")
	if keep > 0 && result != nil {
		value = []byte(result)
	}
	if x.claimed.record.options.Chosen {
		keep = max(keep, DedupeWindow)
	}
	o := outcome{id: x.claimed.id, verb: verbDone, effects: effects, run: x}
	switch {
	case keep > 0:
		o.args = []any{keep.Milliseconds(), value}
	case len(effects) > 0:
		o.args = []any{"", ""}
	}
	return o
}

// failed: the handler returned an error, panicked or ran out of time.
func (x *run) failed(err error) outcome {
	t := x.claimed.tries
	asked, hasAsked := errors.AsType[later](err)
	if hasAsked && !asked.attempt {
		return outcome{id: x.claimed.id, verb: "snooze", args: []any{asked.after.Milliseconds(), t.String()}, run: x}
	}
	t.attempts++
	most := x.def.MaxAttempts
	if n := x.claimed.record.options.MaxAttempts; n > 0 {
		most = n
	}
	if t.attempts >= most || isDiscarded(err) {
		return x.dead(t, err)
	}
	pause := asked.after
	if !hasAsked {
		pause = redisbus.Backoff(x.def.Backoff, x.def.MaxBackoff, t.attempts)
	}
	return outcome{id: x.claimed.id, verb: "later", args: []any{pause.Milliseconds(), t.String()}, run: x}
}

// Reason is why a task is dead.
type Reason struct {
	Reason      string `json:"reason"` // failed, discarded, panicked, malformed, quarantined
	Error       string `json:"error"`
	Incarnation string `json:"incarnation,omitempty"` // of the node that ran it last
}

func (x *run) dead(t tries, err error) outcome {
	why := Reason{Reason: "failed", Error: err.Error(), Incarnation: x.runner.Incarnation}
	var p *group.PanicError
	switch {
	case x.claimed.malformed != nil:
		why.Reason = "malformed"
	case isDiscarded(err):
		why.Reason = "discarded"
	case errors.As(err, &p):
		why.Reason = "panicked"
	}
	text, _ := json.Marshal(why) // strings: it cannot fail
	return outcome{id: x.claimed.id, verb: "dead", args: []any{t.String(), text}, run: x}
}

// park: no handler here. Another node may have one.
func (x *run) park() outcome {
	return outcome{id: x.claimed.id, verb: "park", args: []any{x.claimed.record.name}, run: x}
}

// refusal is the error behind a code of commit.lua.
func refusal(code string) error {
	if err := cache.Refusal(code); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return fmt.Errorf("%w: %s", ErrRefused, code)
}
