package queue

import (
	"errors"
	"fmt"
	"time"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
)

// Errors of a [Session]. Each ends the incarnation whose request returned it.
var (
	// ErrFenced: the incarnation was taken over; nothing it does counts any more.
	ErrFenced = errors.New("fenced: this incarnation was taken over")
	// ErrRolledBack: Redis has forgotten claims or commits that it had
	// acknowledged. The tasks that the incarnation owned run again.
	ErrRolledBack = errors.New("redis went back in time")
)

// errExpired: the incarnation's lease has expired and no process has taken over its tasks
// yet. Either the next heartbeat renews the lease, or the node ends the incarnation.
var errExpired = fmt.Errorf("lease ran out: %w", link.ErrUnavailable)

// expiredWord is the scripts' word for a lease, or the body of a task to enqueue, that has expired.
const expiredWord = "EXPIRED"

// refusal turns the error word of a script into the package's error for it.
func refusal(err error) error {
	switch link.WordOf(err) {
	case "FENCED":
		return ErrFenced
	case expiredWord:
		return errExpired
	case "GAP":
		return fmt.Errorf("%w: %w", ErrRolledBack, err)
	default:
		return err
	}
}

// ErrRefused says that Redis could not apply what a transaction holds.
var ErrRefused error = refusedError{}

type refusedError struct{}

func (refusedError) Error() string { return "transaction refused" }

// RedisError implements redis.Error: Redis has answered.
func (refusedError) RedisError() {}

// RefusalOf returns the error for a code with which a script refused a transaction. It wraps
// [ErrRefused].
func RefusalOf(code string) error {
	if err := cache.Refusal(code); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return fmt.Errorf("%w: %s", ErrRefused, code)
}

// DiscardedError wraps a handler's error that makes the task dead without further attempts.
type DiscardedError struct{ error }

// Discard wraps err, which must not be nil, in a [DiscardedError].
func Discard(err error) error { return DiscardedError{err} }

// Unwrap returns the marked error.
func (d DiscardedError) Unwrap() error { return d.error }

// SplitError has the errors of all tasks of a batch; nil of those that succeeded.
type SplitError []error

// Error implements error.
func (e SplitError) Error() string { return fmt.Sprintf("some of %d tasks failed", len(e)) }

// LaterError wraps a handler's error with the pause before the task runs again.
type LaterError struct {
	error

	After   time.Duration
	Attempt bool // whether the run counts as an attempt
	Rest    bool // whether the group, or else the queue, rests meanwhile
}

// TryLater wraps err, which must not be nil, in a [LaterError].
func TryLater(err error, after time.Duration, attempt bool) error {
	return LaterError{err, after, attempt, false}
}

// Rest wraps err, which must not be nil, in a [LaterError] for which others have to wait too.
func Rest(err error, d time.Duration) error { return LaterError{err, d, false, true} }

// Unwrap returns the marked error.
func (l LaterError) Unwrap() error { return l.error }
