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
)

// Response is the result of a method.
type Response struct {
	// From is the node that answered.
	From redisbus.Identity
	// Value is the response as JSON, nil if there is none.
	Value json.RawMessage
}

// Decode decodes the response into v, as json.Unmarshal does. Without a response it
// leaves v unchanged.
func (r Response) Decode(v any) error {
	if len(r.Value) == 0 {
		return nil
	}
	return json.Unmarshal(r.Value, v)
}

// CallOptions are the options of one call. The zero value has the defaults.
type CallOptions struct {
	// Meta is carried beside the arguments, such as a tenant or a trace; the method
	// finds it in [Call.Meta]. link.ValidMeta has its bounds. Nodes of versions
	// without meta ignore it. Default none.
	Meta map[string]string
}

// DoCluster calls a method and returns the first response. args is anything
// that encoding/json can encode: an object or a struct names the arguments, a
// slice gives them by position ([Handle] has the rules).
//
// A call to [All] runs on every node that has the method, and the first answer
// counts, be it a value or an error of the method. Refusals of nodes that do not have the
// method, forbid it or are busy count only when every node has refused.
//
// The call ends at ctx's deadline, which is sent with the call, or, without a deadline,
// after the endpoint's timeout. The error is an [Error]: see the codes. When ctx is
// cancelled the error is ctx's cause, and whether the method ran is not known.
func (e *Endpoint) DoCluster(ctx context.Context, method string, args any, to Target) (Response, error) {
	return e.DoClusterWith(ctx, method, args, to, CallOptions{})
}

// DoClusterWith is [Endpoint.DoCluster] with options.
func (e *Endpoint) DoClusterWith(ctx context.Context, method string, args any, to Target, o CallOptions) (Response, error) {
	result, err := e.call(ctx, args, Request{Method: method, To: to, Meta: o.Meta})
	return result.Response, err
}

// Do is [Endpoint.DoCluster] with a typed response.
func Do[Res any](ctx context.Context, e *Endpoint, method string, args any, to Target) (Res, error) {
	return DoWith[Res](ctx, e, method, args, to, CallOptions{})
}

// DoWith is [Do] with options.
func DoWith[Res any](ctx context.Context, e *Endpoint, method string, args any, to Target, o CallOptions) (Res, error) {
	var res Res
	r, err := e.DoClusterWith(ctx, method, args, to, o)
	if err == nil {
		if err = r.Decode(&res); err != nil {
			err = fmt.Errorf("response of %s: %w", method, err)
		}
	}
	return res, err
}

// Cast calls a method without a reply. The error says only whether the call was sent and,
// for a call to a node or a connection, whether a node received it.
func (e *Endpoint) Cast(ctx context.Context, method string, args any, to Target) error {
	return e.CastWith(ctx, method, args, to, CallOptions{})
}

// CastWith is [Endpoint.Cast] with options.
func (e *Endpoint) CastWith(ctx context.Context, method string, args any, to Target, o CallOptions) error {
	_, err := e.call(ctx, args, Request{Method: method, To: to, Meta: o.Meta, Replies: NoReply})
	return err
}

// call makes a call of any kind.
func (e *Endpoint) call(ctx context.Context, args any, r Request) (result Result, err error) {
	if e.cfg.Observer != nil {
		began := time.Now()
		defer func() { e.observeCall(r, began, err) }()
	}
	if r.Args, err = encodeArgs(args); err != nil {
		return Result{}, withMethod(err, r.Method)
	}
	return e.send(ctx, r)
}

// sendRequest makes a call of any kind without the call middleware.
func (e *Endpoint) sendRequest(ctx context.Context, r Request) (result Result, err error) {
	switch r.Replies {
	case EveryReply:
		result.Verdicts, err = e.doAll(ctx, r)
	case NoReply:
		err = e.cast(ctx, r)
	default:
		result.Response, err = e.do(ctx, r)
	}
	if err != nil {
		err = withMethod(err, r.Method)
	}
	return result, err
}

func (e *Endpoint) cast(ctx context.Context, r Request) error {
	c, node, err := e.prepare(ctx, r)
	if err != nil {
		return err
	}
	sent := make(chan error, 1)
	err = e.cfg.Bus.Post(ctx, c.message(node), func(receivers int64, err error) {
		if err == nil && receivers == 0 && node != "" {
			err = &Error{Code: ErrNoSuchTarget, Node: node}
		}
		sent <- err
	})
	if err == nil {
		select {
		case err = <-sent:
		case <-ctx.Done():
			err = link.Unanswered(context.Cause(ctx))
		}
	}
	if err != nil {
		return sendError(err, node)
	}
	return nil
}

