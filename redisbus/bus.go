package redisbus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/redisbus/link"
)

// BusConfig is what a [Bus] needs.
type BusConfig struct {
	// Publisher sends, Subscriber listens: two of a node's [Connections]. A
	// connection that listens cannot do anything else.
	Publisher, Subscriber redis.UniversalClient

	// Keys names the cluster's channels.
	Keys link.Keys

	// Identity is whose messages the bus sends and whose inbox it hears.
	Identity Identity

	// Token authenticates messages (see [Token]). AlsoAccept, when set, is
	// accepted as well, so that a running cluster can change its token: first
	// every node accepts the new one, then every node signs with it and still
	// accepts the old one, then the old one goes.
	Token, AlsoAccept link.Secret

	// TokenKept says that Token is the one that the cluster keeps in Redis. Should
	// Redis lose it, the bus puts it back; should another one be there then, because
	// a node drew it meanwhile, the bus takes that one and accepts its own as well.
	TokenKept bool

	// Mode is how messages prove that their sender knows the token. Default [ModeHMAC].
	Mode link.Mode

	// InboxOnly leaves the broadcast channel out: for a command, which is no
	// member and answers no broadcast, but wants replies.
	InboxOnly bool

	// BaseContext, when set, gives the context that handlers run under, asked for
	// at every Serve. Default: the values of Serve's own. Either ends with Serve.
	BaseContext func() context.Context

	// PublishMiddleware and SubscriptionMiddleware wrap what is published and the
	// handlers of subscriptions; the first is the outermost.
	PublishMiddleware      []PublishMiddleware
	SubscriptionMiddleware []SubscriptionMiddleware

	// Log gets reconnections, dropped messages (one line for many) and panics.
	Log zerolog.Logger

	// Reports, when set, are those of the process, so that many buses write one
	// pubsub when Redis is away. Default: the bus's own, to Log.
	Reports *link.Reports

	// Beacons, when set, are those of the process. Default: the bus's own.
	Beacons *Beacons
}

// NewBusConfig returns the part of a bus's configuration that comes from the
// cluster's; token is what [Token] returned for it.
func NewBusConfig(c link.Config, token link.Secret) BusConfig {
	return BusConfig{
		Keys: c.Keys(), Token: token, TokenKept: c.Token.IsZero(), AlsoAccept: c.AlsoAccept, Mode: c.TokenMode,
	}
}

// Bus is a node's publish/subscribe: at most once, and never a loss in silence
// (see [Gap]). It is safe for concurrent use. Publishing works also while Serve
// does not run.
type Bus struct {
	publisher  redis.UniversalClient
	subscriber *redis.Client
	keys       link.Keys
	self       Identity
	header     header
	prover     atomic.Pointer[prover]
	token      link.Secret // which the prover signs with; only the watchdog uses it
	tokenKept  bool
	inboxOnly  bool
	base       func() context.Context
	log        zerolog.Logger
	reports    *link.Reports
	beacons    *Beacons

	publish                PublishFunc // with the middleware around it
	publishMiddleware      []PublishMiddleware
	subscriptionMiddleware []SubscriptionMiddleware

	clock  *clock
	out    outbox
	sealed atomic.Uint64
	drops  drops
	group  Group
	serve  sync.Mutex

	ready     chan struct{}
	readyOnce sync.Once
	pubsub    pubsubState

	mu    sync.Mutex
	hints map[string][]func()
	subs  atomic.Pointer[map[string][]*Subscription]
}

// ErrServing is what a second [Bus.Serve] beside a running one ends with.
var ErrServing = errors.New("the bus is being served already")

