// Package builtin has the methods api.* that every node answers, and what they answer
// with: the cache, the tasks, the client connections, the node and its set, for callers
// on other nodes and for commands. api.ping, api.log and api.methods are
// rpcregistry's.
//
// Arguments are given by name or by position, as rpcregistry.Handle describes; a name
// that a method does not know is refused, so that no method does more than was meant
// because a name is misspelt. Durations are whole milliseconds, times milliseconds
// since 1970 or texts in RFC 3339. Errors have the codes of this package or of
// rpcregistry.
//
// A new method is one call of handle in the file of its family.
package builtin

import (
	"context"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/worker/connections"
	"github.com/stellarfw/stellar/worker/tasks"
)

// Deps are what the built-in methods of one node work on.
type Deps struct {
	Cache       *cache.Cache
	Tasks       *tasks.Client
	Inspector   *tasks.Inspector
	Handled     *tasks.Registry // the tasks that the node handles
	Connections *connections.Store
	// Controls of the set of the node's process. When it is nil, the node does not
	// answer api.set.*.
	Controls Controls

	ID     string // of the node
	Status func() Status
	// Stop ends the node for good, Restart only its present life. Neither waits.
	Stop, Restart func()
}

// Register adds the built-in methods of one node. ctx is the node's life: the locks
// that calls took end with it.
func Register(ctx context.Context, r rpcregistry.Registrar, d Deps) {
	registerNode(r, d)
	locks := newCalledLocks(ctx, d.ID, d.Cache)
	registerValues(r, d.Cache, locks)
	registerLists(r, d.Cache)
	registerLocks(r, d.Cache, locks)
	registerTasks(r, d.Tasks, d.Handled)
	registerLooking(r, d.Inspector)
	registerMending(r, d.Inspector)
	registerQueues(r, d.Inspector)
	registerPeriodic(r, d.Tasks, d.Inspector)
	registerConnections(r, d.Connections)
	if d.Controls != nil {
		registerSet(r, d.Controls)
	}
}

// handle registers a method.
func handle[Req, Res any](r rpcregistry.Registrar, name string, f func(context.Context, Req) (Res, error)) {
	rpcregistry.HandleDecoded(r, name, decode, f)
}

// none stands for no arguments and for no answer.
type none struct{}
