package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stellarfw/stellar/worker/internal/queue"
)

// Bounds of the steps of a task.
const (
	// MaxSteps is how many steps a task may have, its sleeps included.
	MaxSteps = queue.MaxSteps
	// MaxStepResult bounds the JSON of a step's result, and of a state, in bytes.
	MaxStepResult = queue.MaxStep
	// MaxStepName bounds the name of a step, in bytes.
	MaxStepName = 200

	maxSleep = 100 * 365 * 24 * time.Hour
)

// Errors of steps.
var (
	// ErrStep: the handler uses steps in a way that cannot be followed when the task runs
	// again; the error's text says what to change. Nothing was stored.
	ErrStep = errors.New("step")
	// ErrAsleep: the handler has to return the error of [Sleep], and has not. The run has
	// failed.
	ErrAsleep = errors.New("the handler went on after tasks.Sleep: return its error")
)

// Step runs a part of a task's handler once: f's result is stored as JSON, together with what
// the transaction ([Tx]) holds by then, in one script that Redis runs only while the task is this
// run's. When the task runs again, after a crash, a drain or a failure, Step returns the stored
// result and does not call f.
//
// What the transaction holds when a step ends is committed with it, and does not wait for the
// handler's return. So on a later run Step drops what the transaction gathered since the last
// step: it is committed already. Code between steps therefore must not depend on anything but the
// payload, and the results of steps: it runs again, and its effects count once.
//
// The result that Step returns is what JSON keeps of f's, in the first run too. A result of the task
// ([Transaction.Result]) belongs behind the steps: in f it is an ErrStep, as no other run would set it.
//
// f runs at least once: a crash after f and before its result is stored runs f again. Effects of f
// that are given to the transaction count once; for others, such as a charge at a bank, pass the
// task's id and the step's name as an idempotency key. An error of f is returned and not stored,
// and drops what was given to the transaction since the step began; the handler may take the
// step again. Another step in its place would not be found there by a later run in which the first one succeeds: what to do instead
// belongs into f, so that its result says which way was taken.
//
// Steps run one after the other and in the same order in every run, each under a name of its
// own: up to [MaxStepName] bytes of printable text; otherwise the error is an [ErrStep]. It is an
// [ErrTooLarge] for a result of more than [MaxStepResult] bytes or more than [MaxSteps] steps,
// [ErrRefused] if an effect cannot be applied, and [ErrFenced] if the task is not this
// run's any more. After an error of Step itself, and not of f, the run fails even if the
// handler returns nil. A run that ends a step forgives the crashes of earlier ones: with
// three that came no further a task is dead.
//
// Step takes a round trip to Redis, the first of a run two; a run reads stored results some at a time. Outside a task it panics with an
// error that is [ErrNoTask].
func Step[T any](ctx context.Context, name string, f func(ctx context.Context) (T, error)) (T, error) {
	var result T
	s, err := beginStep(ctx, "Step", name)
	if err != nil {
		return result, err
	}
	defer s.leave()
	outcome := StepFailed
	if observer := clientOf(ctx).observer; observer != nil {
		began := time.Now()
		defer func() { observer.StepEnded(s.ended(outcome, began)) }()
	}
	if s.stored != nil {
		if !s.stored.Until.IsZero() {
			return result, s.fail(fmt.Errorf("%w %q: it was a sleep when the task ran before: %s", ErrStep, name, orderAdvice))
		}
		encoded, err := clientOf(ctx).store.StepResult(ctx, s.run.ID, s.run.Steps, s.stored)
		if err != nil {
			return result, s.fail(fmt.Errorf("step %q: %w", name, fenced(err)))
		}
		if err := json.Unmarshal(encoded, &result); err != nil {
			return result, s.fail(fmt.Errorf("%w %q: its stored result does not fit any more: %w: %s", ErrStep, name, err, orderAdvice))
		}
		outcome = StepSkipped
		return result, nil
	}
	ended := false
	defer func() {
		if !ended { // f failed or panicked
			s.run.Rewind(s.mark)
			s.run.Steps.Leave(name)
		}
	}()
	own, err := f(ctx)
	if err != nil {
		return own, err //nolint:wrapcheck // it is the caller's own
	}
	ended = true
	encoded, err := encodeStep(own)
	if err == nil {
		err = json.Unmarshal(encoded, &result) // so that every run goes on with the same
	}
	if err != nil {
		return result, s.fail(fmt.Errorf("step %q: result: %w", name, err))
	}
	if _, err = s.note(queue.StepNote, encoded); err == nil {
		outcome = StepRun
	}
	return result, err
}

