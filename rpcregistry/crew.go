package rpcregistry

import (
	"slices"
	"sync"
	"time"
)

// mostIdle is how many goroutines of an endpoint wait for its next calls, and
// idleTime for how long at least.
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
	// unused is how many of the idle, the first ones, had no job since the last
	// sweep: a timer for each would cost every job its setting.
	unused int
	sweeps *time.Timer // nil while nobody is idle
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
		c.unused = min(c.unused, n-1)
		c.mu.Unlock()
		worker <- job
		return
	}
	c.mu.Unlock()
	c.all.Go(func() { c.work(job) })
}

func (c *crew) work(job func()) {
	jobs := make(chan func(), 1)
	for ok := true; ok; job, ok = <-jobs {
		job()
		if !c.rest(jobs) {
			return
		}
	}
}

// sweep sends those home who had nothing to do since the last one.
func (c *crew) sweep() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, jobs := range c.idle[:c.unused] {
		close(jobs)
	}
	c.idle = slices.Delete(c.idle, 0, c.unused)
	c.unused, c.sweeps = len(c.idle), nil
	if c.unused > 0 {
		c.sweeps = time.AfterFunc(idleTime, c.sweep)
	}
}

func (c *crew) rest(jobs chan func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || len(c.idle) >= mostIdle {
		return false
	}
	c.idle = append(c.idle, jobs)
	if c.sweeps == nil {
		c.sweeps = time.AfterFunc(idleTime, c.sweep)
	}
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
	c.idle, c.unused = nil, 0
	if c.sweeps != nil {
		c.sweeps.Stop()
		c.sweeps = nil
	}
}