// NewBus returns a bus that hears nothing until [Bus.Serve]. Its error reports
// everything that is wrong with the configuration.
func NewBus(cfg BusConfig) (*Bus, error) {
	if cfg.Identity.Incarnation == "" {
		cfg.Identity.Incarnation = cfg.Identity.ID
	}
	prover, err := newProver(cfg.Mode, cfg.Token, cfg.AlsoAccept)
	errs := []error{
		err, cfg.Identity.validate(),
		checkMiddleware("publish", cfg.PublishMiddleware), checkMiddleware("subscription", cfg.SubscriptionMiddleware),
	}
	subscriber, ok := cfg.Subscriber.(*redis.Client)
	if cfg.Publisher == nil || cfg.Subscriber == nil {
		errs = append(errs, errors.New("a bus needs a publisher and a subscriber"))
	} else if !ok {
		errs = append(errs, fmt.Errorf("a bus cannot listen through a %T", cfg.Subscriber))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	b := &Bus{
		publisher: cfg.Publisher, subscriber: subscriber, keys: cfg.Keys, self: cfg.Identity,
		header: newHeader(cfg.Identity), inboxOnly: cfg.InboxOnly, base: cfg.BaseContext, log: cfg.Log,
		token: cfg.Token, tokenKept: cfg.TokenKept, clock: newClock(), ready: make(chan struct{}), hints: map[string][]func(){},
		publishMiddleware: cfg.PublishMiddleware, subscriptionMiddleware: cfg.SubscriptionMiddleware,
	}
	b.publish = b.wrapPublish(b.postAndWait)
	if b.reports = cfg.Reports; b.reports == nil {
		b.reports = link.NewReports(cfg.Log)
	}
	if b.beacons = cfg.Beacons; b.beacons == nil {
		b.beacons = NewBeacons()
	}
	b.prover.Store(prover)
	b.drops.log = cfg.Log
	b.out.client = cfg.Publisher
	b.subs.Store(&map[string][]*Subscription{})
	b.pubsub.peers = newPeers()
	b.pubsub.changed = make(chan struct{}, 1)
	b.pubsub.confirmed = map[string]bool{}
	return b, nil
}

// reportName and tokenPart name the bus in reports, and its upkeep of the token.
func (b *Bus) reportName() string { return "bus of " + b.self.ID }

func (b *Bus) tokenReportName() string { return "token of " + b.self.ID }

// Identity is whose messages the bus sends.
func (b *Bus) Identity() Identity { return b.self }

// Now is the time on Redis's clock, as last read from it: before Serve has
// connected, the host's.
func (b *Bus) Now() time.Time { return b.clock.now() }

// Ready is closed once Redis has confirmed the bus's subscriptions for the first time.
func (b *Bus) Ready() <-chan struct{} { return b.ready }

// BusStats are counts since [NewBus].
type BusStats struct {
	// Received are the messages delivered or without a subscription here.
	Received uint64 `json:"received"`
	// Reconnects are the interruptions of the subscription.
	Reconnects uint64 `json:"reconnects"`
	// Dropped are the messages not delivered, by reason.
	Dropped map[Drop]uint64 `json:"dropped"`
	// Connected: Redis has confirmed the subscriptions and is heard.
	Connected bool `json:"connected"`
}

// Stats returns the current counts.
func (b *Bus) Stats() BusStats {
	return BusStats{
		Received: b.pubsub.received.Load(), Reconnects: b.pubsub.reconnects.Load(), Dropped: b.drops.totals(),
		Connected: b.pubsub.connected.Load(),
	}
}

// Subscribe calls handle for every message of that type from now on, also before
// Serve and while it runs. Several subscriptions may have the same type.
func (b *Bus) Subscribe(messageType string, handle Handler, options SubscribeOptions) *Subscription {
	if options.Buffer <= 0 {
		options.Buffer = DefaultBuffer
	}
	if !options.Inline {
		handle = b.wrapHandler(handle)
	}
	s := &Subscription{bus: b, kind: messageType, handle: handle, options: options}
	b.change(func(subs map[string][]*Subscription) {
		subs[messageType] = append(slices.Clone(subs[messageType]), s)
	})
	return s
}

func (b *Bus) forget(s *Subscription) {
	b.change(func(subs map[string][]*Subscription) {
		left := slices.DeleteFunc(slices.Clone(subs[s.kind]), func(other *Subscription) bool { return other == s })
		if len(left) == 0 {
			delete(subs, s.kind)
		} else {
			subs[s.kind] = left
		}
	})
}

// change replaces the subscriptions by a copy, so that the reader needs no lock.
func (b *Bus) change(f func(map[string][]*Subscription)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	subs := maps.Clone(*b.subs.Load())
	f(subs)
	b.subs.Store(&subs)
}

// Hint calls f for every message on a channel whose messages carry nothing and
// therefore need no proof ([Keys.Wake], [Keys.Due]), and whenever the channel
// has been subscribed (again), because hints may have been missed before. f must
// not block. The hint stays for the bus's life.
func (b *Bus) Hint(channel string, f func()) {
	b.mu.Lock()
	b.hints[channel] = append(slices.Clone(b.hints[channel]), f)
	b.mu.Unlock()
	b.wakeWatchdog()
}
