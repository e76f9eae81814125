package tasks

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/worker/group"
)

// outcome is how a run ended, in the words that commit.lua reads.
type outcome struct {
	id      string
	verb    string // done, later, dead, park
	args    []any
	effects []effect
	run     *run
}

// weight is 0 for a task that is done and leaves nothing behind, 1 for others.
func (o outcome) weight() int {
	if o.verb == "done" && o.args == nil && len(o.effects) == 0 {
		return 0
	}
	return 1
}

// done: the handler returned nil.
func (r *run) done(effects []effect, result json.RawMessage) outcome {
	keep := r.def.Retention
	if ms := r.claimed.record.options.Retention; ms > 0 {
		keep = time.Duration(ms) * time.Millisecond
	}
	value := any("")
	if keep > 0 && result != nil {
		value = []byte(result)
	}
	if r.claimed.record.options.Chosen {
		keep = max(keep, DedupeWindow)
	}
	o := outcome{id: r.claimed.id, verb: "done", effects: effects, run: r}
	switch {
	case keep > 0:
		o.args = []any{keep.Milliseconds(), value}
	case len(effects) > 0:
		o.args = []any{"", ""}
	}
	return o
}

// failed: the handler returned an error, panicked or ran out of time.
func (r *run) failed(err error) outcome {
	t := r.claimed.tries
	t.attempts++
	most := r.def.MaxAttempts
	if n := r.claimed.record.options.MaxAttempts; n > 0 {
		most = n
	}
	if t.attempts >= most || isDiscarded(err) {
		return r.dead(t, err)
	}
	return outcome{id: r.claimed.id, verb: "later", args: []any{backoff(r.def.Definition, t.attempts).Milliseconds(), t.String()}, run: r}
}

// Reason is why a task is dead.
type Reason struct {
	Reason      string `json:"reason"` // failed, discarded, panicked, malformed, quarantined
	Error       string `json:"error"`
	Incarnation string `json:"incarnation,omitempty"` // of the node that ran it last
}

func (r *run) dead(t tries, err error) outcome {
	why := Reason{Reason: "failed", Error: err.Error(), Incarnation: r.runner.Incarnation}
	var p *group.PanicError
	switch {
	case r.claimed.malformed != nil:
		why.Reason = "malformed"
	case isDiscarded(err):
		why.Reason = "discarded"
	case errors.As(err, &p):
		why.Reason = "panicked"
	}
	text, _ := json.Marshal(why) // strings: it cannot fail
	return outcome{id: r.claimed.id, verb: "dead", args: []any{t.String(), text}, run: r}
}

// park: no handler here. Another node may have one.
func (r *run) park() outcome {
	return outcome{id: r.claimed.id, verb: "park", args: []any{r.claimed.record.name}, run: r}
}

// refusal is the error behind a code of commit.lua.
func refusal(code string) error {
	if err := cache.Refusal(code); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return fmt.Errorf("%w: %s", ErrRefused, code)
}

// backoff is the pause after the n-th failed attempt: doubling, between half and
// all of it.
func backoff(d Definition, n int) time.Duration {
	pause := d.MaxBackoff
	if n-1 < 40 && d.Backoff<<(n-1) > 0 {
		pause = min(d.Backoff<<(n-1), d.MaxBackoff)
	}
	if pause < 2 {
		return pause
	}
	return pause/2 + rand.N(pause/2+1)
}
