package worker

import (
	"context"
	"errors"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/worker/connections"
	"github.com/stellarfw/stellar/worker/membership"
	"github.com/stellarfw/stellar/worker/tasks"
	"github.com/stellarfw/stellar/worker/timeline"
)

// API gives a handler access to the node that it runs on. Get it with [FromContext].
type API struct {
	Incarnation membership.Incarnation
	Log         zerolog.Logger // every line carries the node's id

	Cache       *cache.Cache          // shared by the cluster
	Tasks       *tasks.Client         // enqueues, and waits for results
	Inspector   *tasks.Inspector      // shows and changes stored tasks and queues
	Timeline    *timeline.Timeline    // shows what happened in the cluster
	Bus         *redisbus.Bus         // publishes and subscribes
	RPC         *rpcregistry.Endpoint // calls one node, a connection or all
	Connections *connections.Store    // the client connections of this node
}

// ID returns the node's id, such as stellar-worker-1.
func (a *API) ID() string { return a.Incarnation.ID }

type apiKey struct{}

// ErrNoNode is the value with which [FromContext] panics outside a node.
var ErrNoNode = errors.New("this context belongs to no node: " +
	"use the context that a task handler, method, subscription or hook was given, " +
	"or ask worker.OnNode first")

// FromContext returns the API of the node that the context belongs to: in task
// handlers, RPC methods, subscriptions and hooks. In any other context it panics
// with [ErrNoNode]; [OnNode] reports false for such a context.
func FromContext(ctx context.Context) *API {
	a, ok := ctx.Value(apiKey{}).(*API)
	if !ok {
		panic(ErrNoNode)
	}
	return a
}

// OnNode reports whether the context belongs to a node, so that [FromContext] does not
// panic.
func OnNode(ctx context.Context) bool {
	_, ok := ctx.Value(apiKey{}).(*API)
	return ok
}

// into returns a context that belongs to the API's node (see [FromContext]).
func (a *API) into(ctx context.Context) context.Context {
	return context.WithValue(ctx, apiKey{}, a)
}
