package worker

import (
	"context"
	"sync"
	"time"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/rpcregistry"
)

// hostsInbox is the inbox that the hosts of all processes share.
const hostsInbox = "stellar-hosts"

// memberLeft is the type of the message to all hosts that an incarnation was handed over. It
// goes to the hosts and not to the nodes: with a thousand nodes in a process, a thousand
// that leave would be a million messages. A host passes it on to those of its nodes whose
// calls wait, by way of their inboxes: so it comes after an answer that the incarnation sent
// before it left.
const memberLeft = "memberLeft"

// relayTime bounds how long the host tries to pass on one [memberLeft].
const relayTime = time.Second

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

// relayLeave handles the message [memberLeft] to the host: calls that wait for an answer of
// that incarnation end now instead of at their timeout.
func (h *Host) relayLeave(ctx context.Context, m redisbus.Message) {
	var gone redisbus.Identity
	if m.Decode(&gone) != nil {
		return
	}
	for endpoint, node := range h.endpoints.waiting() {
		go func() {
			ctx, cancel := context.WithTimeout(ctx, relayTime)
			defer cancel()
			if _, err := h.bus.PublishWith(ctx, memberLeft, gone, redisbus.PublishOptions{Node: node}); err != nil {
				endpoint.NodeDown(gone)
			}
		}()
	}
}

// onLeave returns what handles the message [memberLeft] to a node.
func onLeave(endpoint *rpcregistry.Endpoint) redisbus.Handler {
	return func(_ context.Context, m redisbus.Message) {
		var gone redisbus.Identity
		if m.Decode(&gone) == nil {
			endpoint.NodeDown(gone)
		}
	}
}
