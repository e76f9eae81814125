package runner

import (
	"context"
	"sync"
	"time"
)

// Flow: while tasks come steadily, a node tends its queues. It claims once in restTime instead
// of being woken for every task, and nobody else is woken meanwhile (see lua/work.lua of the
// package queue). The commits of that time go with the claim.
const (
	restTime = time.Millisecond
	// steady is how many tasks have to come in restTime for a node to begin to tend.
	steady = 2
	// window is the time over which the tasks are counted.
	window = 4 * time.Millisecond
	// turn is how long a node tends at a time. Then it idles, and Redis wakes any node for the
	// next task, so that the tasks spread over the processes.
	turn = 100 * time.Millisecond
)

// Flow is how fast tasks come to the nodes of a process.
type Flow struct {
	mu     sync.Mutex
	since  time.Time
	came   int // since then
	steady bool
}

// claimed notes that a claim got n tasks.
func (f *Flow) claimed(n int, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.came += n
	if took := now.Sub(f.since); took >= window {
		f.steady = time.Duration(f.came)*restTime >= steady*took
		f.since, f.came = now, 0
	}
}

func (f *Flow) isSteady(now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.steady && now.Sub(f.since) < 4*window
}

// tending is the part that a node has in it. Runner.mu guards it.
type tending struct {
	on    bool
	began time.Time
	rests bool // the next claim is not due
	timer *time.Timer
}

// mayTend reports whether the node is to tend its queues if a claim that begins now leaves it
// with room.
func (r *Runner) mayTend(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.flow.isSteady(now) && !(r.tending.on && now.Sub(r.tending.began) > turn)
}

// rest begins the pause until the next claim of a node that tends, or ends what there was of
// it. The caller holds r.mu.
func (r *Runner) rest(tends bool) {
	t := &r.tending
	switch {
	case !tends:
		t.on, t.rests = false, false
		return
	case !t.on:
		t.on, t.began = true, time.Now()
	}
	t.rests = true
	if t.timer == nil {
		t.timer = time.AfterFunc(restTime, r.rested)
	} else {
		t.timer.Reset(restTime)
	}
}

// rested ends the pause: what waits for its commit takes the claim along.
func (r *Runner) rested() {
	r.mu.Lock()
	r.tending.rests = false
	r.changed.Broadcast()
	r.mu.Unlock()
	select {
	case r.flush <- struct{}{}:
	default:
	}
}

// stopTending has others woken again if the node tends its queues.
func (r *Runner) stopTending(ctx context.Context) {
	r.mu.Lock()
	on := r.tending.on
	r.rest(false)
	r.mu.Unlock()
	if on {
		r.resign(ctx, false)
	}
}
