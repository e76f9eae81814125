package worker

import (
	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/worker/tasks"
)

// Observers returns an observer that notifies all of the given observers, in their order. Nil observers
// are left out; of none it returns nil.
func Observers(all ...Observer) Observer { //nolint:ireturn // one of the given ones, where there is one
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

func (o observers) MessagePassed(direction redisbus.Direction) {
	for _, each := range o {
		each.MessagePassed(direction)
	}
}

func (o observers) MessagesMissed(reason redisbus.GapReason) {
	for _, each := range o {
		each.MessagesMissed(reason)
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

func (o observers) NearRead(result cache.NearResult) {
	for _, each := range o {
		each.NearRead(result)
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

func (o observers) Enqueued(end tasks.EnqueueEnd) {
	for _, each := range o {
		each.Enqueued(end)
	}
}

func (o observers) Claimed(claim tasks.Claim) {
	for _, each := range o {
		each.Claimed(claim)
	}
}

func (o observers) RunEnded(end tasks.RunEnd) {
	for _, each := range o {
		each.RunEnded(end)
	}
}

func (o observers) Committed(commit tasks.Commit) {
	for _, each := range o {
		each.Committed(commit)
	}
}

func (o observers) TookOver(take tasks.TakeOver) {
	for _, each := range o {
		each.TookOver(take)
	}
}

func (o observers) Ticked(tick tasks.Tick) {
	for _, each := range o {
		each.Ticked(tick)
	}
}

func (o observers) RunOverdue(over tasks.RunOverdue) {
	for _, each := range o {
		each.RunOverdue(over)
	}
}

func (o observers) StepEnded(end tasks.StepEnd) {
	for _, each := range o {
		each.StepEnded(end)
	}
}

func (o observers) TaskEnded(end tasks.TaskEnd) {
	for _, each := range o {
		each.TaskEnded(end)
	}
}
