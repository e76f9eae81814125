package worker

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/rpcregistry"
)

// hostsInbox is the inbox that the hosts of all processes share.
const hostsInbox = "stellar-hosts"

// membersLeft is the type of the message to all hosts that incarnations were handed over. It
// goes to the hosts and not to the nodes: with a thousand nodes in a process, a thousand
// that leave would be a million messages. A host passes it on to those of its nodes whose
// calls wait, by way of their inboxes: so it comes after an answer that the incarnation sent
// before it left.
const membersLeft = "membersLeft"

const (
	// leavesTime bounds how long the host tries to send or to pass on one [membersLeft].
	leavesTime = time.Second
	// leavesPause is the pause after a message, in which the next leaves gather.
	leavesPause = 20 * time.Millisecond
	// mostLeaves is how many incarnations one [membersLeft] has.
	mostLeaves = 500
)

// inboxAge is for how long the inbox of a node counts as known, unless [membersLeft] says that
// it has changed: a process that was cut off may miss that message.
const inboxAge = 5 * time.Second

// toldTime bounds how long a node that ends waits until its leave has been told.
const toldTime = 250 * time.Millisecond

// leaves gathers the incarnations that this process has handed over. The first is told at
// once; those that follow while the message is under way and in the pause after it are
// told together. Make one with [newLeaves].
type leaves struct {
	added chan struct{} // has capacity 1

	mu      sync.Mutex
	gone    []redisbus.Identity
	told    chan struct{} // closed when gone has been told
	telling chan struct{} // the same of those before; nil or closed when they have been
}

func newLeaves() *leaves {
	return &leaves{added: make(chan struct{}, 1), told: make(chan struct{})}
}

func (l *leaves) add(gone redisbus.Identity) {
	l.mu.Lock()
	l.gone = append(l.gone, gone)
	l.mu.Unlock()
	select {
	case l.added <- struct{}{}:
	default:
	}
}

// take returns what has gathered, and a function to call when it has been told.
func (l *leaves) take() (gone []redisbus.Identity, told func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	gone, l.gone = l.gone, nil
	l.telling, l.told = l.told, make(chan struct{})
	done := l.telling
	return gone, func() { close(done) }
}

// await waits until all that has been added is told, for toldTime at most. A node ends only
// then: the leave would end the calls to the node's next life, too.
func (l *leaves) await() {
	l.mu.Lock()
	told := l.telling
	if len(l.gone) > 0 {
		told = l.told
	}
	l.mu.Unlock()
	if told == nil {
		return
	}
	t := time.NewTimer(toldTime)
	defer t.Stop()
	select {
	case <-told:
	case <-t.C:
	}
}

// tellLeaves tells all hosts of the incarnations that this process hands over, until ctx ends.
func (h *Host) tellLeaves(ctx context.Context) error {
	for {
		select {
		case <-h.leaves.added:
			h.tellNow(ctx)
			_ = link.Sleep(ctx, leavesPause)
		case <-ctx.Done():
			h.tellNow(context.WithoutCancel(ctx))
			return context.Cause(ctx)
		}
	}
}

// tellNow sends what has gathered. If that fails, calls that wait for the incarnations end at
// their timeouts.
func (h *Host) tellNow(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, leavesTime)
	defer cancel()
	all, told := h.leaves.take()
	defer told()
	for gone := range slices.Chunk(all, mostLeaves) {
		if _, err := h.bus.PublishWith(ctx, membersLeft, gone, redisbus.PublishOptions{Node: hostsInbox}); err != nil {
			return
		}
	}
}

// relayLeaves handles the message [membersLeft] to the host: calls that wait for an answer of
// those incarnations end now instead of at their timeout.
func (h *Host) relayLeaves(ctx context.Context, m redisbus.Message) {
	var gone []redisbus.Identity
	if m.Decode(&gone) != nil {
		return
	}
	for _, one := range gone {
		h.inboxes.Forget(one.ID)
	}
	for _, endpoint := range h.endpoints.waiting() {
		go func() {
			ctx, cancel := context.WithTimeout(ctx, leavesTime)
			defer cancel()
			if _, err := h.bus.PublishWith(ctx, membersLeft, gone, redisbus.PublishOptions{Node: endpoint.Self().Incarnation}); err != nil {
				nodesDown(endpoint, gone)
			}
		}()
	}
}

// onLeaves returns what handles the message [membersLeft] to a node.
func onLeaves(endpoint *rpcregistry.Endpoint) redisbus.Handler {
	return func(_ context.Context, m redisbus.Message) {
		var gone []redisbus.Identity
		if m.Decode(&gone) == nil {
			nodesDown(endpoint, gone)
		}
	}
}

func nodesDown(endpoint *rpcregistry.Endpoint, gone []redisbus.Identity) {
	for _, one := range gone {
		endpoint.NodeDown(one)
	}
}
