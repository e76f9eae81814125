// Package builtin has the built-in RPC methods api.* of every node, and the types of their
// responses. Through them other nodes and commands use the cache, the tasks, the client
// connections, the node and its set. Package rpcregistry has api.ping, api.log and
// api.methods.
//
// Arguments are given by name or by position, as rpcregistry.Handle describes. An unknown
// name is an error: otherwise a method could do more than was meant because the name of a
// filter is misspelt. Durations are whole milliseconds, times milliseconds
// since 1970 or texts in RFC 3339. Errors have the codes of this package or of
// rpcregistry.
//
// To add a method, call handle in the file of its family.
package builtin

import (
	"context"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/worker/connections"
	"github.com/stellarfw/stellar/worker/tasks"
	"github.com/stellarfw/stellar/worker/timeline"
)

// Deps has the objects that the built-in methods of one node use.
type Deps struct {
	Cache       *cache.Cache
	Bus         *redisbus.Bus
	Tasks       *tasks.Client
	Inspector   *tasks.Inspector
	Handled     *tasks.Registry // the tasks that the node handles
	Connections *connections.Store
	Timeline    *timeline.Timeline
	// Controls operates the set of the node's process. Nil: the node has no methods
	// api.set.*.
	Controls Controls

	ID     string // of the node
	Status func() Status
	// Stop ends the node for good, Restart starts it again. Neither waits for that.
	Stop, Restart func()
}

// Register adds the built-in methods of one node. ctx ends with the node's life, and with
// it the locks that api.cache.lock has taken.
func Register(ctx context.Context, r rpcregistry.Registrar, d Deps) {
	registerNode(rpcregistry.Control(r), d)
	locks := newCallerLocks(ctx, d.ID, d.Cache)
	registerValues(r, d.Cache, locks)
	registerLists(r, d.Cache)
	registerLocks(r, d.Cache, locks)
	registerTasks(r, d.Tasks, d.Handled)
	registerLooking(r, d.Inspector)
	registerMending(r, d.Inspector)
	registerTransfer(r, d.Tasks, d.Inspector)
	registerQueues(r, d.Inspector)
	registerPeriodic(r, d.Tasks, d.Inspector)
	registerConnections(r, d.Connections)
	registerBus(r, d.Bus)
	if d.Controls != nil {
		registerSet(rpcregistry.Control(r), d.Controls, d.Timeline)
	}
}

// Names returns the names of all methods that [Register] can register.
func Names() []string {
	var n names
	Register(context.Background(), &n, Deps{Controls: noControls{}}) //nolint:forbidigo // nothing runs: only names are taken
	return n
}

type names []string

func (n *names) RegisterMethod(m rpcregistry.Method) { *n = append(*n, m.Name) }

type noControls struct{ Controls }

// handle registers a method.
func handle[Req, Res any](r rpcregistry.Registrar, name string, f func(context.Context, Req) (Res, error)) {
	rpcregistry.HandleDecoded(r, name, rpcregistry.Decoder{Decode: decode, Form: wireType}, f)
}

// none is the type of no arguments and of no response.
type none struct{}
