package redisbus

import (
	"context"
	"errors"
	"net"
	"strings"

	"github.com/redis/go-redis/v9"
)

// ErrUnknownOutcome is what a command ends with that was sent and not answered:
// Redis may have executed it or not. Only a command that can be repeated with
// the same result may be sent again.
var ErrUnknownOutcome = errors.New("redis did not answer: the command may or may not have run")

// ErrUnavailable is what a command ends with that Redis did not run because it
// cannot be reached or cannot serve now.
var ErrUnavailable = errors.New("redis is unavailable")

// ErrFull is what a write ends with that Redis refused for want of memory.
var ErrFull = errors.New("redis is out of memory (maxmemory): the write was refused")

// Outcome says what became of a command that ended with an error.
type Outcome int

const (
	// Ran: Redis executed it; the error, if any, is its answer.
	Ran Outcome = iota
	// DidNotRun: Redis refused it or never got it. It may be sent again.
	DidNotRun
	// Unknown: it was sent and the answer is lost.
	Unknown
)

// prefixes of Redis errors that say "not now" about the server, not about the command.
var notNow = []string{
	"LOADING ", "READONLY ", "MASTERDOWN ", "CLUSTERDOWN ", "TRYAGAIN ", "MOVED ", "ASK ", "NOREPLICAS ",
	"MISCONF ", "BUSY ", "NOAUTH ", "WRONGPASS ", "NOPERM ", "ERR max number of clients",
	"UNBLOCKED ",
}

// OutcomeOf classifies the error of a command or script. A nil error and
// redis.Nil are Ran.
func OutcomeOf(err error) Outcome {
	if err == nil || errors.Is(err, redis.Nil) {
		return Ran
	}
	if errors.Is(err, ErrUnavailable) {
		return DidNotRun
	}
	if reply, ok := errors.AsType[redis.Error](err); ok {
		text := reply.Error()
		for _, p := range notNow {
			if strings.HasPrefix(text, p) {
				return DidNotRun
			}
		}
		// A script's own commands are refused before its first write.
		if isFull(text) {
			return DidNotRun
		}
		return Ran
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return DidNotRun
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return DidNotRun
	}
	if errors.Is(err, redis.ErrPoolTimeout) || errors.Is(err, redis.ErrPoolExhausted) ||
		errors.Is(err, redis.ErrClosed) {
		return DidNotRun
	}
	return Unknown
}

func isFull(text string) bool {
	return strings.HasPrefix(text, "OOM ") || strings.Contains(text, "-OOM ") || strings.Contains(text, "OOM command not allowed")
}

// DialError marks an error of a [Config.Dial] function as "never connected".
func DialError(err error) error { return &net.OpError{Op: "dial", Net: "embedded", Err: err} }

// Explain wraps err in [ErrUnavailable], [ErrUnknownOutcome] or [ErrFull] where
// one of them applies, and returns it as it is otherwise.
func Explain(err error) error {
	if reply, ok := errors.AsType[redis.Error](err); ok && isFull(reply.Error()) {
		return &explained{ErrFull, err}
	}
	switch OutcomeOf(err) {
	case DidNotRun:
		return &explained{ErrUnavailable, err}
	case Unknown:
		if errors.Is(err, context.Canceled) {
			return err
		}
		return &explained{ErrUnknownOutcome, err}
	default:
		return err
	}
}

type explained struct{ kind, cause error }

func (e *explained) Error() string   { return e.kind.Error() + ": " + e.cause.Error() }
func (e *explained) Unwrap() []error { return []error{e.kind, e.cause} }
