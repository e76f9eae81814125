package supervisor

import (
	"sync"
	"time"
)

// gate opens when every node of the first start has come up or failed, or after
// a second, so that each hears the others' joins.
type gate struct {
	open chan struct{}

	mu      sync.Mutex
	missing int
	arrived map[*slot]bool
	timer   *time.Timer
}

func newGate(nodes int) *gate {
	g := &gate{open: make(chan struct{}), missing: nodes, arrived: map[*slot]bool{}}
	if nodes == 0 {
		close(g.open)
	}
	return g
}

// arrive counts a slot, the first time it calls.
func (g *gate) arrive(x *slot) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.arrived[x] || g.missing == 0 {
		return
	}
	g.arrived[x] = true
	g.missing--
	switch {
	case g.missing == 0:
		g.close()
	case g.timer == nil:
		g.timer = time.AfterFunc(time.Second, func() {
			g.mu.Lock()
			defer g.mu.Unlock()
			if g.missing > 0 {
				g.missing = 0
				g.close()
			}
		})
	}
}

func (g *gate) close() {
	if g.timer != nil {
		g.timer.Stop()
	}
	close(g.open)
}
