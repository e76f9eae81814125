package worker

import (
	"context"
	"errors"
	"time"

	"github.com/stellarfw/stellar/worker/group"
	"github.com/stellarfw/stellar/worker/membership"
)

// Observer hears how things ended, for metrics, traces and the like. Its methods
// are called synchronously by what they are about: they must not block and must
// not panic. Embed [Unobserved] in an implementation, so that it need not have
// all methods, nor those of later versions.
type Observer interface {
	// NodeStarted: a node runs.
	NodeStarted(NodeStarted)
	// NodeEnded: a node has ended, and what it owned has been handed on unless Err
	// says otherwise. It is called once for every node that joined the cluster,
	// also for one that never ran.
	NodeEnded(NodeEnded)
}

// NodeStarted describes a node that runs.
type NodeStarted struct {
	ID, Incarnation string
	Process         membership.Process
}

// NodeEnded describes a node that has ended.
type NodeEnded struct {
	ID, Incarnation string
	Process         membership.Process
	Why             EndReason
	Err             error         // of an end that nobody asked for; nil otherwise
	Lived           time.Duration // since it began to join
}

// EndReason is why a node's life ended.
type EndReason string

// The reasons of [NodeEnded].
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
func (Unobserved) NodeStarted(NodeStarted) {}

// NodeEnded implements [Observer].
func (Unobserved) NodeEnded(NodeEnded) {}

// Observers returns an observer that tells all of these, in their order. Nil ones
// are left out; of none it returns nil.
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

func (o observers) NodeStarted(e NodeStarted) {
	for _, each := range o {
		each.NodeStarted(e)
	}
}

func (o observers) NodeEnded(e NodeEnded) {
	for _, each := range o {
		each.NodeEnded(e)
	}
}

// observeStart tells the observer that the node runs.
func (n *Node) observeStart() {
	if o := n.host.cfg.Observer; o != nil {
		i := n.lease.Incarnation
		o.NodeStarted(NodeStarted{ID: i.ID, Incarnation: i.String(), Process: n.host.process})
	}
}

// observeEnd tells the observer with what the node's life ended.
func (n *Node) observeEnd(err error) {
	o := n.host.cfg.Observer
	if o == nil || n.lease == nil {
		return
	}
	i, why := n.lease.Incarnation, endReason(err)
	e := NodeEnded{ID: i.ID, Incarnation: i.String(), Process: n.host.process, Why: why, Lived: time.Since(n.began)}
	if why != EndStopped && why != EndRestarted {
		e.Err = err
	}
	o.NodeEnded(e)
}
