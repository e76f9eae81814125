package metrics

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/group"
	"github.com/stellarfw/stellar/worker/tasks"
)

// RunEnded implements tasks.Observer.
func (m *Metrics) RunEnded(e tasks.RunEnd) {
	c := m.byTask.of(key{e.Name, e.Queue})
	for i := range outcomes {
		if outcomes[i] == e.Outcome {
			c.outcomes[i].Add(1)
			break
		}
	}
	c.run.took(e.Ran)
	if e.Attempt == 1 && e.Crashes == 0 {
		c.wait.took(e.Waited)
	}
	if e.Batch > 0 {
		m.batches.of(key{e.Name}).observe(e.Batch)
	}
}

// Enqueued implements tasks.Observer.
func (m *Metrics) Enqueued(e tasks.EnqueueEnd) {
	c := m.byTask.of(key{e.Name, e.Queue})
	for i := range results {
		if results[i] == e.Result {
			c.results[i].Add(1)
			break
		}
	}
	if e.Position == 0 && e.Together > 0 {
		m.enqueueBatches.observe(e.Together)
		if e.Took > 0 {
			m.enqueues.took(e.Took)
		}
	}
}

// Claimed implements tasks.Observer.
func (m *Metrics) Claimed(c tasks.Claim) { m.claims.took(c.Took) }

// Committed implements tasks.Observer.
func (m *Metrics) Committed(c tasks.Commit) {
	m.commits.took(c.Took)
	m.commitBatches.observe(c.Runs)
}

// StepEnded implements tasks.Observer.
func (m *Metrics) StepEnded(e tasks.StepEnd) { m.steps.of(key{e.Name, string(e.Result)}).Add(1) }

// TaskEnded implements tasks.Observer.
func (m *Metrics) TaskEnded(e tasks.TaskEnd) { m.ends.of(key{e.Queue, string(e.How)}).Add(1) }

// RunOverdue implements tasks.Observer.
func (m *Metrics) RunOverdue(o tasks.RunOverdue) { m.overdue.of(key{o.Name}).Add(1) }

// TookOver implements tasks.Observer.
func (m *Metrics) TookOver(t tasks.TakeOver) {
	c := m.takeOvers.of(key{string(t.Why)})
	c.times.Add(1)
	c.tasks.Add(uint64(max(0, t.HandedOn+t.Quarantined+t.Cancelled)))
	c.took.took(t.Took)
}

// Ticked implements tasks.Observer.
func (m *Metrics) Ticked(t tasks.Tick) {
	m.ticks.of(key{t.Name, string(t.Result)}).Add(1)
	if t.Result == tasks.TickEnqueued {
		m.lateness.of(key{t.Name}).took(t.Late)
	}
}

// NodeStarted implements worker.Observer.
func (m *Metrics) NodeStarted(s worker.NodeStart) {
	m.starts.of(key{string(s.Why)}).Add(1)
	if s.Recovered > 0 {
		m.recovery.took(s.Recovered)
	}
}

// NodeEnded implements worker.Observer.
func (m *Metrics) NodeEnded(e worker.NodeEnd) {
	var kind string
	switch e.Why {
	case worker.EndStopped, worker.EndRestarted:
		return
	case worker.EndLeaseLost:
		kind = "lease_lost"
	case worker.EndPanicked:
		kind = "panic"
	case worker.EndInjected:
		kind = "injected"
	default:
		kind = "error"
		if errors.Is(e.Err, group.ErrGoexit) {
			kind = "goexit"
		}
	}
	m.crashes.of(key{kind}).Add(1)
}

// RedisFailed implements link.Observer.
func (m *Metrics) RedisFailed(_ string, cause link.Cause, _ error) {
	text := string(cause)
	if cause == link.CauseNone {
		text = "other"
	}
	m.redisErrors.of(key{text}).Add(1)
}

