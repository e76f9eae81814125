package rpcregistry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/wire"
)

// maxErrorText is the most bytes of an error's text that cross the wire.
const maxErrorText = 4 << 10

// receiveCall handles a call. It runs on the bus's reader and must not block.
func (e *Endpoint) receiveCall(_ context.Context, m redisbus.Message) {
	c, ok := decodeCall(m)
	if !ok {
		e.stats.malformed.Add(1)
		return
	}
	left := c.deadline.Sub(e.cfg.Bus.Now()) // both are on Redis's clock // both are on Redis's clock
	if left <= 0 {
		e.stats.expired.Add(1)
		return
	}
	base := e.base.Load()
	if base == nil {
		return
	}
	method, err := e.registry.Lookup(c.method)
	if err == nil && c.connection != "" && (e.cfg.Connections == nil || !e.cfg.Connections.Holds(c.connection)) {
		err = ErrNoSuchConnection
	}
	if err == nil && !e.enter(&c, method) {
		err = ErrBusy // too many calls run, or the endpoint stops
	}
	if err != nil {
		code := e.answer(*base, &c, nil, err, e.cfg.Bus.Post) //nolint:contextcheck // methods have Serve's context, not the message's
		e.observeMethod(&c, 0, code)
		return
	}
	e.stats.calls.Add(1)
	e.pool.do(func() { e.serveCall(*base, &c, method, left) }) //nolint:contextcheck // methods have Serve's context
}

func (e *Endpoint) slotsOf(m Method) *slots {
	if m.Control {
		return e.steer
	}
	return e.calls
}

// enter takes a slot for a call, and counts its method as running.
func (e *Endpoint) enter(c *call, m Method) bool {
	slots := e.slotsOf(m)
	if !slots.take(c.from.Incarnation) {
		return false
	}
	if e.group.Enter(c.method) {
		return true
	}
	slots.leave(c.from.Incarnation)
	return false
}

// serveCall runs the method and sends its reply, also when the method panics or calls
// runtime.Goexit.
func (e *Endpoint) serveCall(base context.Context, c *call, method Method, left time.Duration) {
	began := time.Now()
	ctx := &callContext{Context: base, deadline: began.Add(left), call: c}
	var value json.RawMessage
	err := error(ErrPanicked)
	defer func() {
		p := recover()
		ctx.end()
		e.slotsOf(method).leave(c.from.Incarnation)
		e.group.Leave(c.method) // the method has returned: Serve need not wait for the reply
		if p != nil {
			err = fmt.Errorf("%w: %v", ErrPanicked, p)
		}
		if errors.Is(err, ErrPanicked) {
			e.log.Error().Str("method", c.method).Str("caller", c.from.ID).Str("panic", err.Error()).
				Bytes("stack", debug.Stack()).Msg("a method panicked or ended its goroutine")
		}
		took := time.Since(began)
		code := e.answer(base, c, value, err, e.cfg.Bus.PostNow)
		e.observeMethod(c, took, code)
	}()
	value, err = e.methodFunc(method)(ctx, c.args)
	if err != nil {
		_, _ = codeOf(err) // called here so that a panic of err.Error() counts as the method's
	}
	switch {
	case errors.Is(err, context.Canceled) && base.Err() != nil:
		err = fmt.Errorf("%w: %w", ErrNodeDown, err) // the node is stopping
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil:
		err = fmt.Errorf("%w: %w", ErrTimeout, err)
	}
}

// post is [redisbus.Bus.Post] or [redisbus.Bus.PostNow].
type post func(ctx context.Context, m redisbus.Outgoing, done func(int64, error)) error

// answer sends the reply to a call, unless the caller wants none, and returns the reply's
// code, "" for a value.
func (e *Endpoint) answer(ctx context.Context, c *call, value json.RawMessage, err error, send post) (code Code) {
	if c.id == "" {
		if err != nil {
			code, _ = codeOf(err)
		}
		return code
	}
	r := reply{value: value}
	if err == nil && len(value) > 0 {
		if bad := wire.Check(value, outerDepth); bad != nil {
			err = fmt.Errorf("response: %w", bad)
		}
	}
	if err != nil {
		r = failure(err)
	}
	unsent := e.sendReply(ctx, c, r, send)
	if errors.Is(unsent, redisbus.ErrTooLarge) {
		r = failure(fmt.Errorf("%w: the response has %d bytes", ErrTooLarge, len(value)))
		unsent = e.sendReply(ctx, c, r, send)
	}
	if unsent != nil {
		e.log.Debug().Err(unsent).Str("method", c.method).Msg("a reply was not sent")
	}
	if r.err != nil {
		code = r.err.Code
	}
	return code
}

// sendReply sends a reply to the life of the caller that called, or, where nobody listens
// there, to its id, as callers of older versions listen there only.
func (e *Endpoint) sendReply(ctx context.Context, c *call, r reply, send post) error {
	m := redisbus.Outgoing{Inbox: c.from.Incarnation, Type: ReplyType, Body: r.encode(c.id)}
	return send(ctx, m, func(receivers int64, err error) {
		if err == nil && receivers == 0 && c.from.ID != c.from.Incarnation {
			m.Inbox = c.from.ID
			_ = e.cfg.Bus.Post(ctx, m, nil) // the caller may have ended
		}
	})
}

// failure returns the reply for an error of a method.
func failure(err error) reply {
	code, text := codeOf(err)
	if len(text) > maxErrorText {
		text = text[:maxErrorText]
	}
	return reply{err: &Error{Code: code, Message: text}}
}
