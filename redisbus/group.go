package redisbus

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// StopGrace is how long a stopping bus or registry waits for the handlers whose context
// it has cancelled.
const StopGrace = 3 * time.Second

// StuckError names the handlers (message types, methods) that did not return
// although their context had ended [StopGrace] before. Their goroutines still run.
type StuckError struct{ Handlers []string }

func (e *StuckError) Error() string {
	return fmt.Sprintf("handlers ignore their cancelled context: %s", strings.Join(e.Handlers, ", "))
}

// Group counts running handlers by name, so that a stopping bus or registry can wait for
// them and name those that do not return. The zero value is open.
type Group struct {
	mu      sync.Mutex
	running map[string]int
	total   int
	closed  bool
	empty   chan struct{}
}

// Open admits handlers again after [Group.Close].
func (g *Group) Open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = false
}

// Enter counts one more handler; false means that the group is closed.
func (g *Group) Enter(name string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	if g.running == nil {
		g.running = map[string]int{}
	}
	g.running[name]++
	g.total++
	return true
}

// Leave counts one handler less: it has returned.
func (g *Group) Leave(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.running[name]--; g.running[name] == 0 {
		delete(g.running, name)
	}
	if g.total--; g.total == 0 && g.empty != nil {
		close(g.empty)
		g.empty = nil
	}
}

// Running returns how many handlers run.
func (g *Group) Running() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.total
}

// Close admits no further handler and waits, at most for grace, until all have left.
// Its error is a [StuckError].
func (g *Group) Close(grace time.Duration) error {
	g.mu.Lock()
	g.closed = true
	if g.total == 0 {
		g.mu.Unlock()
		return nil
	}
	if g.empty == nil {
		g.empty = make(chan struct{})
	}
	empty := g.empty
	g.mu.Unlock()
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-empty:
		return nil
	case <-t.C:
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.total == 0 {
		return nil
	}
	return &StuckError{Handlers: slices.Sorted(maps.Keys(g.running))}
}
