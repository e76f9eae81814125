package runner

import (
	"sync/atomic"

	"github.com/stellarfw/stellar/worker/internal/queue"
)

// Defaults are the defaults of queues that operators have set, as the process last read them. The
// zero value has none.
type Defaults struct {
	all atomic.Pointer[map[string]queue.Defaults]
}

// of returns the defaults of a queue.
func (d *Defaults) of(name string) queue.Defaults {
	if all := d.all.Load(); all != nil {
		return (*all)[name]
	}
	return queue.Defaults{}
}

// set replaces them. Runs that have begun go by the new ones when they end.
func (d *Defaults) set(all map[string]queue.Defaults) {
	if len(all) == 0 {
		d.all.Store(nil)
		return
	}
	d.all.Store(&all)
}
