// Package rpcregistry lets nodes call each other's methods by name: one node,
// the holder of a client connection, or all of them.
//
// A call is a message of the cluster bus to the inbox of its target, or to all nodes; the
// reply is a message to the inbox of the caller. So a call of one node costs the same with
// a thousand nodes as with one. Like a message, a call is delivered at most once: after
// [ErrTimeout] or [ErrNodeDown] the method may have run or not.
//
//	caller                      Redis                      node
//	DoCluster ── call {id, method, deadline, args} ──▶ method runs until the
//	   │ waits                                         deadline at most
//	   ◀──────── reply {id, value | code, message} ─────── │
//	   │
//	   ├─ no such node         ▸ ErrNoSuchTarget, at once
//	   ├─ the node died        ▸ ErrNodeDown, when that is noticed
//	   └─ the deadline passed  ▸ ErrTimeout
package rpcregistry

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
)

// Defaults of a [Config].
const (
	DefaultTimeout  = 5 * time.Second
	DefaultMaxCalls = 1024
)

// Members is the list of live nodes.
type Members interface {
	Live(ctx context.Context) ([]redisbus.Identity, error)
}

// Connections is the directory of client connections.
type Connections interface {
	// Locate returns the id of the node that holds the connection, or an error
	// that is [ErrNoSuchConnection].
	Locate(ctx context.Context, connection string) (node string, err error)
	// Holds reports whether this node holds the connection.
	Holds(connection string) bool
}

// Config configures an [Endpoint].
type Config struct {
	// Bus carries calls and replies; the caller has to run its Serve.
	Bus *redisbus.Bus

	// Registry holds the methods that this node answers, beside the built-in
	// api.ping, api.log and api.methods. Endpoints can share a registry.
	Registry *Registry

	// Members is needed by [Endpoint.DoAll]. With it calls of the first node that has a method
	// end soon after the last live node has refused, also while clients listen.
	Members Members

	// Modes, when set, returns the token mode of each live node by its id, "" for one that
	// is not known. With it calls to nodes that cannot understand them end with
	// [ErrUnavailable] instead of [ErrTimeout]. Default: not known.
	Modes func(ctx context.Context) (map[string]link.Mode, error)

	// Connections is needed for calls to connections only.
	Connections Connections

	// CallsOnly has the endpoint make calls and receive their replies, and leave the calls of
	// others alone, those to all too: its process is no node.
	CallsOnly bool

	// BaseContext, when set, returns the context that methods run under; every Serve
	// calls it. Default: Serve's own. In both cases it ends with Serve.
	BaseContext func() context.Context

	// Timeout bounds calls whose context has no deadline. Default 5 s.
	Timeout time.Duration

	// MaxCalls is how many calls may run on this node at once; more are answered
	// with [ErrBusy]. One caller gets at most three quarters of them, and less the fewer
	// are free. Calls of control methods do not count: 64 of these may run. Default 1024.
	MaxCalls int

	// OnLog, when set, gets every text that a node sends to api.log. If it returns true,
	// the text is not written to Log.
	OnLog func(from redisbus.Identity, text string) bool

	// CallMiddleware and MethodMiddleware wrap the calls that this endpoint makes and
	// the methods that it answers; the first is the outermost.
	CallMiddleware   []CallMiddleware
	MethodMiddleware []MethodMiddleware

	// Observer, when set, is notified of ended calls. Default none.
	Observer Observer

	// Log gets panics of methods and the texts that nodes send to api.log.
	Log zerolog.Logger
}

func (c Config) withDefaults() Config {
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	if c.MaxCalls <= 0 {
		c.MaxCalls = DefaultMaxCalls
	}
	if c.Registry == nil {
		c.Registry = NewRegistry()
	}
	return c
}

// Endpoint answers the calls that a node receives, and makes the node's own calls. It is
// safe for concurrent use.
type Endpoint struct {
	cfg      Config
	self     redisbus.Identity
	registry *Registry
	log      zerolog.Logger

	send    CallFunc // with the middleware around it
	wrapped sync.Map // method names to their MethodFunc with the middleware around it

	group redisbus.Group // counts the methods that run
	calls *slots
	steer *slots // of control methods
	pool  goroutinePool
	serve sync.Mutex
	base  atomic.Pointer[context.Context] // nil while Serve does not run
	stats counters

	known knownModes

	ready     chan struct{}
	readyOnce sync.Once

	mu      sync.Mutex
	pending map[string]waiter
	closed  bool // Serve has ended: no reply can come any more
}

