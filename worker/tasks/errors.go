package tasks

import (
	"errors"
	"time"

	"github.com/stellarfw/stellar/worker/internal/queue"
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
	// ErrNoTask: the context does not belong to a running task; see [InTask].
	ErrNoTask = errors.New("not in a task: use the context that the handler was given")
	// ErrFenced: the task is not this run's any more; another node has it, or will.
	ErrFenced = errors.New("fenced: the task is not this run's any more")
	// ErrRefused: the transaction could not be applied, see its text for the
	// reason. The run has failed.
	ErrRefused = errors.New("transaction refused")
)

// ErrEnding is the cause with which a handler's context ends when its node does.
var ErrEnding = errors.New("node is ending: the task goes back to its queue")

// Discard marks an error as final: the task is dead at once, without further attempts.
func Discard(err error) error {
	if err == nil {
		return nil
	}
	return queue.Discard(err)
}

// RetryAfter marks an error with the pause before the next attempt, instead of
// the definition's back-off: what a rate limit's answer asks for. It counts as
// an attempt.
func RetryAfter(err error, d time.Duration) error {
	if err == nil {
		return nil
	}
	return queue.TryLater(err, max(d, 0), true)
}

// ErrSnoozed is wrapped by what [Snooze] returns.
var ErrSnoozed = errors.New("snoozed")

// Snooze is for a handler to return: its task runs again after d. It is no
// failure and no attempt.
func Snooze(d time.Duration) error { return queue.TryLater(ErrSnoozed, max(d, 0), false) }