func (e *Endpoint) do(ctx context.Context, r Request) (Response, error) {
	c, node, err := e.prepare(ctx, r)
	if err != nil {
		return Response{}, err
	}
	c.id = newID()
	ends := make(chan outcome, 1)
	var w waiter = &nodeWaiter{node: node, ends: ends}
	if node == "" {
		w = &firstWaiter{nodeWaiter: nodeWaiter{ends: ends}, declined: map[redisbus.Identity]bool{}}
	}
	if err := e.addWaiter(c.id, w); err != nil {
		return Response{}, err
	}
	defer e.removeWaiter(c.id)
	if err := e.cfg.Bus.Post(ctx, c.message(node), w.sent); err != nil {
		return Response{}, sendError(err, node)
	}
	timer := e.newTimer(ctx)
	defer timer.Stop()
	var modes <-chan map[string]link.Mode
	for {
		select {
		case o := <-ends:
			if o.value.err != nil {
				return Response{From: o.from}, o.value.err
			}
			return Response{From: o.from, Value: o.value.value}, nil
		case <-ctx.Done():
			return Response{}, contextError(ctx, node)
		case <-timer.C:
			if timer.isTimeout() {
				return Response{}, &Error{Code: ErrTimeout, Node: node}
			}
			modes = e.askModes(ctx)
			e.askMembers(ctx, w)
		case known := <-modes:
			if err := e.unheard(known, node); err != nil {
				return Response{}, err
			}
		}
	}
}

// callTimer fires after modeDoubt, and then, if the call's context has no deadline, at the
// endpoint's timeout. Two timers would cost each call twice as much.
type callTimer struct {
	*time.Timer
	left    time.Duration // from when the timer fires next until the timeout
	bounded bool          // the context has a deadline
}

func (e *Endpoint) newTimer(ctx context.Context) callTimer {
	t := callTimer{}
	first := modeDoubt
	if _, t.bounded = ctx.Deadline(); !t.bounded {
		first = min(first, e.cfg.Timeout)
		t.left = e.cfg.Timeout - first
	}
	t.Timer = time.NewTimer(first)
	return t
}

// isTimeout reports whether the timer has fired for the timeout, and otherwise sets it for that.
func (t *callTimer) isTimeout() bool {
	if t.bounded {
		return false
	}
	if t.left == 0 {
		return true
	}
	t.Reset(t.left)
	t.left = 0
	return false
}

// prepare returns the call of a request and the id of the node that it goes to, "" for all
// nodes.
func (e *Endpoint) prepare(ctx context.Context, r Request) (*call, string, error) {
	if err := link.Cancelled(ctx); err != nil {
		return nil, "", err
	}
	if !link.ValidName(r.Method) {
		return nil, "", &Error{Code: ErrNoSuchMethod, Message: "not a valid name"}
	}
	if r.To == (Target{}) {
		return nil, "", &Error{Code: ErrNoSuchTarget, Message: "the id is empty: use All() to call every node"}
	}
	if err := link.ValidMeta(r.Meta); err != nil {
		return nil, "", &Error{Code: ErrBadArguments, Message: err.Error(), cause: err}
	}
	if err := e.awaitBus(ctx); err != nil {
		return nil, "", err
	}
	c := &call{
		method: r.Method, connection: r.To.connection, deadline: e.cfg.Bus.Now().Add(e.cfg.Timeout), args: r.Args, meta: r.Meta,
	}
	if at, ok := ctx.Deadline(); ok {
		c.deadline = e.cfg.Bus.Now().Add(time.Until(at))
	}
	node := r.To.node
	if r.To.connection != "" {
		var err error
		if node, err = e.locate(ctx, r.To.connection); err != nil {
			return nil, "", err
		}
	}
	if !r.To.all && !link.ValidName(node) {
		return nil, "", &Error{Code: ErrNoSuchTarget, Message: "not a valid name"}
	}
	return c, node, nil
}

// locate returns the id of the node that holds a client connection.
func (e *Endpoint) locate(ctx context.Context, connection string) (string, error) {
	if e.cfg.Connections == nil {
		return "", &Error{Code: ErrNoSuchConnection, Message: "this node has no directory of connections"}
	}
	node, err := e.cfg.Connections.Locate(ctx, connection)
	if errors.Is(err, ErrNoSuchConnection) {
		return "", &Error{Code: ErrNoSuchConnection, cause: err}
	}
	if err != nil {
		return "", sendError(err, "")
	}
	return node, nil
}

// newID returns 128 random bits, so that only a node that got the call can answer it.
func newID() string {
	var random [16]byte
	_, _ = rand.Read(random[:]) // Read never returns an error: crypto/rand ends the process first
	return base64.RawURLEncoding.EncodeToString(random[:])
}

// contextError is the error of a call whose context has ended.
func contextError(ctx context.Context, node string) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &Error{Code: ErrTimeout, Node: node, cause: context.Cause(ctx)}
	}
	return fmt.Errorf("%w: %w", context.Cause(ctx), link.ErrUnknownOutcome)
}

// sendError is the error of a call that the bus could not send.
func sendError(err error, node string) error {
	switch {
	case isError(err), errors.Is(err, context.Canceled):
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

// withMethod adds the method's name to the error.
func withMethod(err error, method string) error {
	if known, ok := errors.AsType[*Error](err); ok {
		known.Method = method
		return err
	}
	return fmt.Errorf("call of %s: %w", method, err)
}
