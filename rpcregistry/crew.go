package rpcregistry

import (
	"slices"
	"sync"
	"time"
)

// mostIdle is how many goroutines of an endpoint wait for its next calls, and
// idleTime for how long.
const (
	mostIdle = 8
	idleTime = 10 * time.Second
)

// crew runs jobs, each on a goroutine of its own. Some stay for the next job: a
// new goroutine would have to grow its stack anew for every call. Those for which
// none comes go: a thousand nodes at rest would keep a thousand stacks.
type crew struct {
	mu     sync.Mutex
	idle   []chan func()
	closed bool
	all    sync.WaitGroup
}

func (c *crew) open() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = false
}

// do runs the job at once and does not wait for it. A job may end its goroutine.
func (c *crew) do(job func()) {
	c.mu.Lock()
	if n := len(c.idle); n > 0 {
		worker := c.idle[n-1]
		c.idle = c.idle[:n-1]
		c.mu.Unlock()
		worker <- job
		return
	}
	c.mu.Unlock()
	c.all.Go(func() { c.work(job) })
}

func (c *crew) work(job func()) {
	jobs := make(chan func(), 1)
	var idle *time.Timer
	for ok := true; ok; {
		job()
		if !c.rest(jobs) {
			return
		}
		if idle == nil {
			idle = time.NewTimer(idleTime)
		} else {
			idle.Reset(idleTime)
		}
		select {
		case job, ok = <-jobs:
		case <-idle.C:
			if c.leaves(jobs) {
				return
			}
			job, ok = <-jobs
		}
	}
}

// leaves takes an idle goroutine out of those that wait. It reports false when a
// job is on its way to it, or the end.
func (c *crew) leaves(jobs chan func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.Index(c.idle, jobs)
	if i < 0 {
		return false
	}
	c.idle = slices.Delete(c.idle, i, i+1)
	return true
}

func (c *crew) rest(jobs chan func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || len(c.idle) >= mostIdle {
		return false
	}
	c.idle = append(c.idle, jobs)
	return true
}

// close sends the idle home; the others go when their job is done.
func (c *crew) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, jobs := range c.idle {
		close(jobs)
	}
	c.idle = nil
}
