package rpcregistry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"

	"github.com/stellarfw/stellar/redisbus/wire"
)

// Replies says which replies a call waits for.
type Replies int

// The kinds of calls.
const (
	FirstReply Replies = iota // [Endpoint.DoCluster]
	EveryReply                // [Endpoint.DoAll]
	NoReply                   // [Endpoint.Cast]
)

// Request is a call that has not been sent yet.
type Request struct {
	Method string
	// Args is one JSON value, or nil.
	Args json.RawMessage
	// Meta is carried beside the arguments (see [CallOptions]).
	Meta map[string]string
	// To is the target; with EveryReply it is always [All].
	To      Target
	Replies Replies
}

// Result is how a call ended.
type Result struct {
	// Response is set for FirstReply.
	Response
	// Verdicts is set for EveryReply.
	Verdicts []Verdict
}

// CallFunc makes a call and returns how it ended.
type CallFunc func(ctx context.Context, r Request) (Result, error)

// CallMiddleware wraps the calls that an endpoint makes, of all three kinds. It may
// change the request before it gives it to next, and sees and may change the result.
// Maps and arguments may be shared: replace them, never change them in place. It
// runs on the caller's goroutine; a panic ends the call with [ErrPanicked].
type CallMiddleware func(next CallFunc) CallFunc

// MethodFunc runs a method. args is valid JSON or nil, the response JSON or nil.
type MethodFunc func(ctx context.Context, args json.RawMessage) (json.RawMessage, error)

// MethodMiddleware wraps the methods that an endpoint answers, the built-in ones
// included: [FromContext] tells which one is called, by whom and with which meta.
// It may change the context and the arguments, and sees and may change the response.
// A panic is the method's: the call ends with [ErrPanicked].
//
// Calls that the endpoint refuses ([ErrNoSuchMethod], [ErrDenied], [ErrBusy]) do not
// reach the middleware.
type MethodMiddleware func(next MethodFunc) MethodFunc

// wrapSend returns send with the call middleware around it. The request that leaves the
// middleware is checked before send gets it.
func (e *Endpoint) wrapSend(send CallFunc) CallFunc {
	if len(e.cfg.CallMiddleware) == 0 {
		return send
	}
	next := CallFunc(func(ctx context.Context, r Request) (Result, error) {
		if _, err := encodeArgs(r.Args); err != nil {
			return Result{}, withMethod(err, r.Method)
		}
		return send(ctx, r)
	})
	for _, m := range slices.Backward(e.cfg.CallMiddleware) {
		next = m(next)
	}
	return func(ctx context.Context, r Request) (result Result, err error) {
		defer func() {
			if p := recover(); p != nil {
				e.log.Error().Str("method", r.Method).Str("panic", fmt.Sprint(p)).Bytes("stack", debug.Stack()).
					Msg("call middleware panicked")
				err = &Error{Code: ErrPanicked, Message: fmt.Sprint(p), Method: r.Method}
			}
		}()
		return next(ctx, r)
	}
}

// methodFunc returns the method's function with the method middleware around it.
func (e *Endpoint) methodFunc(m Method) MethodFunc {
	if len(e.cfg.MethodMiddleware) == 0 {
		return m.Call
	}
	if wrapped, ok := e.wrapped.Load(m.Name); ok {
		return wrapped.(MethodFunc) //nolint:forcetypeassert // nothing else is stored
	}
	next := MethodFunc(func(ctx context.Context, args json.RawMessage) (json.RawMessage, error) {
		if len(args) > 0 {
			if err := wire.Check(args, outerDepth); err != nil {
				return nil, fmt.Errorf("%w: %w", ErrBadArguments, err)
			}
		}
		return m.Call(ctx, args)
	})
	for _, middleware := range slices.Backward(e.cfg.MethodMiddleware) {
		next = middleware(next)
	}
	e.wrapped.Store(m.Name, next)
	return next
}

func (c Config) validate() error {
	var errs []error
	if slices.ContainsFunc(c.CallMiddleware, func(m CallMiddleware) bool { return m == nil }) {
		errs = append(errs, errors.New("nil call middleware"))
	}
	if slices.ContainsFunc(c.MethodMiddleware, func(m MethodMiddleware) bool { return m == nil }) {
		errs = append(errs, errors.New("nil method middleware"))
	}
	if c.Bus == nil {
		errs = append(errs, errors.New("a bus is needed"))
	}
	return errors.Join(errs...)
}

// encodeArgs returns the arguments as JSON, or an [ErrBadArguments] if nodes would
// drop them.
func encodeArgs(args any) (json.RawMessage, error) {
	if args == nil {
		return nil, nil
	}
	text, err := wire.Encode(args)
	if err == nil && len(text) > 0 {
		err = wire.Check(text, outerDepth)
	}
	if err != nil {
		return nil, &Error{Code: ErrBadArguments, Message: err.Error(), cause: err}
	}
	return text, nil
}
