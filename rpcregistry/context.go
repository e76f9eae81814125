package rpcregistry

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/stellarfw/stellar/redisbus"
)

// Call describes the call that a method serves.
type Call struct {
	Method string
	// From is the caller: a node, or a command.
	From redisbus.Identity
	// Connection is the id of the client connection that was called, empty for a call
	// to a node or to all.
	Connection string
	// Meta is the caller's [CallOptions.Meta], nil if the caller gave none.
	Meta map[string]string
}

type contextKey struct{}

// ErrNoCall is the value with which [FromContext] panics outside a method.
var ErrNoCall = errors.New("no call in this context: use the context that a method was given, or ask rpcregistry.InCall first")

// FromContext returns the call that a method's context belongs to. With any other
// context it panics with [ErrNoCall].
func FromContext(ctx context.Context) Call {
	c, ok := ctx.Value(contextKey{}).(*call)
	if !ok {
		panic(ErrNoCall)
	}
	return Call{Method: c.method, From: c.from, Connection: c.connection, Meta: c.meta}
}

// InCall reports whether ctx is, or derives from, the context of a method.
func InCall(ctx context.Context) bool {
	_, ok := ctx.Value(contextKey{}).(*call)
	return ok
}

// callContext is the context of one call: the node's context with the call's deadline. Most
// methods never use Done or Err, so the timer is made only for the first use of them.
type callContext struct {
	context.Context //nolint:containedctx // callContext is a context; this is its parent

	call     *call
	deadline time.Time

	mu     sync.Mutex
	timed  context.Context //nolint:containedctx // the parent with the deadline's timer; nil until it is needed
	cancel context.CancelFunc
	ended  bool
}

func (c *callContext) Deadline() (time.Time, bool) {
	if at, ok := c.Context.Deadline(); ok && at.Before(c.deadline) {
		return at, true
	}
	return c.deadline, true
}

func (c *callContext) withTimer() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timed == nil {
		c.timed, c.cancel = context.WithDeadline(c.Context, c.deadline)
		if c.ended {
			c.cancel()
		}
	}
	return c.timed
}

func (c *callContext) Done() <-chan struct{} { return c.withTimer().Done() }

func (c *callContext) Err() error { return c.withTimer().Err() }

// Value asks the context with the timer once there is one. So package context recognises
// that context as the parent of derived contexts, and needs no goroutine for each of them.
func (c *callContext) Value(key any) any {
	if key == (contextKey{}) {
		return c.call
	}
	c.mu.Lock()
	timed := c.timed
	c.mu.Unlock()
	if timed != nil {
		return timed.Value(key)
	}
	return c.Context.Value(key)
}

// end cancels the context: the method has returned.
func (c *callContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	if c.cancel != nil {
		c.cancel()
	}
}
