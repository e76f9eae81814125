package worker

import (
	"maps"
	"slices"
	"sync"

	"github.com/stellarfw/stellar/worker/internal/runner"
)

// claimGate pauses claiming in all runners of a process while quiet or choked is set.
// Runners added while claiming is paused start paused.
type claimGate struct {
	mu      sync.Mutex
	runners map[*runner.Runner]struct{}
	quiet   bool // an operator asked for it (see [Host.Quiet])
	choked  bool // too many handlers outlived their nodes (see limitClaims)
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

// cancel cancels the handlers of the tasks with these ids that run in this process.
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

// change sets quiet or choked, to which reason points, and pauses or resumes the runners if
// necessary. It reports whether the value changed.
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

// Quiet makes the host's nodes claim no more tasks (on), or claim again. The tasks that they
// have in hand go on, and the nodes answer calls. Nodes that start while the host is quiet
// are quiet too. Quiet reports whether it changed anything.
func (h *Host) Quiet(on bool) bool { return h.claims.change(&h.claims.quiet, on) }

// IsQuiet reports whether the nodes claim no tasks because of [Host.Quiet].
func (h *Host) IsQuiet() bool {
	quiet, _ := h.claims.reasons()
	return quiet
}
