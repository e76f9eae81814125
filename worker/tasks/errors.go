package tasks

import (
	"errors"
	"time"

	"github.com/stellarfw/stellar/worker/internal/queue"
)

// Errors of callers.
var (
	// ErrInvalid: the options of a task or the limits of a queue are invalid; the
	// error's text says what to change. Nothing was stored.
	ErrInvalid = errors.New("invalid")
	// ErrTooLarge: a payload is larger than [MaxPayload], a result or a value of a
	// transaction than [MaxResult], a transaction than [MaxTransaction] or [MaxEffects]; or
	// Redis does not take a request of that size; a task whose outcome it does not take is dead.
	ErrTooLarge = queue.ErrTooLarge
	// ErrPayload: the payload does not decode into the argument of the handler; the error's
	// text names the member. The run has failed.
	ErrPayload = errors.New("payload does not fit")
	// ErrUndefined: the client does not know how to treat tasks of this name. Nothing was
	// stored.
	ErrUndefined = errors.New("no program has defined a task of this name: " +
		"check the name, start a node that handles it, or set Options.AnyName")
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
	// ErrState: the task's state does not allow the operation.
	ErrState = errors.New("not possible in the task's state")
	// ErrDeadline: the task's deadline has passed.
	ErrDeadline = errors.New("task deadline")
	// ErrClosed: the client was closed.
	ErrClosed = errors.New("task client is closed")
	// ErrNoTask: the context does not belong to a running task; see [InTask].
	ErrNoTask = errors.New("not in a task: use the context that the handler was given, or ask tasks.InTask first")
	// ErrBatch: the function is about one task, and the context belongs to a batch.
	ErrBatch = errors.New("not possible in a batch")
	// ErrFenced: this run does not own its task any more; another node has the task or
	// will claim it.
	ErrFenced = errors.New("fenced: the task is not this run's any more")
	// ErrRefused: Redis could not apply the transaction; the error's text gives the
	// reason. The run has failed.
	ErrRefused = queue.ErrRefused
)

// ErrEnding is the cause with which a handler's context ends when its node does.
var ErrEnding = errors.New("node is ending: the task goes back to its queue")

// Discard wraps a handler's error as final: the task is dead at once, without further
// attempts.
func Discard(err error) error {
	if err == nil {
		return nil
	}
	return queue.Discard(err)
}

// IsDiscarded reports whether err is or wraps an error of [Discard].
func IsDiscarded(err error) bool {
	_, is := errors.AsType[queue.DiscardedError](err)
	return is
}

// RetryAfter wraps a handler's error with the pause before the next attempt, which
// replaces the definition's back-off, for example because a rate-limited service asked
// for that pause. The failed run counts as an attempt.
func RetryAfter(err error, d time.Duration) error {
	if err == nil {
		return nil
	}
	return queue.TryLater(err, max(d, 0), true)
}

// ErrSnoozed is wrapped by the error that [Snooze] returns.
var ErrSnoozed = errors.New("snoozed")

// Snooze returns an error for a handler to return: the task runs again after d. The run
// counts neither as a failure nor as an attempt.
func Snooze(d time.Duration) error { return queue.TryLater(ErrSnoozed, max(d, 0), false) }

// ErrThrottled is wrapped by the error that [Throttle] returns.
var ErrThrottled = errors.New("throttled")

// Throttle returns an error for a handler to return: whom it asked has said that it asks too often,
// such as an HTTP server with 429. The task's group, or its queue if it has none, rests for d in the
// whole cluster: no task of it begins before. The task goes back to the front, and its
// run counts neither as a failure nor as an attempt. With 0 or less they rest for a second. An operator ends a
// rest by resuming the queue or the group.
func Throttle(d time.Duration) error {
	if d <= 0 {
		d = throttleTime
	}
	return queue.Rest(ErrThrottled, max(d, time.Millisecond))
}

// throttleTime is how long a group or queue rests if the other side did not say for how long.
const throttleTime = time.Second
