package worker

import (
	"maps"
	"slices"
	"sync"

	"github.com/stellarfw/stellar/worker/internal/runner"
)

// claimGate holds back the claims of all runners of a process while there is a
// reason to. Runners added while claiming is paused start paused.
type claimGate struct {
	mu      sync.Mutex
	runners map[*runner.Runner]struct{}
	quiet   bool // by request
	choked  bool // by zombies
}

func (c *claimGate) add(r *runner.Runner) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.runners == nil {
		c.runners = map[*runner.Runner]struct{}{}
	}
	c.runners[r] = struct{}{}
	if c.quiet || c.choked {
		r.Quiet(true)
	}
}

func (c *claimGate) remove(r *runner.Runner) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.runners, r)
}

// cancel ends the handlers of these tasks as far as they run in this process.
func (c *claimGate) cancel(ids []string) {
	c.mu.Lock()
	runners := slices.Collect(maps.Keys(c.runners))
	c.mu.Unlock()
	for _, r := range runners {
		for _, id := range ids {
			r.Cancel(id)
		}
	}
}

// change sets one of the two reasons and tells the runners when that makes a
// difference. It reports whether the reason changed.
func (c *claimGate) change(reason *bool, on bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if *reason == on {
		return false
	}
	before := c.quiet || c.choked
	*reason = on
	if now := c.quiet || c.choked; now != before {
		for r := range c.runners {
			r.Quiet(now)
		}
	}
	return true
}

func (c *claimGate) reasons() (quiet, choked bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.quiet, c.choked
}

// Quiet makes the host's nodes claim no more tasks, or claim again. What they
// have in hand goes on, and they answer calls. Nodes that start meanwhile start
// quiet. It reports whether that is a change.
func (h *Host) Quiet(on bool) bool { return h.claims.change(&h.claims.quiet, on) }

// IsQuiet reports whether the nodes claim no tasks because of [Host.Quiet].
func (h *Host) IsQuiet() bool {
	quiet, _ := h.claims.reasons()
	return quiet
}
