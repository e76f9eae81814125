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