// Sleep ends the run and lets the task go on after d, on Redis's clock: the first time it stores
// when that is, as a step of that name, with what the transaction holds by then, and returns an
// error for the handler to return as it is or wrapped. The run then counts neither as a failure nor
// as an attempt, and takes no slot meanwhile. Once the time is over, Sleep returns nil. A handler that goes on
// after the error and returns another, or nil, fails with [ErrAsleep]. A d of 0 or less, such as
// time.Until of a time that has passed, does not end the run. [Inspector.Reschedule] changes when a
// sleep is over. Other errors are those of [Step].
func Sleep(ctx context.Context, name string, d time.Duration) error {
	s, err := beginStep(ctx, "Sleep", name)
	if err != nil {
		return err
	}
	defer s.leave()
	if d > maxSleep {
		return s.fail(fmt.Errorf("%w: sleep %q: %s: use at most %s", ErrInvalid, name, d, maxSleep))
	}
	var until time.Time
	if s.stored == nil {
		if until, err = s.note(queue.SleepNote, queue.Milliseconds(max(d, 0))); err != nil {
			return err
		}
	} else if until = s.stored.Until; until.IsZero() {
		return s.fail(fmt.Errorf("%w %q: it was no sleep when the task ran before: %s", ErrStep, name, orderAdvice))
	}
	left := until.Sub(s.run.Clock.Now())
	if left <= 0 {
		return nil
	}
	s.run.Slept.Store(true)
	return queue.TryLater(fmt.Errorf("step %q: %w", name, ErrSnoozed), left, false)
}

// Checkpoint stores a state of the task, as JSON of at most [MaxStepResult] bytes, in place of the
// last one, together with what the transaction holds by then. When the task runs again,
// [Restore] finds it: a task over a million rows goes on where it was, and each row's effects
// count once. A run that follows one with a checkpoint has to call Restore before; if it has not,
// the error is an [ErrStep]. Other errors are those of [Step].
func Checkpoint(ctx context.Context, state any) error {
	s, err := begin(ctx, "Checkpoint")
	if err != nil {
		return err
	}
	defer s.leave()
	if steps := s.run.Steps; !steps.State.At.IsZero() && !steps.Restored {
		return s.fail(fmt.Errorf("%w: an earlier run has stored a state: call Restore before Checkpoint, and go on from there", ErrStep))
	}
	encoded, err := encodeStep(state)
	if err != nil {
		return s.fail(fmt.Errorf("checkpoint: %w", err))
	}
	if steps := s.run.Steps; !steps.Restored {
		steps.Restored, steps.Loop = true, steps.Place()
	} else if steps.Place() != steps.Loop {
		return s.fail(fmt.Errorf("%w: a step came between Restore and Checkpoint: call Restore right before the loop that "+
			"makes the checkpoints, behind that step, and take no steps in the loop", ErrStep))
	}
	_, err = s.note(queue.StateNote, encoded)
	return err
}

// Restore decodes the last state that [Checkpoint] stored in an earlier run of the
// task, and reports whether there is one. If so, it drops what the transaction has gathered before:
// that is committed already. Call it once in a run, right before the loop with
// the checkpoints: an effect between both, but outside the loop, counts in every run. The error is an
// [ErrStep] if it is called later, or the state does not decode.
func Restore(ctx context.Context, state any) (found bool, err error) {
	s, err := begin(ctx, "Restore")
	if err != nil {
		return false, err
	}
	defer s.leave()
	steps := s.run.Steps
	if steps.Restored {
		return false, s.fail(fmt.Errorf("%w: call Restore once in a run, before Checkpoint: "+
			"where a task has several loops, let one state say how far all of them are", ErrStep))
	}
	steps.Restored, steps.Loop = true, steps.Place()
	if v := reflect.ValueOf(state); v.Kind() != reflect.Pointer || v.IsNil() {
		return false, s.fail(fmt.Errorf("%w: Restore needs a pointer to the state, not %T", ErrStep, state))
	}
	if steps.State.At.IsZero() {
		return false, nil
	}
	if steps.Place() != steps.State.Place {
		return false, s.fail(fmt.Errorf("%w: %d steps came before Restore, and %d before the stored state: call it right before "+
			"the loop that makes the checkpoints", ErrStep, steps.Place(), steps.State.Place))
	}
	_, _ = s.run.Cut()
	encoded, err := clientOf(ctx).store.StepState(ctx, s.run.ID)
	if err != nil {
		return true, s.fail(fmt.Errorf("restore: %w", fenced(err)))
	}
	if err := json.Unmarshal(encoded, state); err != nil {
		return true, s.fail(fmt.Errorf("%w: the stored state does not fit any more: %w", ErrStep, err))
	}
	return true, nil
}

