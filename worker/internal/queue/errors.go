package queue

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

// errExpired: the lease ran out and nobody took over yet. The next heartbeat
// renews it, or the node's own fence ends it.
var errExpired = fmt.Errorf("lease ran out: %w", link.ErrUnavailable)

// refusal returns the package's error for the word with which a script refused.
func refusal(err error) error {
	switch link.WordOf(err) {
	case "FENCED":
		return ErrFenced
	case "EXPIRED":
		return errExpired
	case "GAP":
		return fmt.Errorf("%w: %w", ErrRolledBack, err)
	default:
		return err
	}
}

// DiscardedError is a handler's error after which its task is dead at once.
type DiscardedError struct{ error }

// Discard marks an error, which is not nil, as final.
func Discard(err error) error { return DiscardedError{err} }

// Unwrap returns the marked error.
func (d DiscardedError) Unwrap() error { return d.error }

// LaterError is a handler's error that says when to try again.
type LaterError struct {
	error

	After   time.Duration
	Attempt bool // the run was an attempt
}

// TryLater marks an error, which is not nil, with a pause.
func TryLater(err error, after time.Duration, attempt bool) error {
	return LaterError{err, after, attempt}
}
