package builtin

import (
	"context"
	"fmt"
	"time"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/worker/connections"
	"github.com/stellarfw/stellar/worker/tasks"
)

// none is of methods without arguments, or without an answer.
type none struct{}

// Deps are what the built-in methods of one node work on.
type Deps struct {
	Cache       *cache.Cache
	Tasks       *tasks.Client
	Handled     *tasks.Registry // the tasks that the node handles
	Connections *connections.Store
	// Controls of the set of the node's process; nil when there is none, and then
	// no api.set.*.
	Controls Controls

	ID     string // of the node
	Status func() Status
	// Stop ends the node for good, Restart only its present life. Neither waits.
	Stop, Restart func()
}

// Register adds the built-in methods of one node, but those that every endpoint of
// rpcregistry has by itself. All are strict, so that none does more than was meant
// because a name is misspelt. ctx is the node's life: the locks that calls took end
// with it.
func Register(ctx context.Context, r rpcregistry.Registrar, d Deps) {
	registerNode(r, d)
	locks := newCalledLocks(ctx, d.ID, d.Cache)
	registerCache(r, d.Cache, locks)
	registerLocks(r, d.Cache, locks)
	registerTasks(r, d.Tasks, d.Handled)
	registerLooking(r, d.Tasks)
	registerMending(r, d.Tasks)
	registerQueues(r, d.Tasks)
	registerPeriodic(r, d.Tasks)
	registerConnections(r, d.Connections)
	if d.Controls != nil {
		registerSet(r, d.Controls)
	}
}

// milliseconds is the duration of an argument. One that time.Duration cannot
// hold would turn into another.
func milliseconds(n int64) (time.Duration, error) {
	if n < 0 || n > cache.MaxTTL.Milliseconds() {
		return 0, fmt.Errorf("%w: a duration of %d ms: use 0 to %d", rpcregistry.BadArguments, n, cache.MaxTTL.Milliseconds())
	}
	return time.Duration(n) * time.Millisecond, nil
}