// orderAdvice says what to do about steps that are not those of an earlier run.
const orderAdvice = "let the handler take the steps of tasks that began earlier in their old order, " +
	"or let these forget them (stellar tasks rerun ID --from STEP)"

// stepping is one call of the functions above.
type stepping struct {
	ctx    context.Context //nolint:containedctx // the call's
	run    *queue.Run
	name   string
	stored *queue.Step // nil: the step has not ended yet
	mark   int         // see [queue.Run.Mark]
}

// begin begins a call. It reads the stored steps if the run has not done so.
func begin(ctx context.Context, function string) (*stepping, error) {
	s := &stepping{ctx: ctx, run: mustRun(ctx, function)}
	if s.run.Members != nil {
		return nil, s.fail(fmt.Errorf("tasks.%s: %w: give each task a handler of its own", function, ErrBatch))
	}
	if !s.run.InStep.CompareAndSwap(false, true) {
		return nil, s.fail(fmt.Errorf("%w: tasks.%s was called while another step of the task runs: "+
			"steps run one after the other, and not in each other", ErrStep, function))
	}
	if s.run.Steps == nil {
		steps, err := clientOf(ctx).store.StepsOf(ctx, s.run)
		if err != nil {
			s.leave()
			return nil, s.fail(fmt.Errorf("steps: %w", fenced(err)))
		}
		s.run.Steps = steps
	}
	s.mark = s.run.Mark()
	return s, nil
}

func (s *stepping) leave() { s.run.InStep.Store(false) }

func (s *stepping) ended(result StepResult, began time.Time) StepEnd {
	return StepEnd{
		ID: s.run.ID, Name: s.run.Record.Name, Queue: s.run.Queue(), Step: s.name, Result: result, Took: time.Since(began),
	}
}

// fail makes the run fail with err, and returns err.
func (s *stepping) fail(err error) error {
	s.run.Fail(err)
	return err
}

// beginStep begins a step or a sleep. If it ended in an earlier run, what the transaction gathered
// since the last one is dropped.
func beginStep(ctx context.Context, function, name string) (*stepping, error) {
	s, err := begin(ctx, function)
	if err != nil {
		return nil, err
	}
	if s.name = name; !isStepName(name) {
		err = fmt.Errorf("%w %q: use a name of 1 to %d bytes of printable text", ErrStep, name, MaxStepName)
	} else {
		s.stored, err = s.run.Steps.Take(name)
		if errors.Is(err, queue.ErrTooLarge) {
			err = fmt.Errorf("step %q: %w: a task has at most %d steps: use Checkpoint, or several tasks", name, err, MaxSteps)
		} else if err != nil {
			err = fmt.Errorf("%w %q: %w", ErrStep, name, err)
		}
	}
	if err != nil {
		s.leave()
		return nil, s.fail(err)
	}
	if s.stored != nil {
		_, _ = s.run.Cut()
	}
	return s, nil
}

func isStepName(name string) bool {
	odd := func(r rune) bool { return !unicode.IsPrint(r) }
	return name != "" && len(name) <= MaxStepName && utf8.ValidString(name) && !strings.ContainsFunc(name, odd)
}

// note stores a note and what the transaction holds.
func (s *stepping) note(kind queue.NoteKind, value any) (time.Time, error) {
	effects, err := s.run.Cut()
	if err != nil {
		return time.Time{}, err // the run fails with it anyway
	}
	client := clientOf(s.ctx)
	note := queue.Note{Kind: kind, Name: s.name, Place: s.run.Steps.Place(), Value: value}
	until, ends, err := client.store.Note(s.ctx, s.run, note, effects)
	if err != nil {
		return until, s.fail(fmt.Errorf("%s: %w", strings.TrimSpace(string(kind)+" "+s.name), fenced(err)))
	}
	client.observeNoted(effects, ends)
	return until, nil
}

// fenced returns the error for users of one of package queue.
func fenced(err error) error {
	if errors.Is(err, queue.ErrFenced) {
		return ErrFenced
	}
	return err
}

// encodeStep encodes a result or a state.
func encodeStep(value any) ([]byte, error) {
	encoded, err := json.Marshal(value)
	if err == nil && len(encoded) > MaxStepResult {
		err = fmt.Errorf("%w: %d bytes, at most %d: store it elsewhere and keep where it is", ErrTooLarge, len(encoded), MaxStepResult)
	}
	return encoded, err
}
