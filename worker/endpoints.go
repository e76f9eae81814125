package worker

import (
	"sync"

	"github.com/stellarfw/stellar/rpcregistry"
)

// endpoints are those of a process's nodes.
type endpoints struct {
	mu  sync.Mutex
	all map[*rpcregistry.Endpoint]struct{}
}

func (e *endpoints) add(endpoint *rpcregistry.Endpoint) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.all == nil {
		e.all = map[*rpcregistry.Endpoint]struct{}{}
	}
	e.all[endpoint] = struct{}{}
}

func (e *endpoints) remove(endpoint *rpcregistry.Endpoint) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.all, endpoint)
}

// waiting returns the endpoints whose calls wait for answers.
func (e *endpoints) waiting() []*rpcregistry.Endpoint {
	e.mu.Lock()
	defer e.mu.Unlock()
	var waiting []*rpcregistry.Endpoint
	for endpoint := range e.all {
		if endpoint.Waits() {
			waiting = append(waiting, endpoint)
		}
	}
	return waiting
}
