package tasks

import (
	"errors"
	"fmt"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
)

// Errors of a node's work. Each ends the incarnation that meets it.
var (
	// ErrFenced: the incarnation was taken over; nothing it does counts any more.
	ErrFenced = errors.New("fenced: this incarnation was taken over")
	// ErrRolledBack: Redis has forgotten claims or commits that it had
	// acknowledged. What the incarnation had in hand runs again.
	ErrRolledBack = errors.New("redis went back in time")
)

// Errors of callers.
var (
	// ErrInvalid: the options of a task or the limits of a queue cannot be meant;
	// the text says what to change. Nothing was stored.
	ErrInvalid = errors.New("invalid")
	// ErrTooLarge: the payload is larger than [MaxPayload].
	ErrTooLarge = errors.New("payload too large")
	// ErrNotFound: no task with that id is stored.
	ErrNotFound = errors.New("task not found")
	// ErrQueueFull: the queue has as many tasks or bytes as it may (see [Limits]);
	// the task was not stored. Try again later, or raise the limit.
	ErrQueueFull = errors.New("queue is full")
	// ErrCancelled: the task was cancelled. It is also the cause with which the
	// context of its handler ends.
	ErrCancelled = errors.New("task was cancelled")
	// ErrActive: the task runs now; cancel it first.
	ErrActive = errors.New("task is running: cancel it first")
	// ErrState: the task is not in a state in which that can be done.
	ErrState = errors.New("not possible in the task's state")
	// ErrDeadline: the task's deadline has passed.
	ErrDeadline = errors.New("task deadline")
	// ErrClosed: the client was closed.
	ErrClosed = errors.New("task client is closed")
	// ErrNoTask: the context is not one of a running task.
	ErrNoTask = errors.New("not in a task: use the context that the handler was given")
	// ErrRefused: the transaction could not be applied, see its text for the
	// reason. The run has failed.
	ErrRefused = errors.New("transaction refused")
)

// ErrEnding is the cause with which a handler's context ends when its node does.
var ErrEnding = errors.New("node is ending: the task goes back to its queue")

type discarded struct{ error }

func (d discarded) Unwrap() error { return d.error }

// Discard marks an error as final: the task is dead at once, without further attempts.
func Discard(err error) error {
	if err == nil {
		return nil
	}
	return discarded{err}
}

func isDiscarded(err error) bool {
	_, ok := errors.AsType[discarded](err)
	return ok
}

// later is an error that says itself when to try again.
type later struct {
	error
	after   time.Duration
	attempt bool // it was an attempt
}

func (l later) Unwrap() error { return l.error }

// RetryAfter marks an error with the pause before the next attempt, instead of
// the definition's back-off: what a rate limit's answer asks for. It counts as
// an attempt.
func RetryAfter(err error, d time.Duration) error {
	if err == nil {
		return nil
	}
	return later{err, max(d, 0), true}
}

// ErrSnoozed is wrapped by what [Snooze] returns.
var ErrSnoozed = errors.New("snoozed")

// Snooze is for a handler to return: its task runs again after d. It is no
// failure and no attempt.
func Snooze(d time.Duration) error { return later{ErrSnoozed, max(d, 0), false} }

// wrongType is the error of a script that found a key of another type.
func wrongType(key string) error {
	return fmt.Errorf("the key %q on Redis belongs to something else: its type is wrong; rename or delete it", key)
}

// protocolError turns the first word of a script's reply into an error.
func protocolError(reply []any) error {
	if len(reply) == 0 {
		return errors.New("empty reply from a task script")
	}
	word, _ := reply[0].(string)
	switch word {
	case "OK":
		return nil
	case "FENCED":
		return ErrFenced
	case "EXPIRED":
		return errExpired
	case "GAP":
		return fmt.Errorf("%w: it remembers number %v of this incarnation", ErrRolledBack, reply[1:])
	case "WRONGTYPE":
		return wrongType(fmt.Sprint(reply[1:]...))
	default:
		return fmt.Errorf("reply %q from a task script", word)
	}
}

// errExpired: the lease ran out and nobody took over yet. The next heartbeat
// renews it, or the node's own fence ends it.
var errExpired = fmt.Errorf("lease ran out: %w", link.ErrUnavailable)
