package worker

import (
	"context"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/worker/connections"
	"github.com/stellarfw/stellar/worker/membership"
	"github.com/stellarfw/stellar/worker/tasks"
)

// API is what a handler sees of the node that it runs on. Get it with [FromContext].
type API struct {
	Incarnation membership.Incarnation
	Log         zerolog.Logger // every line carries the node's id

	Cache       *cache.Cache          // shared by the cluster
	Tasks       *tasks.Client         // enqueues, and waits for results
	Inspector   *tasks.Inspector      // looks at tasks and queues, and mends them
	Bus         *redisbus.Bus         // publishes and subscribes
	RPC         *rpcregistry.Endpoint // calls one node, a connection or all
	Connections *connections.Store    // the clients of this node
}

// ID is the node's id, such as stellar-worker-1.
func (a *API) ID() string { return a.Incarnation.ID }

type apiKey struct{}

// FromContext returns the API of the node that the context belongs to: in task
// handlers, RPC methods, subscriptions and hooks. It is nil in any other context.
func FromContext(ctx context.Context) *API {
	a, _ := ctx.Value(apiKey{}).(*API)
	return a
}

func (a *API) into(ctx context.Context) context.Context {
	return context.WithValue(ctx, apiKey{}, a)
}
