package builtin

import (
	"context"
	"errors"
	"time"

	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/worker/membership"
	"github.com/stellarfw/stellar/worker/timeline"
)

// Controls has the operations on the set of a process, for operators. Package supervisor
// implements it. A long operation goes on after the call has returned: [SetStatus] shows
// its progress.
type Controls interface {
	// By returns the controls for what somebody asks for, whom the timeline names.
	By(who string) Controls
	Status() SetStatus
	// Crashes returns the crashes of the node with that id since the set began.
	Crashes(id string) Crashes
	Scale(workers int) error
	Roll() error
	Reload() error
	Upgrade() error
	Quiet(on bool) error
}

// SetStatus is the response of the methods api.set.*.
type SetStatus struct {
	Process membership.Process `json:"process"`
	Uptime  int64              `json:"uptimeMs"` // since the set began, in milliseconds
	Workers int                `json:"workers"`  // nodes wanted
	Ready   int                `json:"ready"`    // nodes that run; 0 while Redis does not answer
	Leaving int                `json:"leaving"`  // nodes that drain because the set was scaled down
	Quiet   bool               `json:"quiet"`    // no tasks are claimed because an operator asked for it
	// Healthy is false while no tasks are claimed because too many handlers have outlived
	// their nodes: see [Zombies].
	Healthy   bool       `json:"healthy"`
	Redis     bool       `json:"redis"` // Redis answers
	Zombies   Zombies    `json:"zombies"`
	Operation *Operation `json:"operation,omitempty"` // the present or last operation
	// Guardian is the sum of the sets of all processes of the guardian of the process, on which the other methods work as on
	// one set; nil if it has none.
	Guardian *SetSum `json:"guardian,omitempty"`
	// Processes is how many processes this is the sum of; 0 for the set of one process.
	Processes int `json:"processes,omitempty"`
	// GuardianOperation is the present or last operation of the guardian of the process, on all its processes.
	GuardianOperation *Operation    `json:"guardianOperation,omitempty"`
	Crashes           int           `json:"crashes"`           // of all nodes since the set began
	Crashed           []NodeCrashes `json:"crashed,omitempty"` // latest crash first; at most [MaxCrashed]
	// Aliens counts, by key, the entries on Redis that something else has written and that
	// this process has passed over.
	Aliens map[string]int `json:"aliens,omitempty"`
}

// SetSum is the sum of the sets of all processes of a guardian.
type SetSum struct {
	Process   membership.Process `json:"process"` // the guardian
	Processes int                `json:"processes"`
	Uptime    int64              `json:"uptimeMs"` // of the guardian
	Workers   int                `json:"workers"`
	Ready     int                `json:"ready"`
	Leaving   int                `json:"leaving"`
	Quiet     bool               `json:"quiet"`   // all of them
	Healthy   bool               `json:"healthy"` // all of them
	Redis     bool               `json:"redis"`   // answers all of them
	Crashes   int                `json:"crashes"` // of nodes
}

// Status returns the sum as the status of one set.
func (s SetSum) Status() SetStatus {
	return SetStatus{
		Process: s.Process, Processes: s.Processes, Uptime: s.Uptime, Workers: s.Workers, Ready: s.Ready, Leaving: s.Leaving, Quiet: s.Quiet,
		Healthy: s.Healthy, Redis: s.Redis, Crashes: s.Crashes,
	}
}

// Zombies are handlers that did not return when their node ended. A goroutine cannot be
// ended from outside: such a handler keeps its memory and connections until it returns.
type Zombies struct {
	Count int      `json:"count"`
	Limit int      `json:"limit"`           // at this count the nodes claim no more tasks; negative for no limit
	Tasks []string `json:"tasks,omitempty"` // ids of their tasks, and "start hook"; at most 100
	// Choked: Count has reached Limit. The process is unhealthy.
	Choked bool `json:"choked"`
}

// MaxCrashed is how many crashed nodes a [SetStatus] names at most.
const MaxCrashed = 50

// Kinds of operations.
const (
	OperationRoll   = "roll"
	OperationReload = "reload"
	// OperationUpgrade replaces the processes of a guardian, and itself, by the program now on disk.
	OperationUpgrade = "upgrade"
)

// SetErrors are the codes of the errors of operations on a set.
var SetErrors = []rpcregistry.Code{ErrSetBusy, ErrSetNotRunning, ErrSetSize, ErrSetAlone}

// SetCode returns the code of an error of an operation on a set, "" for none.
func SetCode(err error) rpcregistry.Code {
	for _, code := range SetErrors {
		if errors.Is(err, code) {
			return code
		}
	}
	return ""
}

// Operation is a rolling restart, a reload or an upgrade. That of a guardian counts processes in place of nodes.
type Operation struct {
	Number int       `json:"number"` // counts the operations of the set
	Kind   string    `json:"kind"`   // such as OperationRoll
	Began  time.Time `json:"beganAt"`
	Total  int       `json:"total"`          // nodes to restart
	Done   int       `json:"done"`           // nodes that run again
	Node   string    `json:"node,omitempty"` // the node that is being restarted, in a rolling restart
	Ended  bool      `json:"ended"`
	Error  string    `json:"error,omitempty"` // why it ended early
}

// Crashes sums up the crashes of one node over all its lives in this process.
type Crashes struct {
	Count  int       `json:"count"`
	Reason string    `json:"reason"`          // of the last crash
	At     time.Time `json:"at"`              // by this host's clock
	Stack  string    `json:"stack,omitempty"` // of the last panic
}

// NodeCrashes are the crashes of the node with the id Node.
type NodeCrashes struct {
	Node string `json:"node"`
	Crashes
}

// setSize are the arguments of api.set.scale.
type setSize struct {
	Workers *int `json:"workers"`
}

// registerSet adds the methods about the whole set of the node's process, and what happened in the cluster.
func registerSet(r rpcregistry.Registrar, set Controls, events *timeline.Timeline) {
	after := func(do func(Controls) error) func(context.Context, none) (SetStatus, error) {
		return func(ctx context.Context, _ none) (SetStatus, error) {
			if err := do(set.By(Caller(ctx))); err != nil {
				return SetStatus{}, err
			}
			return set.Status(), nil
		}
	}
	quiet := func(on bool) func(Controls) error {
		return func(set Controls) error { return set.Quiet(on) }
	}
	registerEvents(r, events)
	handle(r, "api.set.status", after(func(Controls) error { return nil }))
	handle(r, "api.set.roll", after(Controls.Roll))
	handle(r, "api.set.reload", after(Controls.Reload))
	handle(r, "api.set.upgrade", after(Controls.Upgrade))
	handle(r, "api.set.quiet", after(quiet(true)))
	handle(r, "api.set.resume", after(quiet(false)))
	handle(r, "api.set.scale", func(ctx context.Context, in setSize) (SetStatus, error) {
		if in.Workers == nil {
			return SetStatus{}, &rpcregistry.Error{Code: rpcregistry.ErrBadArguments, Message: "how many workers? {\"workers\": 4}"}
		}
		return after(func(set Controls) error { return set.Scale(*in.Workers) })(ctx, none{})
	})
}
