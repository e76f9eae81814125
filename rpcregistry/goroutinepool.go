package rpcregistry

import (
	"slices"
	"sync"
	"time"
)

// maxIdle is how many goroutines of an endpoint wait for its next calls, and
// idleTime for how long at least.
const (
	maxIdle  = 8
	idleTime = 10 * time.Second
)

// pool runs jobs, each on a goroutine of its own. Some stay for the next job: a
// new goroutine would have to grow its stack anew for every call. Those for which
// none comes go: a thousand nodes at rest would keep a thousand stacks.
type goroutinePool struct {
	mu      sync.Mutex
	idle    []chan func()
	closed  bool
	running sync.WaitGroup
	// unused is how many of the idle, the first ones, had no job since the last
	// stopUnused: a timer for each would cost every job its setting.
	unused int
	timer  *time.Timer // nil while nobody is idle
}

func (c *goroutinePool) open() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = false
}

// do runs the job at once and does not wait for it. A job may end its goroutine.
func (c *goroutinePool) do(job func()) {
	c.mu.Lock()
	if n := len(c.idle); n > 0 {
		worker := c.idle[n-1]
		c.idle = c.idle[:n-1]
		c.unused = min(c.unused, n-1)
		c.mu.Unlock()
		worker <- job
		return
	}
	c.mu.Unlock()
	c.running.Go(func() { c.run(job) })
}

func (c *goroutinePool) run(job func()) {
	jobs := make(chan func(), 1)
	for ok := true; ok; job, ok = <-jobs {
		job()
		if !c.park(jobs) {
			return
		}
	}
}

// stopUnused sends those home who had nothing to do since the last one.
func (c *goroutinePool) stopUnused() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, jobs := range c.idle[:c.unused] {
		close(jobs)
	}
	c.idle = slices.Delete(c.idle, 0, c.unused)
	c.unused, c.timer = len(c.idle), nil
	if c.unused > 0 {
		c.timer = time.AfterFunc(idleTime, c.stopUnused)
	}
}

func (c *goroutinePool) park(jobs chan func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || len(c.idle) >= maxIdle {
		return false
	}
	c.idle = append(c.idle, jobs)
	if c.timer == nil {
		c.timer = time.AfterFunc(idleTime, c.stopUnused)
	}
	return true
}

// close sends the idle home; the others go when their job is done.
func (c *goroutinePool) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, jobs := range c.idle {
		close(jobs)
	}
	c.idle, c.unused = nil, 0
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
}
