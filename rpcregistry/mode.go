package rpcregistry

import (
	"context"
	"fmt"
	"time"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
)

// modeDoubt is how long a call waits for an answer before it asks whether the nodes that it
// goes to can understand it: a node drops messages of another token mode without an answer.
const modeDoubt = 500 * time.Millisecond

// modesAge is how old a reading of the nodes' token modes may be.
const modesAge = 5 * time.Second

// modesPatience bounds a reading of the token modes.
const modesPatience = time.Second

// askModes returns a channel that delivers the nodes' token modes, as far as they are known, at
// the latest after modesPatience. The call goes on meanwhile.
func (e *Endpoint) askModes(ctx context.Context) <-chan map[string]link.Mode {
	if e.cfg.Modes == nil {
		return nil
	}
	asked := make(chan map[string]link.Mode, 1)
	go func() {
		ctx, cancel := context.WithTimeout(ctx, modesPatience)
		defer cancel()
		asked <- e.modes(ctx)
	}()
	return asked
}

// unheard returns an error if no node that a call went to accepts the messages of this one, by
// what their token modes are. node is the node's id, "" for all nodes.
func (e *Endpoint) unheard(modes map[string]link.Mode, node string) error {
	var deaf error
	for id, mode := range modes {
		if node != "" && id != node {
			continue
		}
		if deaf = e.deaf(id, mode); deaf == nil {
			return nil
		}
	}
	return deaf
}

// knownModes are token modes as they were read once.
type knownModes struct {
	reading chan struct{} // holds one element while somebody reads them
	at      time.Time
	byNode  map[string]link.Mode
}

// modes returns the token mode of each live node by its id, as far as they are known. Many
// slow calls share one reading.
func (e *Endpoint) modes(ctx context.Context) map[string]link.Mode {
	select {
	case e.known.reading <- struct{}{}:
		defer func() { <-e.known.reading }()
	case <-ctx.Done():
		return nil
	}
	if time.Since(e.known.at) < modesAge {
		return e.known.byNode
	}
	modes, err := e.cfg.Modes(ctx)
	if err != nil {
		modes = nil // the calls go on, and end with their own errors
	}
	e.known.at, e.known.byNode = time.Now(), modes
	return modes
}

// deaf returns an error if the node does not accept the messages of this one, or its own are
// not accepted here.
func (e *Endpoint) deaf(node string, mode link.Mode) error {
	own := e.cfg.Bus.Mode()
	if mode == "" || own.Understands(mode) {
		return nil
	}
	return &Error{Code: ErrUnavailable, Node: node, Message: fmt.Sprintf(
		"it uses the token mode %s and drops what this program sends in the token mode %s: use the same one, or both", mode, own)}
}

// dropDeaf records the open members that do not accept the call.
func (g *allWaiter) dropDeaf(modes map[string]link.Mode, deaf func(node string, mode link.Mode) error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var open []redisbus.Identity
	for m := range g.open {
		open = append(open, m)
	}
	for _, m := range open {
		if err := deaf(m.ID, modes[m.ID]); err != nil {
			g.record(Verdict{Node: m, Err: withMethod(err, g.method)})
		}
	}
}
