package rpcregistry

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/stellarfw/stellar/redisbus/link"
)

// Code is the kind of failure with which a call ended. It is an error, for errors.Is on
// the errors of [Endpoint.DoCluster] and on [Verdict.Err]. A method may return a code of
// its own: with const ErrNoMailbox Code = "no_mailbox" the caller of a method that returns
// fmt.Errorf("%w: box 7", ErrNoMailbox) gets the code and the text.
type Code string

// Error implements error.
func (c Code) Error() string { return string(c) }

// The codes of this package.
const (
	// ErrNoSuchTarget: no node with that id is subscribed.
	ErrNoSuchTarget Code = "no_such_target"
	// ErrNoSuchConnection: no node holds that connection.
	ErrNoSuchConnection Code = "no_such_connection"
	// ErrNoSuchMethod: the node has no such method; after a call to all: no node has it.
	ErrNoSuchMethod Code = "no_such_method"
	// ErrDenied: configuration forbids the method on that node.
	ErrDenied Code = "denied"
	// ErrBadArguments: the arguments do not fit the method, or contain unknown members
	// and the method was registered with [HandleStrict], as the built-in methods are.
	ErrBadArguments Code = "bad_arguments"
	// ErrFailed: the method returned an error without a code.
	ErrFailed Code = "failed"
	// ErrPanicked: the method panicked. The stack is in the node's log.
	ErrPanicked Code = "panicked"
	// ErrTooLarge: the arguments or the response exceed redisbus.MaxMessage.
	ErrTooLarge Code = "too_large"
	// ErrBusy: the node runs as many calls as it may, or is stopping, or the caller's
	// bus is congested. The method did not run.
	ErrBusy Code = "busy"
	// ErrNodeDown: the node died or left during the call. Whether the method ran is
	// not known: the error is also a link.ErrUnknownOutcome.
	ErrNodeDown Code = "node_down"
	// ErrTimeout: no response came in time. Whether the method ran is not known: the
	// error is also a link.ErrUnknownOutcome and a context.DeadlineExceeded.
	ErrTimeout Code = "timeout"
	// ErrUnavailable: the call could not be sent. It is also the error of the bus,
	// such as link.ErrUnavailable.
	ErrUnavailable Code = "unavailable"
	// ErrCanceled: the caller's context was cancelled. Only in [CallEnd.Code]: the
	// call's error is the cause of the cancellation.
	ErrCanceled Code = "canceled"
)

// Error describes why a call failed. errors.Is compares its Code.
type Error struct {
	Code Code `json:"code"`
	// Message is the text of the method's error. It comes from another node: put
	// it into a log as a field, not as the message.
	Message string `json:"message,omitempty"`
	// Node is the id of the node that answered or should have answered, if it is known.
	Node string `json:"node,omitempty"`
	// Method is the method that was called.
	Method string `json:"method,omitempty"`

	cause error
}

// Error implements error.
func (e *Error) Error() string {
	text := fmt.Sprintf("call of %s", e.Method)
	if e.Node != "" {
		text += " on " + e.Node
	}
	text += ": " + string(e.Code)
	if e.Message != "" {
		text += fmt.Sprintf(": %q", e.Message)
	}
	return text
}

// Is reports whether target is the error's code, or an error that the code implies, such
// as link.ErrUnknownOutcome for [ErrTimeout].
func (e *Error) Is(target error) bool {
	if code, ok := target.(Code); ok {
		return code == e.Code
	}
	switch e.Code {
	case ErrTimeout:
		return target == link.ErrUnknownOutcome || target == context.DeadlineExceeded
	case ErrNodeDown:
		return target == link.ErrUnknownOutcome
	default:
		return false
	}
}

// Unwrap returns the local cause, if there is one.
func (e *Error) Unwrap() error { return e.cause }

// codeOf returns the code and the text to send for an error of a method; the text is
// without the code.
func codeOf(err error) (Code, string) {
	if remote, ok := errors.AsType[*Error](err); ok {
		return remote.Code, err.Error()
	}
	if code, ok := errors.AsType[Code](err); ok && link.ValidName(string(code)) {
		text := strings.TrimPrefix(err.Error(), string(code))
		return code, strings.TrimPrefix(text, ": ")
	}
	return ErrFailed, err.Error()
}
