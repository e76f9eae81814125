package rpcregistry

import (
	"context"

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
