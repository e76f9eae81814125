package rpcregistry

import (
	"errors"
	"time"

	"github.com/stellarfw/stellar/redisbus"
)

// Observer is notified when calls have ended, for metrics and traces. Its methods are
// called synchronously, some of them on the goroutine that reads the bus: they must not
// block and must be safe for concurrent use.
type Observer interface {
	// CallEnded: a call that this endpoint made has ended.
	CallEnded(end CallEnd)
	// MethodEnded: a call that this endpoint received has ended or was refused.
	MethodEnded(end MethodEnd)
}

// CallEnd is how a call ended for its caller, middleware included.
type CallEnd struct {
	Method string
	Target Target
	// Replies tells DoCluster, DoAll and Cast apart.
	Replies Replies
	// Code is empty for a call that succeeded, and for a DoAll that returned verdicts.
	// [ErrCanceled]: the caller's context was cancelled.
	Code Code
	Took time.Duration
}

// MethodEnd is how a received call ended, middleware included.
type MethodEnd struct {
	// Method is the name that was called. With [ErrNoSuchMethod] or [ErrDenied] the caller
	// chose it freely: do not use it as a label of a metric.
	Method string
	// From is the caller.
	From redisbus.Identity
	// Code is empty for a method that returned no error. [ErrBusy], [ErrDenied],
	// [ErrNoSuchMethod] and [ErrNoSuchConnection] can mean that the method did not run.
	Code Code
	// Took is how long the method ran, 0 if the call was refused.
	Took time.Duration
}

func (e *Endpoint) observeCall(r Request, began time.Time, err error) {
	end := CallEnd{Method: r.Method, Target: r.To, Replies: r.Replies, Took: time.Since(began)}
	if err != nil {
		end.Code = ErrCanceled
		if known, ok := errors.AsType[*Error](err); ok {
			end.Code = known.Code
		}
	}
	e.cfg.Observer.CallEnded(end)
}

func (e *Endpoint) observeMethod(c *call, took time.Duration, code Code) {
	if e.cfg.Observer != nil {
		e.cfg.Observer.MethodEnded(MethodEnd{Method: c.method, From: c.from, Code: code, Took: took})
	}
}
