package rpcregistry

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
)

// The results of [Verdict.Outcome].
const (
	OutcomeValue   = "value"
	OutcomeError   = "error"
	OutcomePanic   = "panic"
	OutcomeMissing = "no such method"
	OutcomeDenied  = "denied"
	OutcomeBusy    = "busy"
	OutcomeLeft    = "left"
	OutcomeSilent  = "silent"
)

// Verdict is the outcome of an [Endpoint.DoAll] on one member of the cluster.
type Verdict struct {
	// Node is the member.
	Node redisbus.Identity
	// Value is the member's response, nil if there is none.
	Value json.RawMessage
	// Err is nil or an [Error]: the error of the method, [ErrPanicked],
	// [ErrNoSuchMethod], [ErrDenied], [ErrBusy], [ErrNodeDown] for a member that left or
	// died before it answered, [ErrUnavailable] for one of another token mode, [ErrTimeout]
	// for a member that did not answer in time.
	Err error
}

// Outcome returns the verdict in a word or two, for people.
func (v Verdict) Outcome() string {
	for code, word := range map[Code]string{
		ErrPanicked: OutcomePanic, ErrNoSuchMethod: OutcomeMissing, ErrDenied: OutcomeDenied, ErrBusy: OutcomeBusy,
		ErrNodeDown: OutcomeLeft, ErrTimeout: OutcomeSilent,
	} {
		if errors.Is(v.Err, code) {
			return word
		}
	}
	if v.Err != nil {
		return OutcomeError
	}
	return OutcomeValue
}

// membersInterval is the time between two readings of the list of live members during an
// [Endpoint.DoAll]: DoAll must not wait for a member that died without a call of
// [Endpoint.NodeDown].
const membersInterval = time.Second

// DoAll calls a method on every member of the cluster and returns a verdict for each
// member that was alive when the call was sent or that joined in time to answer it, sorted
// by node. It returns as soon as the last live member has answered, and at the latest at
// ctx's deadline, or, without a deadline, after the endpoint's timeout. The error is nil
// then as well: the verdicts say which members did not answer. The error is an [Error] if
// the call could not be sent, or ctx's cause if ctx was cancelled.
func (e *Endpoint) DoAll(ctx context.Context, method string, args any) ([]Verdict, error) {
	return e.DoAllWith(ctx, method, args, CallOptions{})
}

// DoAllWith is [Endpoint.DoAll] with options.
func (e *Endpoint) DoAllWith(ctx context.Context, method string, args any, o CallOptions) ([]Verdict, error) {
	result, err := e.call(ctx, args, Request{Method: method, Meta: o.Meta, Replies: EveryReply})
	return result.Verdicts, err
}

func (e *Endpoint) doAll(ctx context.Context, r Request) ([]Verdict, error) {
	r.To = All()
	c, _, err := e.prepare(ctx, r)
	if err != nil {
		return nil, err
	}
	if e.cfg.Members == nil {
		return nil, &Error{Code: ErrUnavailable, Message: "this endpoint does not know the members"}
	}
	members, err := e.cfg.Members.Live(ctx)
	if err != nil {
		return nil, sendError(err, "")
	}
	c.id = newID()
	g := newAllWaiter(members, r.Method)
	if err := e.addWaiter(c.id, g); err != nil {
		return nil, err
	}
	defer e.removeWaiter(c.id)
	if err := e.cfg.Bus.Post(ctx, c.message(""), g.sent); err != nil {
		return nil, sendError(err, "")
	}
	timer := e.newTimer(ctx)
	defer timer.Stop()
	var modes <-chan map[string]link.Mode
	again := time.NewTicker(membersInterval)
	defer again.Stop()
	for {
		select {
		case err := <-g.ends:
			return g.verdicts(), err
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return g.verdicts(), nil
			}
			return nil, contextError(ctx, "")
		case <-timer.C:
			if timer.isTimeout() {
				return g.verdicts(), nil
			}
			modes = e.askModes(ctx)
		case known := <-modes:
			g.dropDeaf(known, e.deaf)
		case <-again.C:
			if members, err := e.cfg.Members.Live(ctx); err == nil {
				g.dropDead(members)
			}
		}
	}
}

// allWaiter waits for the replies of all members.
type allWaiter struct {
	method string
	ends   chan error // has capacity 1; gets the error with which the call ends, or nil

	mu       sync.Mutex
	open     map[redisbus.Identity]bool    // members that have not answered
	answered map[redisbus.Identity]Verdict // includes members that are down
}

func newAllWaiter(members []redisbus.Identity, method string) *allWaiter {
	g := &allWaiter{
		method: method, ends: make(chan error, 1),
		open: make(map[redisbus.Identity]bool, len(members)), answered: make(map[redisbus.Identity]Verdict, len(members)),
	}
	for _, m := range members {
		g.open[m] = true
	}
	return g
}

func (g *allWaiter) end(err error) {
	select {
	case g.ends <- err:
	default:
	}
}

func (g *allWaiter) reply(from redisbus.Identity, r reply) bool {
	v := Verdict{Node: from, Value: r.value}
	if r.err != nil {
		r.err.Method = g.method
		v.Err = r.err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if known, answered := g.answered[from]; answered && !errors.Is(known.Err, ErrNodeDown) {
		return false
	}
	g.record(v)
	return true
}

// record adds a verdict and ends the call when no member is open. The caller holds the
// lock.
func (g *allWaiter) record(v Verdict) {
	g.answered[v.Node] = v
	delete(g.open, v.Node)
	if len(g.open) == 0 {
		g.end(nil)
	}
}

func (g *allWaiter) sent(_ int64, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil {
		g.end(sendError(err, ""))
	} else if len(g.open) == 0 {
		g.end(nil) // there are no members
	}
}

func (g *allWaiter) nodeDown(gone redisbus.Identity) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open[gone] {
		g.record(Verdict{Node: gone, Err: &Error{Code: ErrNodeDown, Node: gone.ID, Method: g.method}})
	}
}

// dropDead records the open members that are not in the list of live members as down.
func (g *allWaiter) dropDead(members []redisbus.Identity) {
	g.mu.Lock()
	gone := maps.Clone(g.open)
	g.mu.Unlock()
	for _, m := range members {
		delete(gone, m)
	}
	for m := range gone {
		g.nodeDown(m)
	}
}

// verdicts returns the verdicts sorted by incarnation, with an [ErrTimeout] for each
// member that has not answered.
func (g *allWaiter) verdicts() []Verdict {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]Verdict, 0, len(g.answered)+len(g.open))
	for _, v := range g.answered {
		all = append(all, v)
	}
	for m := range g.open {
		all = append(all, Verdict{Node: m, Err: &Error{Code: ErrTimeout, Node: m.ID, Method: g.method}})
	}
	slices.SortFunc(all, func(a, b Verdict) int { return strings.Compare(a.Node.Incarnation, b.Node.Incarnation) })
	return all
}
