package worker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/worker/membership"
)

const (
	// gathering is how long the first node that has something to announce waits
	// for others of its process that do the same.
	gathering = 20 * time.Millisecond
	// fewNews is up to how many of them each speaks for itself. If each of a
	// thousand did, each of a thousand would verify, keep and log a thousand lines.
	fewNews = 8
)

// news gathers the nodes of a process that announce the same at the same time.
// The zero value is ready.
type news struct {
	mu      sync.Mutex
	current *edition
}

type edition struct {
	ids    []string
	closed chan struct{}
}

// gather adds a node to those that announce now and waits until they are
// complete. speaks says whether this node has to speak, for itself or for all.
func (w *news) gather(ctx context.Context, id string) (ids []string, speaks bool) {
	w.mu.Lock()
	e := w.current
	first := e == nil
	if first {
		e = &edition{closed: make(chan struct{})}
		w.current = e
	}
	e.ids = append(e.ids, id)
	w.mu.Unlock()
	if !first {
		<-e.closed // soon: the first waits for nothing but the time
	} else {
		_ = link.Sleep(ctx, gathering)
		w.mu.Lock()
		w.current = nil
		w.mu.Unlock()
		slices.SortFunc(e.ids, membership.CompareIDs)
		close(e.closed)
	}
	if len(e.ids) <= fewNews {
		return []string{id}, true
	}
	return e.ids, first
}

// announcement is what the members did, in words.
func announcement(ids []string, what string) string {
	if len(ids) == 1 {
		return fmt.Sprintf("Stellar member %s has %s the cluster", ids[0], what)
	}
	return fmt.Sprintf("%d Stellar members have %s the cluster: %s", len(ids), what, spans(ids))
}

// spans shortens ordered ids: "w-1 to w-999, w-1001". It says how many it leaves out.
func spans(ids []string) string {
	const most = 50
	var out []string
	for len(ids) > 0 {
		if len(out) == most {
			return strings.Join(out, ", ") + fmt.Sprintf(" and %d more", len(ids))
		}
		n := 1
		for n < len(ids) && membership.Follows(ids[n-1], ids[n]) {
			n++
		}
		if n > 2 {
			out = append(out, ids[0]+" to "+ids[n-1])
		} else {
			n = 1
			out = append(out, ids[0])
		}
		ids = ids[n:]
	}
	return strings.Join(out, ", ")
}

// announce tells the cluster of the join.
func (n *Node) announce(ctx context.Context) error {
	if n.cfg.Announce != nil {
		select {
		case <-n.cfg.Announce:
		case <-ctx.Done():
			return nil
		}
	}
	n.tell(ctx, &n.host.joined, "joined")
	return nil
}

// tell says to every node's api.log what this one does, as the original does. A
// cluster that misses it misses a log line.
func (n *Node) tell(ctx context.Context, w *news, what string) {
	ids, speaks := w.gather(ctx, n.lease.Incarnation.ID)
	if !speaks {
		return
	}
	text := announcement(ids, what)
	if err := n.api.RPC.Cast(ctx, "api.log", []string{text}, rpcregistry.All()); err != nil && ctx.Err() == nil {
		n.log.Debug().Err(err).Msg("not announced: " + what)
	}
}