// New returns an endpoint that answers nothing until [Endpoint.Serve]. Its
// error reports everything that is wrong with the registrations.
func New(cfg Config) (*Endpoint, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("rpc: %w", err)
	}
	e := &Endpoint{
		cfg: cfg, self: cfg.Bus.Identity(), registry: cfg.Registry.Extend(), log: cfg.Log, pending: map[string]waiter{},
		calls: newSlots(cfg.MaxCalls), steer: newSlots(maxControl),
		ready: make(chan struct{}), known: knownModes{reading: make(chan struct{}, 1)},
	}
	e.send = e.wrapSend(e.sendRequest)
	if !cfg.CallsOnly {
		e.registerBuiltins()
	}
	if err := e.registry.Err(); err != nil {
		return nil, fmt.Errorf("rpc: %w", err)
	}
	return e, nil
}

// ErrServing is returned by a second [Endpoint.Serve] beside a running one.
var ErrServing = errors.New("the endpoint is being served already")

// Serve answers calls (see [Config].CallsOnly) and receives replies until ctx ends. Then it answers [ErrBusy]
// to new calls, cancels the methods that run and returns when they have returned. Its
// error is nil, [ErrServing], or a redisbus.StuckError that names the methods which
// did not return.
func (e *Endpoint) Serve(ctx context.Context) error {
	if !e.serve.TryLock() {
		return ErrServing
	}
	defer e.serve.Unlock()
	base := ctx
	if e.cfg.BaseContext != nil {
		base = e.cfg.BaseContext() //nolint:contextcheck // Config.BaseContext replaces ctx for methods
	}
	base, cancel := context.WithCancel(base)
	defer cancel()
	e.group.Open()
	e.pool.open()
	e.base.Store(&base)
	e.openWaiters()
	if !e.cfg.CallsOnly {
		calls := e.cfg.Bus.Subscribe(CallType, e.receiveCall, redisbus.SubscribeOptions{Inline: true})
		defer calls.Close()
	}
	replies := e.cfg.Bus.Subscribe(ReplyType, e.receiveReply, redisbus.SubscribeOptions{Inline: true})
	e.readyOnce.Do(func() { close(e.ready) })
	<-ctx.Done()
	cancel()
	err := e.group.Close(redisbus.StopGrace)
	e.pool.close()
	if err == nil {
		e.pool.running.Wait()
	}
	replies.Close()
	e.closeWaiters()
	e.base.Store(nil)
	return err
}

// Ready is closed once Serve receives calls and replies. Calls that come before are
// lost: wait for it, and for the bus's own Ready, before the node is announced.
func (e *Endpoint) Ready() <-chan struct{} { return e.ready }

// Self returns the identity of the endpoint: the sender of its calls.
func (e *Endpoint) Self() redisbus.Identity { return e.self }

// Methods returns the methods that this node answers.
func (e *Endpoint) Methods() []Method { return e.registry.Methods() }

// Stats has an endpoint's counts since [New].
type Stats struct {
	// Calls counts the calls that were run, Expired those that came after their
	// deadline, Malformed those that could not be read.
	Calls, Expired, Malformed uint64
	// Stray counts replies that came late, twice, or from a node that was not asked.
	Stray uint64
	// Running and Waiting are the methods that run and the calls that wait at present.
	Running, Waiting int
}

type counters struct{ calls, expired, malformed, stray atomic.Uint64 }

// Stats returns the current counts.
func (e *Endpoint) Stats() Stats {
	e.mu.Lock()
	waiting := len(e.pending)
	e.mu.Unlock()
	return Stats{
		Calls: e.stats.calls.Load(), Expired: e.stats.expired.Load(), Malformed: e.stats.malformed.Load(),
		Stray: e.stats.stray.Load(), Running: e.group.Running(), Waiting: waiting,
	}
}
