package runner

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/stellarfw/stellar/worker/tasks"
)

// DefaultGrace is how long a handler may take to return after its context has ended.
const DefaultGrace = 3 * time.Second

// maxStack bounds the stack of a handler in a log line, in bytes.
const maxStack = 16 << 10

// alarm watches that a handler returns after its context has ended. Runner.mu guards it.
type alarm struct {
	timer    *time.Timer // nil: the context has no end yet
	returned bool
	overdue  bool // it was counted
}

// setAlarm warns of the run when its handler has not returned within d and the grace time.
func (r *run) setAlarm(d time.Duration) {
	r.runner.mu.Lock()
	defer r.runner.mu.Unlock()
	if r.alarm.returned {
		return
	}
	if r.alarm.timer != nil {
		r.alarm.timer.Stop()
	}
	r.alarm.timer = time.AfterFunc(d+r.runner.grace, r.warnOverdue)
}

// stopAlarm notes that the handler has returned, and reports whether it was overdue. The
// caller holds Runner.mu.
func (r *run) stopAlarm() bool {
	r.alarm.returned = true
	if r.alarm.timer != nil {
		r.alarm.timer.Stop()
	}
	was := r.alarm.overdue
	if was {
		r.alarm.overdue = false
		r.runner.overdue--
	}
	return was
}

// warnOverdue counts and logs that the handler has not returned.
func (r *run) warnOverdue() {
	if r.work.Err() != nil {
		return // the node has ended, and what outlives it is logged there
	}
	r.runner.mu.Lock()
	if r.alarm.returned || r.alarm.overdue {
		r.runner.mu.Unlock()
		return
	}
	r.alarm.overdue = true
	r.runner.overdue++
	r.runner.mu.Unlock()
	over := tasks.RunOverdue{
		ID: r.ID, Name: r.Record.Name, Queue: r.Record.Queue(), Node: r.Node.Incarnation,
		Attempt: r.Tries.Attempts + 1, Timeout: r.timeout(), Cause: context.Cause(r.context()),
	}
	if o := r.runner.observer; o != nil {
		o.RunOverdue(over)
	}
	event := r.log().Warn().AnErr("cause", over.Cause).Int("attempt", over.Attempt).Stringer("grace", r.runner.grace)
	if r.runner.warnings.due("stack of " + over.Name) {
		event.Str("stack", r.stack())
	}
	event.Msg("a handler goes on although its context has ended: it keeps its slot until it returns")
}

// stack returns the stack of the goroutine that runs the handler; its frame of handle has the
// run's address. It is empty if the stacks of all goroutines are too large.
func (r *run) stack() string {
	const most = 64 << 20
	for size := 1 << 20; size <= most; size *= 4 {
		text := make([]byte, size)
		n := runtime.Stack(text, true)
		for block := range strings.SplitSeq(string(text[:n]), "\n\n") {
			if strings.Contains(block, fmt.Sprintf("runner.(*run).handle(%p", r)) {
				return block[:min(len(block), maxStack)]
			}
		}
		if n < size {
			break
		}
	}
	return ""
}

// Overdue returns how many handlers run although their contexts ended longer than the grace
// time ago: at their timeout, at their deadline, or because their tasks were cancelled.
func (r *Runner) Overdue() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.overdue
}
