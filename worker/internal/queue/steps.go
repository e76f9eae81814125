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

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
)

// Bounds of the steps of one task.
const (
	MaxSteps = 1000
	MaxStep  = 256 << 10 // bytes of a step's result, and of a state

	stepsRead = 1 << 20 // bytes of results that a run reads at a time
)

// Steps are what is stored of how far the runs of a task came, as one run goes through them.
type Steps struct {
	Ended []Step // in their order
	State Step   // the last state; its At is zero if none was noted

	Restored bool // the run has asked for the state, or noted one
	Loop     int  // how many steps came before that

	taken int             // how many steps this run has taken
	names map[string]bool // of these
}

// Step is a step that has ended, or a state.
type Step struct {
	Name  string
	Place int       // from 1 on; of a state, how many steps came before
	At    time.Time // on Redis's clock
	Bytes int       // of its result, or of the state
	Until time.Time // on Redis's clock; zero, but for a sleep

	result json.RawMessage // nil: it was not read yet, see [Store.StepResult]
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

// Place returns how many steps the run has taken: the place of the one that [Steps.Take] began last.
func (s *Steps) Place() int { return s.taken }

// Leave takes back the step that [Steps.Take] began last and that did not end.
func (s *Steps) Leave(name string) {
	delete(s.names, name)
	s.taken--
}

// Note is what a run notes of how far it came.
type Note struct {
	Kind  NoteKind
	Name  string
	Place int // of the step, or how many steps came before the state
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

// The fields in which lua/step.lua stores a state, and a step of a name.
const (
	stateField = "="
	stepMark   = "."
)

// Steps returns the stored steps of a task, without their results.
func (s Store) Steps(ctx context.Context, id string) (*Steps, error) {
	fields, err := s.redis.HGetAll(ctx, s.keys.Steps(id)).Result()
	if err != nil {
		return nil, link.Explain(err)
	}
	return parseSteps(fields), nil
}

// StepsOf returns the stored steps of the task that a run has in hand, without their results. The
// error is [ErrFenced] if the task is not in its hands any more: what is stored may be of a later run.
func (s Store) StepsOf(ctx context.Context, r *Run) (*Steps, error) {
	var fields *redis.MapStringStringCmd
	var claim *redis.StringCmd
	_, err := s.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		fields = p.HGetAll(ctx, s.keys.Steps(r.ID))
		claim = p.HGet(ctx, s.keys.Owned(r.Node.Incarnation), r.ID) // no run gets a task again
		return nil
	})
	number, _, _ := strings.Cut(claim.Val(), "|")
	switch {
	case err != nil && !errors.Is(err, redis.Nil):
		return nil, link.Explain(err)
	case number != strconv.FormatUint(r.Claim, 10):
		return nil, ErrFenced
	default:
		return parseSteps(fields.Val()), nil
	}
}

// parseSteps reads the hash that lua/step.lua describes. It passes over what is not its own.
func parseSteps(fields map[string]string) *Steps {
	s := &Steps{}
	for field, value := range fields {
		step, ok := parseStep(value)
		if !ok {
			continue
		}
		if name, is := strings.CutPrefix(field, stepMark); is {
			step.Name = name
			s.Ended = append(s.Ended, step)
		} else if field == stateField {
			s.State = step
		}
	}
	slices.SortFunc(s.Ended, func(a, b Step) int { return cmp.Or(cmp.Compare(a.Place, b.Place), cmp.Compare(a.Name, b.Name)) })
	return s
}

func parseStep(value string) (step Step, ok bool) {
	f := strings.Split(value, "|")
	var err error
	if step.Place, err = strconv.Atoi(f[0]); err != nil || len(f) < 3 {
		return step, false
	}
	if step.At = Time(f[1]); f[2] == "until" && len(f) == 4 {
		step.Until = Time(f[3])
		return step, true
	}
	step.Bytes, err = strconv.Atoi(f[2])
	return step, err == nil && len(f) == 3
}

// StepResult returns the result of a step that ended in an earlier run, for the run that has the
// task in hand. It reads those of the steps that follow with it, some at a time: a run needs them
// next, and a task may have more of them than fit into memory. The error is [ErrFenced] if the
// result is not there any more.
func (s Store) StepResult(ctx context.Context, id string, steps *Steps, step *Step) (json.RawMessage, error) {
	if step.result == nil {
		var some []*Step
		var fields []string
		size := 0
		for i := slices.IndexFunc(steps.Ended, func(other Step) bool { return other.Name == step.Name }); i < len(steps.Ended); i++ {
			next := &steps.Ended[i]
			if size += next.Bytes; size > stepsRead && some != nil {
				break
			}
			if next.Until.IsZero() {
				some, fields = append(some, next), append(fields, stepMark+next.Name)
			}
		}
		results, err := s.stepped(ctx, id, fields)
		if err != nil {
			return nil, err
		}
		for i := range some {
			some[i].result = results[i]
		}
	}
	result := step.result
	step.result = nil
	return result, nil
}

// StepState returns the last state of a task that has one; the error is that of [Store.StepResult].
func (s Store) StepState(ctx context.Context, id string) (json.RawMessage, error) {
	states, err := s.stepped(ctx, id, []string{stateField})
	if err != nil {
		return nil, err
	}
	return states[0], nil
}

// stepped reads results of steps, or a state.
func (s Store) stepped(ctx context.Context, id string, fields []string) ([]json.RawMessage, error) {
	values, err := s.redis.HMGet(ctx, s.keys.Stepped(id), fields...).Result()
	if err != nil {
		return nil, link.Explain(err)
	}
	out := make([]json.RawMessage, len(values))
	for i, v := range values {
		text, is := v.(string)
		if !is {
			return nil, ErrFenced
		}
		out[i] = json.RawMessage(text)
	}
	return out, nil
}

// Note stores a note of a run with what its transaction holds: both, or neither. It repeats the
// request until the reply is known or ctx ends. until is when a sleep is over, on Redis's clock, and ends are
// those of [Session.Commit]. The error is [ErrFenced] if the run does not own the task any more, an
// [ErrRefused] if an effect cannot be applied, and an [UnsentError] if Redis does not take a request
// of this size. After any error but an ErrFenced the note may be stored.
func (s Store) Note(ctx context.Context, r *Run, n Note, effects []Effect) (until time.Time, ends []End, err error) {
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
		ends, reply = takeEnds(reply)
		return reply.Scan(&till)
	})
	if err == nil && (n.Kind != StateNote || r.noted > 1) {
		r.gotOn.Store(true) // as in lua/step.lua
	}
	return Time(till), ends, refusal(err)
}

// unapplied returns the error for a note of which an effect cannot be applied.
func unapplied(err error) error {
	refused, _ := errors.AsType[*link.RefusedError](err)
	var code string
	if err := refused.Details.Scan(&code); err != nil {
		return err
	}
	if code == expiredWord {
		return errBodyExpired // it is sent again
	}
	return RefusalOf(code)
}

// Rerun has a task that does not run forget a step and the later ones, or all, and run again. It
// returns a word, see lua/rerun.lua.
func (s Store) Rerun(ctx context.Context, id, step string) (word string, err error) {
	reply, err := s.call(ctx, rerunScript, id, step)
	if err == nil {
		err = reply.Scan(&word)
	}
	return word, err
}
