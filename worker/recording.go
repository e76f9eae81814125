package worker

import (
	"context"
	"errors"
	"maps"
	"os"
	"sync/atomic"
	"time"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/worker/builtin"
	"github.com/stellarfw/stellar/worker/group"
	"github.com/stellarfw/stellar/worker/membership"
	"github.com/stellarfw/stellar/worker/tasks"
	"github.com/stellarfw/stellar/worker/timeline"
)

// recording is the observer that writes the timeline. It is not notified of runs, enqueues and
// calls, whose number has no bound.
type recording struct {
	Unobserved

	to       *timeline.Recorder
	deployed atomic.Bool // a node of the process has run
}

func newRecording(to *timeline.Recorder) *recording { return &recording{to: to} }

// timelineProcess describes a process in its events.
func timelineProcess(p membership.Process) timeline.Process {
	return timeline.Process{Host: p.Host, PID: p.PID, Program: p.Program, Version: p.Version}
}

// NodeStarted implements [Observer].
func (r *recording) NodeStarted(start NodeStart) {
	if !r.deployed.Swap(true) && start.Process.Program != "" && start.Process.Version != "" {
		r.to.Record(timeline.Event{Kind: timeline.Deploy})
	}
	r.to.Record(timeline.Event{Kind: timeline.Join, Nodes: []string{start.ID}})
}

// NodeEnded implements [Observer].
func (r *recording) NodeEnded(end NodeEnd) {
	e := timeline.Event{Nodes: []string{end.ID}}
	if end.Err != nil {
		e.Text = end.Err.Error()
	}
	switch end.Why {
	case EndStopped:
		e.Kind = timeline.Leave
	case EndRestarted:
		e.Kind = timeline.Restart
	case EndLeaseLost:
		e.Kind = timeline.LeaseLost
	case EndPanicked, EndInjected, EndFailed:
		e.Kind = timeline.Crash
		if p, ok := errors.AsType[*group.PanicError](end.Err); ok {
			e.Stack = string(p.Stack)
		} else if link.IsOutage(end.Err) {
			e.Kind = timeline.Restart
		}
	}
	r.to.RecordAt(end.At, e)
}

// TookOver implements tasks.Observer.
func (r *recording) TookOver(take tasks.TakeOver) {
	e := timeline.Event{
		Kind: timeline.TakeOver, Text: string(take.Why), Tasks: take.HandedOn, Quarantined: take.Quarantined, Took: take.Took.Milliseconds(),
	}
	if i, err := membership.Parse(take.Node); err == nil {
		e.Nodes = []string{i.ID}
	}
	r.to.Record(e)
}

// TaskEnded implements tasks.Observer.
func (r *recording) TaskEnded(end tasks.TaskEnd) {
	if end.How == tasks.EndQuarantined {
		r.to.Record(timeline.Event{Kind: timeline.Quarantine, Text: end.Name, Queue: end.Queue, Tasks: 1})
	}
}

// MessageDropped implements redisbus.Observer.
func (r *recording) MessageDropped(reason redisbus.Drop) {
	r.to.Record(timeline.Event{Kind: timeline.Refused, Text: string(reason)})
}

// RedisFailed implements link.Observer. It tells of a Redis that answers and refuses; the probe tells of outages.
func (r *recording) RedisFailed(_ string, cause link.Cause, err error) {
	text := "refuses: " + string(cause)
	switch cause {
	case link.CauseReplica, link.CauseReplicas, link.CauseDisk, link.CauseRights, link.CauseMemory, link.CauseSize:
	case link.CauseType:
		if wrong, ok := errors.AsType[*link.WrongTypeError](err); ok {
			text += ", " + wrong.Error()
		}
	default:
		return
	}
	r.to.Record(timeline.Event{Kind: timeline.Redis, Text: text})
}

// Record records an event of the host's process in the timeline. It never waits.
func (h *Host) Record(e timeline.Event) { h.recorder.Record(e) }

// RecordAt is [Host.Record] of something that happened, or began, at a time of this process.
func (h *Host) RecordAt(at time.Time, e timeline.Event) { h.recorder.RecordAt(at, e) }

// recordChange records what a node's inspector has changed.
func (h *Host) recordChange(ctx context.Context, c tasks.Change) {
	e := eventOf(c)
	e.By = builtin.Caller(ctx)
	h.recorder.Record(e)
}

// writeChange writes what the client's inspector has changed.
func (c *Client) writeChange(ctx context.Context, change tasks.Change) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := c.Timeline.Write(ctx, eventOf(change)); err != nil {
		c.log.Warn().Err(err).Str("kind", string(change.Kind)).Msg("it is done, but not in the timeline")
	}
}

func eventOf(c tasks.Change) timeline.Event {
	return timeline.Event{
		Kind: timeline.Kind(c.Kind), Queue: c.Queue, Tasks: c.Tasks, Text: c.Text,
	}
}

// clientProcess describes the process of a client.
func clientProcess() timeline.Process {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	program, version := build()
	return timeline.Process{Host: host, PID: os.Getpid(), Program: program, Version: version}
}

// callsBy returns the call middleware of a client that somebody works with: outermost, it says so
// to the methods that are called.
func callsBy(who string, inner []rpcregistry.CallMiddleware) []rpcregistry.CallMiddleware {
	if who == "" {
		return inner
	}
	return append([]rpcregistry.CallMiddleware{func(next rpcregistry.CallFunc) rpcregistry.CallFunc {
		return func(ctx context.Context, r rpcregistry.Request) (rpcregistry.Result, error) {
			meta := maps.Clone(r.Meta)
			if meta == nil {
				meta = map[string]string{}
			}
			meta[builtin.MetaBy] = who
			r.Meta = meta
			return next(ctx, r)
		}
	}}, inner...)
}
