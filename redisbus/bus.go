package redisbus

import (
	"cmp"
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

// BusConfig configures a [Bus].
type BusConfig struct {
	// Publisher sends, Subscriber listens: two of a node's [link.Connections].
	// The bus dials with the options of Subscriber.
	Publisher, Subscriber *redis.Client

	// Outbox, when set, is shared by the buses of the process. Default: the bus's own, which
	// connects as Publisher does.
	Outbox *Outbox

	// Keys names the cluster's channels.
	Keys link.Keys

	// Identity is the sender of the bus's messages; its incarnation names the inbox.
	Identity Identity

	// Inboxes, when set, are shared by the buses of the process. With them, messages to a node
	// are meant for one of its lives: their proof covers the incarnation, so that the next life
	// cannot be made to accept what was recorded. Default: messages to a node go to its id.
	Inboxes *Inboxes

	// Token authenticates messages (see [Token]). AlsoAccept, when set, is
	// accepted as well, so that a running cluster can change its token: first
	// every node accepts the new one, then every node signs with it and still
	// accepts the old one, then the old one goes.
	Token, AlsoAccept link.Secret

	// Learn, in the place of Token, makes the bus lazy: Serve dials nothing before the
	// bus's first use (see [Bus.Await]), and then calls Learn until Learn returns the
	// token. Publish and Send wait for the token; Post and Seal, which do not wait,
	// return link.ErrUnavailable meanwhile.
	Learn func(context.Context) (link.Secret, error)

	// TokenKept: Token is the random token that the cluster keeps in Redis (see [Token]). The
	// bus looks once a minute. If there is a new token, it signs with that one and
	// accepts the old one for one minute more. If Redis has lost the token, the bus writes it
	// again, unless it has Learn.
	TokenKept bool

	// Mode is how messages prove that their sender knows the token. Default [ModeHMAC].
	Mode link.Mode

	// InboxOnly subscribes to the inbox alone and not to the channel of all nodes. It is
	// for a command, which is no member of the cluster and needs only the replies to its
	// calls.
	InboxOnly bool

	// SharedInbox, when set, is the id of a second inbox. Each bus that has it gets the
	// messages that are sent to it (see [PublishOptions].Node).
	SharedInbox string

	// BaseContext, when set, returns the context that handlers run under; every Serve
	// calls it. Default: Serve's own. In both cases it ends with Serve.
	BaseContext func() context.Context

	// PublishMiddleware and SubscriptionMiddleware wrap what is published and the
	// handlers of subscriptions; the first is the outermost.
	PublishMiddleware      []PublishMiddleware
	SubscriptionMiddleware []SubscriptionMiddleware

	// Observer, when set, is notified of dropped messages. Default none.
	Observer Observer

	// Log gets reconnections, dropped messages (one line for many) and panics.
	Log zerolog.Logger

	// Reports, when set, are shared by the buses of the process, so that all of them
	// together write one log line when Redis is away. Default: the bus's own, to Log.
	Reports *link.Reports

	// DropWarnings, when set, are shared by the buses of the process, so that a flood of
	// messages that all drop is one log line. Default: the bus's own, to Log.
	DropWarnings *DropWarnings

	// Beacons, when set, are shared by the buses of the process. Default: the bus's own.
	Beacons *Beacons

	// Broadcasts, when set, are shared by the buses of the process. Default: the bus's own.
	Broadcasts *Broadcasts
}

// NewBusConfig returns the part of a bus's configuration that follows from the
// cluster's configuration c; token is the result of [Token] for c.
func NewBusConfig(c link.Config, token link.Secret) BusConfig {
	return BusConfig{
		Keys: c.Keys(), Token: token, TokenKept: c.Token.IsZero(), AlsoAccept: c.AlsoAccept, Mode: c.TokenMode,
	}
}

// Bus is a node's publish/subscribe. Messages are delivered at most once; subscriptions
// are notified of every loss (see [Gap]). A Bus is safe for concurrent use. Publishing
// works also while Serve does not run.
type Bus struct {
	publisher  *redis.Client
	subscriber *redis.Client
	keys       link.Keys
	self       Identity
	header     header
	prover     atomic.Pointer[prover]
	opening    *lazyToken  // nil if the token was known from the start
	checking   sync.Mutex  // held while the token is looked up
	token      link.Secret // the prover signs with it; guarded by checking once Serve listens
	also       link.Secret // that is accepted as well
	tokenKept  bool
	mode       link.Mode
	inboxOnly  bool
	shared     string   // the id of the shared inbox, "" for none
	inboxes    *Inboxes // nil: messages to a node go to its id
	inbox      string   // the channel of the inbox of this incarnation
	base       func() context.Context
	log        zerolog.Logger
	reports    *link.Reports
	beacons    *Beacons
	broadcasts *Broadcasts

	publish                PublishFunc // with the middleware around it
	publishMiddleware      []PublishMiddleware
	subscriptionMiddleware []SubscriptionMiddleware

	clock  *clock
	out    *lane
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

// ErrServing is returned by a second [Bus.Serve] beside a running one.
var ErrServing = errors.New("the bus is being served already")

// NewBus returns a bus that receives nothing until [Bus.Serve]. Its error reports
// everything that is wrong with the configuration.
func NewBus(cfg BusConfig) (*Bus, error) {
	if cfg.Identity.Incarnation == "" {
		cfg.Identity.Incarnation = cfg.Identity.ID
	}
	errs := []error{
		cfg.Identity.validate(),
		checkMiddleware("publish", cfg.PublishMiddleware), checkMiddleware("subscription", cfg.SubscriptionMiddleware),
	}
	var known *prover
	var opens *lazyToken
	if cfg.Token.IsZero() && cfg.Learn != nil {
		opens = newLazyToken(cfg)
	} else {
		var err error
		known, err = newProver(cfg.Mode, cfg.Token, cfg.AlsoAccept)
		errs = append(errs, err)
	}
	if cfg.Publisher == nil || cfg.Subscriber == nil {
		errs = append(errs, errors.New("a bus needs a publisher and a subscriber"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	b := &Bus{
		publisher: cfg.Publisher, subscriber: cfg.Subscriber, keys: cfg.Keys, self: cfg.Identity,
		header: newHeader(cfg.Identity), inboxOnly: cfg.InboxOnly, shared: cfg.SharedInbox,
		inboxes: cfg.Inboxes, inbox: cfg.Keys.Inbox(cfg.Identity.Incarnation),
		base: cfg.BaseContext, log: cfg.Log,
		token: cfg.Token, also: cfg.AlsoAccept, tokenKept: cfg.TokenKept, mode: cmp.Or(cfg.Mode, link.ModeHMAC), clock: newClock(),
		ready: make(chan struct{}), hints: map[string][]func(){},
		drops:             drops{warnings: cfg.DropWarnings, observer: cfg.Observer, total: map[Drop]uint64{}},
		publishMiddleware: cfg.PublishMiddleware, subscriptionMiddleware: cfg.SubscriptionMiddleware,
	}
	b.publish = b.wrapPublish(b.postAndWait)
	if b.reports = cfg.Reports; b.reports == nil {
		b.reports = link.NewReports(cfg.Log)
	}
	if b.drops.warnings == nil {
		b.drops.warnings = NewDropWarnings(cfg.Log)
	}
	if b.beacons = cfg.Beacons; b.beacons == nil {
		b.beacons = NewBeacons()
	}
	if b.broadcasts = cfg.Broadcasts; b.broadcasts == nil {
		b.broadcasts = &Broadcasts{}
	}
	b.prover.Store(known)
	b.opening = opens
	b.out = &lane{Outbox: cmp.Or(cfg.Outbox, NewOutbox(cfg.Publisher)), alone: cfg.Outbox == nil}
	b.subs.Store(&map[string][]*Subscription{})
	b.pubsub.peers = newPeers()
	b.pubsub.changed = make(chan struct{}, 1)
	b.pubsub.confirmed = map[string]bool{}
	return b, nil
}

// reportName names the bus's connection in reports.
func (b *Bus) reportName() string { return "bus of " + b.self.ID }

// tokenReportName names the bus's checks of the cluster's token in reports.
func (b *Bus) tokenReportName() string { return "token of " + b.self.ID }

// Identity returns the sender of the bus's messages.
func (b *Bus) Identity() Identity { return b.self }

// Mode returns how the bus proves its messages.
func (b *Bus) Mode() link.Mode { return b.mode }

// Now returns the time on Redis's clock, as estimated from the last reading. Before Serve
// has connected it returns the host's time.
func (b *Bus) Now() time.Time { return b.clock.now() }

// Ready is closed once Redis has confirmed the bus's subscriptions for the first time.
func (b *Bus) Ready() <-chan struct{} { return b.ready }

// BusStats has a bus's counts since [NewBus].
type BusStats struct {
	// Received counts valid messages, also those without a subscription here.
	Received uint64 `json:"received"`
	// Reconnects counts the interruptions of the subscribed connection.
	Reconnects uint64 `json:"reconnects"`
	// Dropped counts the messages that were not delivered, by reason.
	Dropped map[Drop]uint64 `json:"dropped"`
	// Connected: Redis has confirmed the subscriptions, and the connection works.
	Connected bool `json:"connected"`
}

// Close refuses further messages, with [link.ErrUnavailable] and [ErrClosed]. Call it after
// Serve has returned.
func (b *Bus) Close() { b.out.close() }

// Stats returns the current counts.
func (b *Bus) Stats() BusStats {
	return BusStats{
		Received: b.pubsub.received.Load(), Reconnects: b.pubsub.reconnects.Load(), Dropped: b.drops.totals(),
		Connected: b.pubsub.connected.Load(),
	}
}

// Subscribe calls handle for every message of that type ([AnyType] for all) from now on, also
// before Serve and while it runs. Several subscriptions may have the same type.
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

// Hint calls f for every message on a channel whose messages are empty signals and
// therefore need no proof (link.Keys.Wake and Due), and whenever the channel has
// been subscribed (again), because signals may have been missed before. f must not
// block. There is no way to remove a hint.
func (b *Bus) Hint(channel string, f func()) {
	b.mu.Lock()
	b.hints[channel] = append(slices.Clone(b.hints[channel]), f)
	b.mu.Unlock()
	b.wakeWatchdog()
}
