package worker

import (
	"sync"

	"github.com/stellarfw/stellar/rpcregistry"
)

// endpoints are those of a process's nodes, with the nodes' ids.
type endpoints struct {
	mu  sync.Mutex
	all map[*rpcregistry.Endpoint]string
}

func (e *endpoints) add(endpoint *rpcregistry.Endpoint, node string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.all == nil {
		e.all = map[*rpcregistry.Endpoint]string{}
	}
	e.all[endpoint] = node
}

func (e *endpoints) remove(endpoint *rpcregistry.Endpoint) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.all, endpoint)
}

// waiting returns the endpoints whose calls wait for answers.
func (e *endpoints) waiting() map[*rpcregistry.Endpoint]string {
	e.mu.Lock()
	defer e.mu.Unlock()
	waiting := map[*rpcregistry.Endpoint]string{}
	for endpoint, node := range e.all {
		if endpoint.Waits() {
			waiting[endpoint] = node
		}
	}
	return waiting
}
