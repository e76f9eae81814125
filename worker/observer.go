package worker

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/worker/group"
	"github.com/stellarfw/stellar/worker/membership"
	"github.com/stellarfw/stellar/worker/tasks"
)

// Observer is notified of the events of nodes, calls, messages and cache operations, for
// metrics, traces and the like. Its methods are called synchronously, by many goroutines at
// once: they must not block and must not panic. Embed [Unobserved] in an implementation, so
// that it need not have all methods, nor those of later versions.
type Observer interface {
	link.Observer
	redisbus.Observer
	rpcregistry.Observer
	cache.Observer
	tasks.Observer

	// NodeStarted: a node runs.
	NodeStarted(start NodeStart)
	// NodeEnded: a node has ended, after its hand-over. It is called once for every node
	// that joined the cluster, also for a node that never ran.
	NodeEnded(end NodeEnd)
}

// NodeStart describes a node that runs.
type NodeStart struct {
	ID, Incarnation string
	Process         membership.Process
	Why             StartReason
	Recovered       time.Duration // since the node's last life crashed or lost its lease; 0 after any other end
}

// StartReason is why a node was started.
type StartReason string

// The reasons of a [NodeStart].
const (
	StartFirst     StartReason = "first"
	StartScale     StartReason = "scale"      // its set has grown
	StartCrash     StartReason = "crash"      // its last life had crashed
	StartLeaseLost StartReason = "lease_lost" // its last life had lost its lease, or Redis
	StartRestart   StartReason = "restart"    // api.restart
	StartRoll      StartReason = "roll"
	StartReload    StartReason = "reload"
)

// NodeEnd describes a node that has ended.
type NodeEnd struct {
	ID, Incarnation string
	Process         membership.Process
	Why             EndReason
	Err             error         // nil if somebody asked for the end
	Lived           time.Duration // since the node began to join
	At              time.Time     // by this host's clock: when it ended, before its hand-over
}

// EndReason is why a node's life ended.
type EndReason string

// The reasons of a [NodeEnd].
const (
	EndStopped   EndReason = "stopped"   // its set stops or shrinks, or api.stop was called
	EndRestarted EndReason = "restarted" // api.restart, a rolling restart or a reload
	EndLeaseLost EndReason = "lease lost"
	EndPanicked  EndReason = "panicked"
	EndInjected  EndReason = "injected crash" // see [Node.Crash]
	EndFailed    EndReason = "failed"         // any other error of the node's own loops or start hooks
)

// endReason returns the reason of a life that ended with that error.
func endReason(err error) EndReason {
	switch _, panicked := errors.AsType[*group.PanicError](err); {
	case err == nil, errors.Is(err, ErrStop), errors.Is(err, context.Canceled):
		return EndStopped
	case errors.Is(err, ErrRestart):
		return EndRestarted
	case errors.Is(err, membership.ErrLeaseLost):
		return EndLeaseLost
	case errors.Is(err, ErrInjected):
		return EndInjected
	case panicked:
		return EndPanicked
	default:
		return EndFailed
	}
}

// Unobserved is an [Observer] that does nothing.
type Unobserved struct{}

// NodeStarted implements [Observer].
func (Unobserved) NodeStarted(NodeStart) {}

// NodeEnded implements [Observer].
func (Unobserved) NodeEnded(NodeEnd) {}

// RedisFailed implements link.Observer.
func (Unobserved) RedisFailed(string, link.Cause, error) {}

// MessagePassed implements redisbus.Observer.
func (Unobserved) MessagePassed(redisbus.Direction) {}

// MessagesMissed implements redisbus.Observer.
func (Unobserved) MessagesMissed(redisbus.GapReason) {}

// MessageDropped implements redisbus.Observer.
func (Unobserved) MessageDropped(redisbus.Drop) {}

// CallEnded implements rpcregistry.Observer.
func (Unobserved) CallEnded(rpcregistry.CallEnd) {}

// MethodEnded implements rpcregistry.Observer.
func (Unobserved) MethodEnded(rpcregistry.MethodEnd) {}

// CacheDone implements cache.Observer.
func (Unobserved) CacheDone(cache.Operation) {}

// NearRead implements cache.Observer.
func (Unobserved) NearRead(cache.NearResult) {}

// LockWaited implements cache.Observer.
func (Unobserved) LockWaited(cache.LockTime) {}

// LockHeld implements cache.Observer.
func (Unobserved) LockHeld(cache.LockTime) {}

// LockLost implements cache.Observer.
func (Unobserved) LockLost(cache.LockTime) {}

// Enqueued implements tasks.Observer.
func (Unobserved) Enqueued(tasks.EnqueueEnd) {}

// Claimed implements tasks.Observer.
func (Unobserved) Claimed(tasks.Claim) {}

// RunEnded implements tasks.Observer.
func (Unobserved) RunEnded(tasks.RunEnd) {}

// Committed implements tasks.Observer.
func (Unobserved) Committed(tasks.Commit) {}

// TookOver implements tasks.Observer.
func (Unobserved) TookOver(tasks.TakeOver) {}

// Ticked implements tasks.Observer.
func (Unobserved) Ticked(tasks.Tick) {}

// RunOverdue implements tasks.Observer.
func (Unobserved) RunOverdue(tasks.RunOverdue) {}

// StepEnded implements tasks.Observer.
func (Unobserved) StepEnded(tasks.StepEnd) {}

// TaskEnded implements tasks.Observer.
func (Unobserved) TaskEnded(tasks.TaskEnd) {}

// observeStart notifies the observer that the node runs.
func (n *Node) observeStart() {
	i := n.lease.Incarnation
	e := NodeStart{ID: i.ID, Incarnation: i.String(), Process: n.host.process, Why: cmp.Or(n.cfg.Why, StartFirst)}
	if !n.cfg.CrashedAt.IsZero() {
		e.Recovered = time.Since(n.cfg.CrashedAt)
	}
	n.host.observer.NodeStarted(e)
}

// observeEnd notifies the observer that the node's life ended with err.
func (n *Node) observeEnd(err error) {
	if n.lease == nil {
		return
	}
	i, why := n.lease.Incarnation, endReason(err)
	e := NodeEnd{ID: i.ID, Incarnation: i.String(), Process: n.host.process, Why: why, Lived: time.Since(n.began), At: n.over}
	if why != EndStopped && why != EndRestarted {
		e.Err = err
	}
	n.host.observer.NodeEnded(e)
}
