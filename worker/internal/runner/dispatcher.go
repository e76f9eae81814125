package runner

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Dispatcher passes the wakes that Redis sends to a process on to one of its runners: the
// one that was woken last, as long as it has a free slot, then the next. So the tasks that
// come one by one are claimed and committed by few nodes, together, and the others sleep.
// Redis wakes the processes at random, so that tasks spread over them.
type Dispatcher struct {
	mu      sync.Mutex
	runners []*Runner
	last    int // of runners: the one that was woken last
}

func (d *Dispatcher) add(r *Runner) {
	d.mu.Lock()
	defer d.mu.Unlock()
	same := slices.IndexFunc(d.runners, func(other *Runner) bool { return slices.Equal(r.queues, other.queues) })
	if same >= 0 {
		r.served = d.runners[same].served // a thousand runners of a thousand queues have one set of these
	} else {
		r.served = make(served, len(r.queues))
		for _, name := range r.queues {
			r.served[name] = struct{}{}
		}
	}
	d.runners = append(d.runners, r)
}

func (d *Dispatcher) remove(r *Runner) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if at := slices.Index(d.runners, r); at >= 0 {
		d.runners = slices.Delete(d.runners, at, at+1)
	}
}

// Wake wakes a runner that serves the queue and has a free slot. If there is none, it wakes
// one that has not, which has Redis wake another process. When queue is empty, wakes may
// have been missed: then Wake wakes all.
func (d *Dispatcher) Wake(queue string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if queue == "" {
		for _, r := range d.runners {
			r.Wake()
		}
		return
	}
	if d.wake(func(r *Runner) bool { return r.serves(queue) && r.free() }) {
		return
	}
	for _, r := range d.runners {
		if r.serves(queue) {
			r.decline()
			return
		}
	}
}

// pass wakes an idle runner, other than r, that serves one of r's queues and has a free
// slot. It reports whether there is one.
func (d *Dispatcher) pass(r *Runner) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.wake(func(other *Runner) bool {
		return other != r && other.idles() && slices.ContainsFunc(r.queues, other.serves)
	})
}

// wake wakes the first runner, from the last one on, that fits. It reports whether there is
// one. The caller holds d.mu.
func (d *Dispatcher) wake(fits func(*Runner) bool) bool {
	for i := range d.runners {
		at := (d.last + i) % len(d.runners)
		if r := d.runners[at]; fits(r) {
			d.last = at
			r.Wake()
			return true
		}
	}
	return false
}

// served are the queues that a runner serves. Runners that serve the same share them.
type served map[string]struct{}

// serves reports whether the runner serves the queue.
func (r *Runner) serves(queue string) bool {
	_, serves := r.served[queue]
	return serves
}

// free reports whether the runner would claim if it was woken.
func (r *Runner) free() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.quiet.Load() && r.claims != claimOver && r.backlog.active+r.backlog.ahead() < r.slots
}

// idles reports whether the runner waits to be woken, and has a free slot.
func (r *Runner) idles() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.idling && !r.quiet.Load() && r.claims == claimFree && r.backlog.active+r.backlog.ahead() < r.slots
}

// declineTime is for how long a wake that the process cannot use is passed on to others.
const declineTime = time.Second

// decline has Redis wake another process.
func (r *Runner) decline() {
	if !r.declining.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer r.declining.Store(false)
		ctx, cancel := context.WithTimeout(context.Background(), declineTime)
		defer cancel()
		r.resign(ctx, false)
	}()
}