// MessagePassed implements redisbus.Observer.
func (m *Metrics) MessagePassed(d redisbus.Direction) {
	if d == redisbus.Sent {
		m.sent.Add(1)
	} else {
		m.received.Add(1)
	}
}

// MessagesMissed implements redisbus.Observer.
func (m *Metrics) MessagesMissed(reason redisbus.GapReason) { m.gaps.of(key{string(reason)}).Add(1) }

// MessageDropped implements redisbus.Observer.
func (m *Metrics) MessageDropped(reason redisbus.Drop) { m.drops.of(key{string(reason)}).Add(1) }

// codeOK is the code of a call without an error.
const codeOK = "ok"

func codeOf(c rpcregistry.Code) string {
	if c == "" {
		return codeOK
	}
	return string(c)
}

// CallEnded implements rpcregistry.Observer.
func (m *Metrics) CallEnded(e rpcregistry.CallEnd) {
	m.calls.of(key{methodOf(e.Method, e.Code), codeOf(e.Code)}).took(e.Took)
}

// MethodEnded implements rpcregistry.Observer.
func (m *Metrics) MethodEnded(e rpcregistry.MethodEnd) {
	m.methods.of(key{methodOf(e.Method, e.Code), codeOf(e.Code)}).took(e.Took)
}

// methodOf returns the label of a method: the caller chooses the names of those that nobody handles.
func methodOf(name string, code rpcregistry.Code) string {
	if code == rpcregistry.ErrNoSuchMethod || code == rpcregistry.ErrDenied {
		return Other
	}
	return name
}

// CacheDone implements cache.Observer.
func (m *Metrics) CacheDone(o cache.Operation) {
	m.cacheOps.of(key{o.Op, resultOf(o.Err)}).Add(1)
	m.cacheTimes.of(key{o.Op}).took(o.Took)
}

func resultOf(err error) string {
	switch {
	case err == nil:
		return codeOK
	case errors.Is(err, cache.ErrNotFound):
		return "miss"
	case errors.Is(err, cache.ErrLocked), errors.Is(err, cache.ErrLockLost), errors.Is(err, cache.ErrConflict),
		errors.Is(err, cache.ErrInvalid), errors.Is(err, cache.ErrWrongType), errors.Is(err, cache.ErrNotNumber),
		errors.Is(err, cache.ErrOverflow):
		return "refused"
	default:
		return "error"
	}
}

// NearRead implements cache.Observer.
func (m *Metrics) NearRead(r cache.NearResult) { m.near.of(key{string(r)}).Add(1) }

// LockWaited implements cache.Observer.
func (m *Metrics) LockWaited(t cache.LockTime) { m.lockWaits.took(t.Took) }

// LockHeld implements cache.Observer.
func (m *Metrics) LockHeld(t cache.LockTime) { m.lockHolds.took(t.Took) }

// LockLost implements cache.Observer.
func (m *Metrics) LockLost(cache.LockTime) { m.locksLost.Add(1) }

// Hook returns a hook for link.Config that measures round trips to Redis.
func (m *Metrics) Hook() redis.Hook { return hook{m} } //nolint:ireturn // of the client library

type hook struct{ *Metrics }

// pipelineOp is the op of pipelines.
const pipelineOp = "pipeline"

// DialHook implements redis.Hook.
func (h hook) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		began := time.Now()
		conn, err := next(ctx, network, addr)
		h.commands.of(key{"dial"}).took(time.Since(began))
		return conn, err
	}
}

// ProcessHook implements redis.Hook.
func (h hook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		began := time.Now()
		err := next(ctx, cmd)
		h.commands.of(key{link.CommandName(cmd)}).took(time.Since(began))
		return err
	}
}

// ProcessPipelineHook implements redis.Hook.
func (h hook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, all []redis.Cmder) error {
		began := time.Now()
		err := next(ctx, all)
		h.commands.of(key{pipelineOp}).took(time.Since(began))
		return err
	}
}
