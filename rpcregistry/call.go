package rpcregistry

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/wire"
)

// Response is what a method returned.
type Response struct {
	// From is the node that answered.
	From redisbus.Identity
	// Value is the response as JSON, nil if there is none.
	Value json.RawMessage
}

// Decode stores the response in v, as json.Unmarshal does. Without a response v
// stays as it is.
func (r Response) Decode(v any) error {
	if len(r.Value) == 0 {
		return nil
	}
	return json.Unmarshal(r.Value, v)
}

// DoCluster calls a method and returns the first response. args is anything
// that encoding/json can encode: an object or a struct names the arguments, a
// slice gives them by position ([Handle] tells how they are taken).
//
// Of [All], every node that has the method runs it, and the first answer counts,
// be it a value or an error of the method; nodes that do not have it, forbid it
// or are busy leave the answer to others.
//
// The call ends at ctx's deadline, which travels with it, or after the
// endpoint's timeout. The error is an [Error]: see the codes. When ctx is
// cancelled the error is its cause, and whether the method ran is not known.
func (e *Endpoint) DoCluster(ctx context.Context, method string, args any, to Target) (Response, error) {
	r, err := e.do(ctx, method, args, to)
	if err != nil {
		return r, withMethod(err, method)
	}
	return r, nil
}

// Do is [Endpoint.DoCluster] with a typed response.
func Do[Res any](ctx context.Context, e *Endpoint, method string, args any, to Target) (Res, error) {
	var res Res
	r, err := e.DoCluster(ctx, method, args, to)
	if err == nil {
		if err = r.Decode(&res); err != nil {
			err = fmt.Errorf("response of %s: %w", method, err)
		}
	}
	return res, err
}

// Cast calls a method and does not wait: nobody replies. The error says only
// whether the call was sent and, for a node or a connection, whether there was
// somebody to get it.
func (e *Endpoint) Cast(ctx context.Context, method string, args any, to Target) error {
	c, node, err := e.prepare(ctx, method, args, to)
	if err != nil {
		return withMethod(err, method)
	}
	var receivers int64
	body := json.RawMessage(c.encode())
	if node == "" {
		err = e.cfg.Bus.Publish(ctx, callType, body)
		receivers = 1
	} else {
		receivers, err = e.cfg.Bus.Send(ctx, node, callType, body)
	}
	if err == nil && receivers == 0 {
		err = &Error{Code: ErrNoSuchTarget, Node: node}
	}
	if err != nil {
		return withMethod(sendError(err, node), method)
	}
	return nil
}

func (e *Endpoint) do(ctx context.Context, method string, args any, to Target) (Response, error) {
	c, node, err := e.prepare(ctx, method, args, to)
	if err != nil {
		return Response{}, err
	}
	c.id = newID()
	ends := make(chan outcome, 1)
	var w waiter = &nodeWaiter{node: node, ends: ends}
	if node == "" {
		w = &firstWaiter{nodeWaiter: nodeWaiter{ends: ends}, declined: map[redisbus.Identity]bool{}}
	}
	e.addWaiter(c.id, w)
	defer e.removeWaiter(c.id)
	if err := e.cfg.Bus.Post(ctx, node, callType, c.encode(), w.sent); err != nil {
		return Response{}, sendError(err, node)
	}
	timeout, stop := e.timeout(ctx)
	defer stop()
	select {
	case o := <-ends:
		if o.value.err != nil {
			return Response{From: o.from}, o.value.err
		}
		return Response{From: o.from, Value: o.value.value}, nil
	case <-timeout:
		return Response{}, &Error{Code: ErrTimeout, Node: node}
	case <-ctx.Done():
		return Response{}, contextError(ctx, node)
	}
}

// timeout bounds a call whose context has no deadline.
func (e *Endpoint) timeout(ctx context.Context) (<-chan time.Time, func() bool) {
	if _, bounded := ctx.Deadline(); bounded {
		return nil, func() bool { return false }
	}
	timer := time.NewTimer(e.cfg.Timeout)
	return timer.C, timer.Stop
}

// prepare makes the call and finds the node, none for all, that it is for.
func (e *Endpoint) prepare(ctx context.Context, method string, args any, to Target) (*call, string, error) {
	if !link.ValidName(method) {
		return nil, "", &Error{Code: ErrNoSuchMethod, Message: "not a valid name"}
	}
	c := &call{method: method, connection: to.connection, deadline: e.cfg.Bus.Now().Add(e.cfg.Timeout)}
	if at, ok := ctx.Deadline(); ok {
		c.deadline = e.cfg.Bus.Now().Add(time.Until(at))
	}
	if args != nil {
		text, err := wire.Encode(args)
		if err == nil && len(text) > 0 {
			err = wire.Check(text, outerDepth)
		}
		if err != nil {
			return nil, "", &Error{Code: ErrBadArguments, Message: err.Error(), cause: err}
		}
		c.args = text
	}
	node := to.node
	if to.connection != "" {
		var err error
		if node, err = e.locate(ctx, to.connection); err != nil {
			return nil, "", err
		}
	}
	if node != "" && !link.ValidName(node) {
		return nil, "", &Error{Code: ErrNoSuchTarget, Message: "not a valid name"}
	}
	return c, node, nil
}

func (e *Endpoint) locate(ctx context.Context, connection string) (string, error) {
	if e.cfg.Connections == nil {
		return "", &Error{Code: ErrNoSuchConnection, Message: "this node has no directory of connections"}
	}
	node, err := e.cfg.Connections.Locate(ctx, connection)
	if errors.Is(err, ErrNoSuchConnection) {
		return "", &Error{Code: ErrNoSuchConnection, cause: err}
	}
	if err != nil {
		return "", &Error{Code: ErrUnavailable, cause: err}
	}
	return node, nil
}

// newID returns 128 random bits: nobody can answer a call that was not sent to him.
func newID() string {
	var random [16]byte
	_, _ = rand.Read(random[:]) // it never fails: crypto/rand ends the process first
	return base64.RawURLEncoding.EncodeToString(random[:])
}

// contextError is how a call ends whose context has.
func contextError(ctx context.Context, node string) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &Error{Code: ErrTimeout, Node: node, cause: context.Cause(ctx)}
	}
	return fmt.Errorf("%w: %w", context.Cause(ctx), link.ErrUnknownOutcome)
}

// sendError is how a call ends that the bus did not take.
func sendError(err error, node string) error {
	switch {
	case isError(err):
		return err
	case errors.Is(err, redisbus.ErrTooLarge):
		return &Error{Code: ErrTooLarge, Node: node, cause: err}
	case errors.Is(err, redisbus.ErrCongested):
		return &Error{Code: ErrBusy, Node: node, cause: err}
	default:
		return &Error{Code: ErrUnavailable, Node: node, cause: err}
	}
}

func isError(err error) bool {
	_, ok := errors.AsType[*Error](err)
	return ok
}

// withMethod names the method in an [Error] and in any other error.
func withMethod(err error, method string) error {
	if known, ok := errors.AsType[*Error](err); ok {
		known.Method = method
		return known
	}
	return fmt.Errorf("call of %s: %w", method, err)
}
