package worker

import (
	"context"
	"sync"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/rpcregistry"
)

// hostsInbox is the inbox that the hosts of all processes share.
const hostsInbox = "stellar-hosts"

// memberLeft is the type of the message to all hosts that an incarnation was handed over. It
// goes to the hosts and not to the nodes: with a thousand nodes in a process, a thousand
// that leave would be a million messages.
const memberLeft = "memberLeft"

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

// nodeDown handles the message [memberLeft]: calls that wait for an answer of that
// incarnation end now instead of at their timeout.
func (e *endpoints) nodeDown(_ context.Context, m redisbus.Message) {
	var gone redisbus.Identity
	if m.Decode(&gone) != nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for endpoint := range e.all {
		endpoint.NodeDown(gone)
	}
}
