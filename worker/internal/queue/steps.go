package queue

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
)

// Bounds of the steps of one task.
const (
	MaxSteps = 1000
	MaxStep  = 256 << 10 // bytes of a step's result, and of a state
)

// Steps are what is stored of how far the runs of a task came.
type Steps struct {
	Ended   []Step          // in their order
	State   json.RawMessage // nil: none was noted
	StateAt time.Time       // on Redis's clock

	taken int             // how many steps this run has taken
	names map[string]bool // of these
}

// Take begins a run's next step. It returns the step that ended in an earlier run, or nil if
// none did. The error says why the step cannot be taken.
func (s *Steps) Take(name string) (*Step, error) {
	if s.names[name] {
		return nil, errors.New("the run has taken a step of this name before: each needs a name of its own")
	}
	if s.taken == MaxSteps {
		return nil, ErrTooLarge
	}
	if s.names == nil {
		s.names = map[string]bool{}
	}
	var stored *Step
	if s.taken < len(s.Ended) {
		if stored = &s.Ended[s.taken]; stored.Name != name {
			return nil, fmt.Errorf("it comes where the step %q was when the task ran before", stored.Name)
		}
	}
	s.names[name] = true
	s.taken++
	return stored, nil
}

// Place returns the place of the step that [Steps.Take] began last.
func (s *Steps) Place() int { return s.taken }

// Leave takes back the step that [Steps.Take] began last and that did not end.
func (s *Steps) Leave(name string) {
	delete(s.names, name)
	s.taken--
}

// Step is a step that has ended.
type Step struct {
	Name   string
	At     time.Time       // on Redis's clock
	Result json.RawMessage // nil for a sleep
	Until  time.Time       // on Redis's clock; zero, but for a sleep
	place  int
}

// Note is what a run notes of how far it came.
type Note struct {
	Kind  NoteKind
	Name  string
	Place int // of the step, from 1 on
	Value any // JSON, or for a sleep its ms
}

// NoteKind is a kind of notes, as lua/step.lua names it.
type NoteKind string

// The kinds of notes.
const (
	StepNote  NoteKind = "step"
	SleepNote NoteKind = "sleep"
	StateNote NoteKind = "checkpoint"
)

// Steps returns the stored steps of a task.
func (s Store) Steps(ctx context.Context, id string) (*Steps, error) {
	fields, err := s.redis.HGetAll(ctx, s.keys.Steps(id)).Result()
	if err != nil {
		return nil, link.Explain(err)
	}
	return parseSteps(fields), nil
}

// parseSteps reads the hash that lua/step.lua describes. It passes over what is not its own.
func parseSteps(fields map[string]string) *Steps {
	s := &Steps{}
	for field, value := range fields {
		if at, state, ok := strings.Cut(value, "|"); ok && field == "=" {
			s.State, s.StateAt = json.RawMessage(state), Time(at)
			continue
		}
		name, is := strings.CutPrefix(field, ".")
		place, rest, _ := strings.Cut(value, "|")
		at, result, whole := strings.Cut(rest, "|")
		n, err := strconv.Atoi(place)
		if !is || !whole || err != nil {
			continue
		}
		step := Step{Name: name, At: Time(at), place: n}
		if till, sleeps := strings.CutPrefix(result, "until|"); sleeps {
			step.Until = Time(till)
		} else {
			step.Result = json.RawMessage(result)
		}
		s.Ended = append(s.Ended, step)
	}
	slices.SortFunc(s.Ended, func(a, b Step) int { return cmp.Or(cmp.Compare(a.place, b.place), cmp.Compare(a.Name, b.Name)) })
	return s
}

// Note stores a note of a run with what its transaction holds: both, or neither. It repeats the
// request until the reply is known or ctx ends. until is when a sleep is over, on Redis's clock. The
// error is [ErrFenced] if the run does not own the task any more, an [ErrRefused] if an
// effect cannot be applied, and an [UnsentError] if Redis does not take a request of this size.
// After any error but an ErrRefused the note may be stored.
func (s Store) Note(ctx context.Context, r *Run, n Note, effects []Effect) (until time.Time, err error) {
	r.noted++
	head := []any{r.Node.Incarnation, r.ID, r.Claim, r.noted, string(n.Kind), n.Name, n.Place, n.Value}
	script, breaks := s.stepping(r.Node.Cache), 0
	var till string
	err = s.Reports.Insist(ctx, "steps", func(ctx context.Context) error {
		args, messages := appendEffects(slices.Clone(head), nil, effects)
		size := sizeOf(args)
		if err := r.Node.sealAll(ctx, args, messages); err != nil {
			return err
		}
		bodies := bodiesIn(effects)
		for _, b := range bodies {
			size += len(b.payload)
		}
		reply, err := callWith(ctx, script, s.redis, s.keys, bodies, args)
		switch {
		case len(bodies) > 0 && link.CauseOf(err) == link.CauseMemory:
			embody(effects) // as a commit does
			return fmt.Errorf("%w: %w", link.ErrUnavailable, err)
		case brokenOff(err):
			if breaks++; breaks >= link.FewTries && size >= leastUnsent {
				return &UnsentError{size, err}
			}
			return err
		case link.WordOf(err) == "REFUSED":
			return unapplied(err)
		case err != nil:
			return err
		}
		ends, reply := takeEnds(reply)
		report(s.OnEnd, ends)
		return reply.Scan(&till)
	})
	return Time(till), refusal(err)
}

// unapplied returns the error for a note of which an effect cannot be applied.
func unapplied(err error) error {
	refused, _ := errors.AsType[*link.RefusedError](err)
	var code string
	if err := refused.Details.Scan(&code); err != nil {
		return err
	}
	if code == "EXPIRED" {
		return errBodyExpired // it is sent again
	}
	return RefusalOf(code)
}
