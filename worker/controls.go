package worker

import (
	"context"
	"time"

	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/worker/membership"
)

// Codes of the errors of api.set.*, for errors.Is.
const (
	// ErrSetBusy: a rolling restart or a reload is under way.
	ErrSetBusy rpcregistry.Code = "set_busy"
	// ErrSetNotRunning: the set has not begun, or is stopping.
	ErrSetNotRunning rpcregistry.Code = "set_not_running"
	// ErrSetSize: a set cannot have so many nodes.
	ErrSetSize rpcregistry.Code = "set_size"
)

// Controls are what operators do with the set of a process; supervisor.Set has
// them. What takes long goes on when they have returned: [SetStatus] tells of it.
type Controls interface {
	Status() SetStatus
	// Crashes of the node with that id since the set began.
	Crashes(id string) Crashes
	Scale(workers int) error
	Roll() error
	Reload() error
	Quiet(on bool)
}

// SetStatus is what the methods api.set.* answer.
type SetStatus struct {
	Process membership.Process `json:"process"`
	Uptime  float64            `json:"uptime"`  // seconds since the set began
	Workers int                `json:"workers"` // how many nodes there should be
	Ready   int                `json:"ready"`   // how many run; none while Redis is away
	Leaving int                `json:"leaving"` // nodes that drain because there are fewer to be
	Quiet   bool               `json:"quiet"`   // no tasks are claimed, by request
	// Healthy is false while so many handlers outlive their nodes that no tasks
	// are claimed.
	Healthy   bool          `json:"healthy"`
	Redis     bool          `json:"redis"` // Redis answers
	Zombies   Zombies       `json:"zombies"`
	Operation *Operation    `json:"operation,omitempty"` // under way, or the last
	Crashes   int           `json:"crashes"`             // of all nodes since the set began
	Crashed   []NodeCrashes `json:"crashed,omitempty"`   // the last first; at most [MaxCrashed]
}

// MaxCrashed is how many nodes a [SetStatus] names that crashed.
const MaxCrashed = 50

// Kinds of operations.
const (
	OperationRoll   = "roll"
	OperationReload = "reload"
)

// Operation is a rolling restart or a reload.
type Operation struct {
	Number int       `json:"number"` // counts the operations of the set
	Kind   string    `json:"kind"`   // OperationRoll or OperationReload
	Began  time.Time `json:"began"`
	Total  int       `json:"total"`           // nodes to start anew
	Done   int       `json:"done"`            // nodes that run anew
	Node   string    `json:"node,omitempty"`  // whose turn it is, in a rolling restart
	Ended  bool      `json:"ended"`           // it is over
	Error  string    `json:"error,omitempty"` // why it ended before it was done
}

// Crashes are those of one node, over all its lives in this process.
type Crashes struct {
	Count  int       `json:"count"`
	Reason string    `json:"reason"`          // of the last
	At     time.Time `json:"at"`              // by this host's clock
	Stack  string    `json:"stack,omitempty"` // where the last one panicked
}

// NodeCrashes are the crashes of the node with that id.
type NodeCrashes struct {
	Node string `json:"node"`
	Crashes
}

// setSize are the arguments of api.set.scale.
type setSize struct {
	Workers *int `json:"workers"`
}

// registerSet adds the methods that are about the whole set of this process.
func registerSet(r *rpcregistry.Registry, set Controls) {
	after := func(do func() error) func(context.Context, none) (SetStatus, error) {
		return func(context.Context, none) (SetStatus, error) {
			if err := do(); err != nil {
				return SetStatus{}, err
			}
			return set.Status(), nil
		}
	}
	quiet := func(on bool) func() error {
		return func() error { set.Quiet(on); return nil }
	}
	rpcregistry.HandleStrict(r, "api.set.status", after(func() error { return nil }))
	rpcregistry.HandleStrict(r, "api.set.roll", after(set.Roll))
	rpcregistry.HandleStrict(r, "api.set.reload", after(set.Reload))
	rpcregistry.HandleStrict(r, "api.set.quiet", after(quiet(true)))
	rpcregistry.HandleStrict(r, "api.set.resume", after(quiet(false)))
	rpcregistry.HandleStrict(r, "api.set.scale", func(ctx context.Context, in setSize) (SetStatus, error) {
		if in.Workers == nil {
			return SetStatus{}, &rpcregistry.Error{Code: rpcregistry.ErrBadArguments, Message: "how many workers? {\"workers\": 4}"}
		}
		return after(func() error { return set.Scale(*in.Workers) })(ctx, none{})
	})
}
