package rpcregistry

import (
	"context"
	"sync"
	"time"

	"github.com/stellarfw/stellar/redisbus"
)

// Call is what a method can know about the call that it serves.
type Call struct {
	Method string
	// From is who called: a node, or a command.
	From redisbus.Identity
	// Connection is the connection that was called, if it was one.
	Connection string
}

type contextKey struct{}

// FromContext returns the call that a method's context belongs to.
func FromContext(ctx context.Context) (Call, bool) {
	c, ok := ctx.Value(contextKey{}).(*Call)
	if !ok {
		return Call{}, false
	}
	return *c, true
}

// callContext is the context of one call: the node's, with the call's deadline.
// Most methods never look at it, so the timer is made only for one that does.
type callContext struct {
	context.Context //nolint:containedctx // it is a context: this one is its parent

	call     Call
	deadline time.Time

	mu     sync.Mutex
	timed  context.Context //nolint:containedctx // the same with a timer, once it is needed
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

// Value asks the timed context, so that contexts derived from this one find
// their parent in it and need no goroutine to watch it.
func (c *callContext) Value(key any) any {
	if key == (contextKey{}) {
		return &c.call
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
