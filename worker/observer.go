package worker

import (
	"context"
	"errors"
	"time"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/worker/group"
	"github.com/stellarfw/stellar/worker/membership"
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
}

// NodeEnd describes a node that has ended.
type NodeEnd struct {
	ID, Incarnation string
	Process         membership.Process
	Why             EndReason
	Err             error         // nil if somebody asked for the end
	Lived           time.Duration // since the node began to join
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

// MessageDropped implements redisbus.Observer.
func (Unobserved) MessageDropped(redisbus.Drop) {}

// CallEnded implements rpcregistry.Observer.
func (Unobserved) CallEnded(rpcregistry.CallEnd) {}

// MethodEnded implements rpcregistry.Observer.
func (Unobserved) MethodEnded(rpcregistry.MethodEnd) {}

// CacheDone implements cache.Observer.
func (Unobserved) CacheDone(cache.Operation) {}

// LockWaited implements cache.Observer.
func (Unobserved) LockWaited(cache.LockTime) {}

// LockHeld implements cache.Observer.
func (Unobserved) LockHeld(cache.LockTime) {}

// LockLost implements cache.Observer.
func (Unobserved) LockLost(cache.LockTime) {}

// Observers returns an observer that notifies all of the given observers, in their order.
// It leaves nil observers out, and returns nil if none is left.
func Observers(all ...Observer) Observer {
	var some observers
	for _, o := range all {
		if o != nil {
			some = append(some, o)
		}
	}
	switch len(some) {
	case 0:
		return nil
	case 1:
		return some[0]
	default:
		return some
	}
}

type observers []Observer

func (o observers) RedisFailed(part string, cause link.Cause, err error) {
	for _, each := range o {
		each.RedisFailed(part, cause, err)
	}
}

func (o observers) MessageDropped(reason redisbus.Drop) {
	for _, each := range o {
		each.MessageDropped(reason)
	}
}

func (o observers) CallEnded(end rpcregistry.CallEnd) {
	for _, each := range o {
		each.CallEnded(end)
	}
}

func (o observers) MethodEnded(end rpcregistry.MethodEnd) {
	for _, each := range o {
		each.MethodEnded(end)
	}
}

func (o observers) CacheDone(done cache.Operation) {
	for _, each := range o {
		each.CacheDone(done)
	}
}

func (o observers) LockWaited(t cache.LockTime) {
	for _, each := range o {
		each.LockWaited(t)
	}
}

func (o observers) LockHeld(t cache.LockTime) {
	for _, each := range o {
		each.LockHeld(t)
	}
}

func (o observers) LockLost(t cache.LockTime) {
	for _, each := range o {
		each.LockLost(t)
	}
}

func (o observers) NodeStarted(e NodeStart) {
	for _, each := range o {
		each.NodeStarted(e)
	}
}

func (o observers) NodeEnded(e NodeEnd) {
	for _, each := range o {
		each.NodeEnded(e)
	}
}

// observeStart notifies the observer that the node runs.
func (n *Node) observeStart() {
	if o := n.host.cfg.Observer; o != nil {
		i := n.lease.Incarnation
		o.NodeStarted(NodeStart{ID: i.ID, Incarnation: i.String(), Process: n.host.process})
	}
}

// observeEnd notifies the observer that the node's life ended with err.
func (n *Node) observeEnd(err error) {
	o := n.host.cfg.Observer
	if o == nil || n.lease == nil {
		return
	}
	i, why := n.lease.Incarnation, endReason(err)
	e := NodeEnd{ID: i.ID, Incarnation: i.String(), Process: n.host.process, Why: why, Lived: time.Since(n.began)}
	if why != EndStopped && why != EndRestarted {
		e.Err = err
	}
	o.NodeEnded(e)
}
