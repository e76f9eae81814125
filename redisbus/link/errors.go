package link

import (
	"context"
	"errors"
	"net"

	"github.com/redis/go-redis/v9"
)

// ErrUnknownOutcome is the error of a command that was sent and not answered: Redis
// may have executed it or not. Only a command that can be repeated with the same
// result may be sent again.
var ErrUnknownOutcome = errors.New("redis did not answer: the command may or may not have run")

// ErrUnavailable is the error of a command that Redis did not run because it
// cannot be reached or cannot serve now.
var ErrUnavailable = errors.New("redis is unavailable")

// ErrFull is the error of a write that Redis refused for want of memory.
var ErrFull = errors.New("redis is out of memory (maxmemory): the write was refused")

// Outcome says whether a command that ended with an error has run.
type Outcome int

const (
	// Ran: Redis executed the command; the error, if any, is Redis's answer.
	Ran Outcome = iota
	// DidNotRun: Redis refused the command or never got it. It may be sent again.
	DidNotRun
	// Unknown: the command was sent, and the answer is lost.
	Unknown
)

// OutcomeOf classifies the error of a command or script. A nil error and
// redis.Nil are Ran.
func OutcomeOf(err error) Outcome {
	if err == nil || errors.Is(err, redis.Nil) {
		return Ran
	}
	if errors.Is(err, ErrUnavailable) || errors.Is(err, ErrNotSent) {
		return DidNotRun
	}
	// This comes before the check for replies: dialling may fail with a reply, such as a
	// Sentinel's.
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == dialing {
		return DidNotRun
	}
	if reply, ok := errors.AsType[redis.Error](err); ok {
		if causeOfReply(reply.Error()) != CauseNone {
			return DidNotRun
		}
		return Ran
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

// dialing is the Op of a net.OpError of a connection that was never opened.
const dialing = "dial"

// DialError wraps an error of a [Config.Dial] function so that [OutcomeOf] returns
// [DidNotRun] for it.
func DialError(err error) error { return &net.OpError{Op: dialing, Net: "embedded", Err: err} }

// IsOutage reports whether err, an error of [Explain], says that Redis did not answer or
// cannot serve now; a later try may succeed.
func IsOutage(err error) bool {
	return errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUnknownOutcome)
}

// Explain wraps err in [ErrUnavailable], [ErrNotSent], [ErrUnknownOutcome] or [ErrFull]
// where one of them applies, with a sentence on the cause, and otherwise returns err
// unchanged.
func Explain(err error) error {
	if _, done := errors.AsType[*explained](err); done || errors.Is(err, ErrUnavailable) {
		return err
	}
	cause := CauseOf(err)
	if cause == CauseMemory {
		return &explained{ErrFull, "", err}
	}
	switch OutcomeOf(err) {
	case DidNotRun:
		if errors.Is(err, context.Canceled) { // by the caller, who waited for a connection
			return &explained{ErrNotSent, "", err}
		}
		return &explained{ErrUnavailable, causeTexts[cause], err}
	case Unknown:
		if errors.Is(err, context.Canceled) {
			return err
		}
		return &explained{ErrUnknownOutcome, "", err}
	default:
		return err
	}
}

// Unanswered returns [ErrUnknownOutcome] with the reason why the caller stopped waiting
// for the answer.
func Unanswered(reason error) error { return &explained{ErrUnknownOutcome, "", reason} }

// NotSent returns [ErrUnavailable] for a command that was not sent, because one that
// comes before it ended with that error: whatever became of that one. It returns
// [ErrNotSent] if that one was cancelled.
func NotSent(before error) error {
	if e, ok := errors.AsType[*explained](before); ok {
		if errors.Is(e.kind, ErrUnavailable) || errors.Is(e.kind, ErrNotSent) {
			return before
		}
		before = e.cause
	}
	if errors.Is(before, context.Canceled) {
		return &explained{ErrNotSent, "", before}
	}
	return &explained{ErrUnavailable, causeTexts[CauseOf(before)], before}
}

type explained struct {
	kind  error
	why   string
	cause error
}

func (e *explained) Error() string {
	text := e.kind.Error() + ": "
	if e.why != "" {
		text += e.why + ": "
	}
	return text + e.cause.Error()
}

// Reason returns the text of an error of [Explain] without the kind of the error and without
// what its callers have put before it, for a sentence that says already that Redis does not
// answer. Of any other error it returns the whole text.
func Reason(err error) string {
	e, ok := errors.AsType[*explained](err)
	switch {
	case !ok:
		return err.Error()
	case e.why == "":
		return e.cause.Error()
	default:
		return e.why + ": " + e.cause.Error()
	}
}

func (e *explained) Unwrap() []error { return []error{e.kind, e.cause} }
