package worker

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/worker/builtin"
	"github.com/stellarfw/stellar/worker/group"
	"github.com/stellarfw/stellar/worker/internal/history"
	"github.com/stellarfw/stellar/worker/internal/runner"
	"github.com/stellarfw/stellar/worker/membership"
	"github.com/stellarfw/stellar/worker/tasks"
	"github.com/stellarfw/stellar/worker/timeline"
)

// HostConfig configures a [Host].
type HostConfig struct {
	Redis link.Config
	App   *App
	Times membership.Times
	Cache CacheConfig
	// ZombieLimit is how many handlers may outlive their nodes before the nodes
	// claim no more tasks. Default [DefaultZombieLimit]; negative for no limit.
	ZombieLimit int
	// Set has the operations on the set of the host's nodes, for the methods api.set.*.
	// Nil: the nodes have no such methods.
	Set builtin.Controls
	// Observer, when set, is notified of the events of the nodes.
	Observer Observer
	// Program is the program's name in the member records: where nobody chose a namespace,
	// a log line tells of the nodes of programs with other names. Default: the last element
	// of the main module's path in the build information.
	Program string
	// Version is the program's version in the member records. Default: the version of the
	// main module in the build information.
	Version string
	// Guarded is the process's place under a guardian, for the member records.
	Guarded membership.Guarded
	Log     zerolog.Logger
}

// Host does the work that the nodes of one process share: it renews their leases, moves
// delayed tasks, enqueues periodic tasks, and takes over from incarnations of dead
// processes. It has Redis connections of its own, so that no handler can starve it.
type Host struct {
	cfg          HostConfig
	client       *redis.Client // joins, hand-overs, delayed tasks
	heart        *redis.Client // heartbeats and probes alone, so that nothing holds them up
	listener     *redis.Client
	sender       *redis.Client // enqueues, cache requests and messages of all nodes
	batcher      *cache.Batcher
	outbox       *redisbus.Outbox
	tasks        *tasks.Client // which the nodes' clients are branches of
	keys         link.Keys
	directory    membership.Directory
	keeper       *membership.Keeper
	mover        *runner.Mover
	publisher    *runner.Publisher
	ticker       *runner.Ticker
	settler      *settler // of ended nodes
	recorder     *timeline.Recorder
	charts       *history.Collector
	observer     Observer // of all but the runs, enqueues, calls and cache operations: the configured one, and the timeline
	process      membership.Process
	log          zerolog.Logger
	reports      *link.Reports // of Redis's failures, shared by the nodes
	beacons      *redisbus.Beacons
	broadcasts   *redisbus.Broadcasts
	inboxes      *redisbus.Inboxes
	dropWarnings *redisbus.DropWarnings

	announcer *announcer
	starts    turns       // of the nodes that join and connect
	endings   turns       // of the nodes that resign or are handed over
	noticed   atomic.Bool // a node has looked for other processes that do not go with this one
	endpoints endpoints
	leaves    *leaves

	bus         *redisbus.Bus
	rpc         *rpcregistry.Endpoint // only calls out: it is not served
	solo        runner.Solo
	flow        runner.Flow
	warnings    runner.Warnings
	claims      claimGate
	zombies     zombies
	probe       redisProbe
	waiting     context.Context //nolint:containedctx // ends when the host waits for zombies no longer
	stopWaiting context.CancelFunc
}

// NewHost returns a host that has not connected to Redis yet. Its error reports everything
// that is wrong with the configuration.
func NewHost(cfg HostConfig) (*Host, error) {
	if err := errors.Join(cfg.Redis.Validate(), cfg.Cache.Validate(), cfg.App.Err()); err != nil {
		return nil, err
	}
	if err := cfg.App.methods.CheckDenials(append(builtin.Names(), rpcregistry.Builtins()...)); err != nil {
		return nil, err
	}
	cfg.Redis = cfg.Redis.Sealed()
	cfg.App.seal()
	h := &Host{
		cfg: cfg, keys: cfg.Redis.Keys(), log: cfg.Log, reports: link.NewReports(cfg.Log),
		beacons: redisbus.NewBeacons(), broadcasts: redisbus.NewBroadcasts(), announcer: newAnnouncer(), leaves: newLeaves(),
		starts: make(turns, startTurns), endings: make(turns, endTurns),
	}
	h.zombies.limit, h.zombies.left = cmp.Or(cfg.ZombieLimit, DefaultZombieLimit), map[*abandoned]struct{}{}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	program, version := build()
	h.process = membership.Process{
		Host: host, PID: os.Getpid(), Program: cmp.Or(cfg.Program, program), Version: cmp.Or(cfg.Version, version), Layout: link.Layout,
		Lease: h.lease().Milliseconds(), TokenMode: cmp.Or(cfg.Redis.TokenMode, link.ModeHMAC), OwnInbox: true,
		Guarded: cfg.Guarded,
	}
	if h.client, err = link.OpenClient(cfg.Redis, "stellar:host"); err != nil {
		return nil, err
	}
	if h.heart, err = link.OpenClient(cfg.Redis, "stellar:host:heartbeat"); err != nil {
		return nil, errors.Join(err, h.client.Close())
	}
	if h.listener, err = link.OpenClient(cfg.Redis, "stellar:host:subscriber"); err != nil {
		return nil, errors.Join(err, h.client.Close(), h.heart.Close())
	}
	if h.sender, err = link.OpenClient(cfg.Redis, "stellar:host:sender"); err != nil {
		return nil, errors.Join(err, h.client.Close(), h.heart.Close(), h.listener.Close())
	}
	h.recorder = timeline.NewRecorder(h.client, h.keys, timelineProcess(h.process), cfg.Log)
	h.recorder.Reports = h.reports
	h.observer = Observers(cfg.Observer, newRecording(h.recorder))
	h.reports.Observer = h.observer
	h.charts = history.NewCollector(h.client, h.keys)
	h.charts.Reports = h.reports
	h.directory = membership.Directory{Client: h.client, Keys: h.keys, OnAlien: h.reports.Alien}
	h.dropWarnings = redisbus.NewDropWarnings(cfg.Log)
	h.inboxes = redisbus.NewInboxes(h.directory.Inbox, inboxAge)
	h.keeper = membership.NewKeeper(h.directory, cfg.Times, cfg.Log)
	h.keeper.Reports, h.keeper.Renewals = h.reports, h.heart
	h.batcher, h.outbox = cache.NewBatcher(h.sender), redisbus.NewOutbox(h.sender)
	h.settler = &settler{
		client: h.client, keys: h.keys, directory: h.directory, reports: h.reports, observer: h.observer,
		cache: cfg.Cache.open(cache.Config{Client: h.client, Batcher: h.batcher, Keys: h.keys, Reports: h.reports, Log: cfg.Log}),
		left: func(i membership.Incarnation) {
			h.inboxes.Forget(i.ID)
			h.leaves.add(redisbus.Identity{ID: i.ID, Incarnation: i.String()})
		},
	}
	h.mover = runner.NewMover(h.client, h.keys, cfg.Log)
	h.mover.OnCancel, h.mover.Reports, h.mover.Observer = h.claims.cancel, h.reports, h.observer
	h.mover.Warnings = &h.warnings
	h.publisher = runner.NewPublisher(h.client, h.keys, &cfg.App.tasks, h.process.Version, cfg.Log)
	h.publisher.Reports = h.reports
	h.ticker = runner.NewTicker(h.client, h.keys, &cfg.App.tasks, cfg.Log)
	h.ticker.Reports, h.ticker.Observer = h.reports, cfg.Observer
	return h, nil
}

// Process describes the process that the nodes live in.
func (h *Host) Process() membership.Process { return h.process }

// Aliens counts, by key, the entries on Redis that are not ours and that were passed over.
func (h *Host) Aliens() map[string]int { return h.reports.Aliens() }

// Pool returns the sockets of the host's own connections to Redis.
func (h *Host) Pool() (p link.Pool) {
	for _, client := range []*redis.Client{h.client, h.heart, h.listener, h.sender} {
		p.Add(client)
	}
	return p
}

// Inspector returns an inspector of the namespace, on a connection of the host.
func (h *Host) Inspector() *tasks.Inspector {
	i := tasks.NewInspector(h.client, h.keys)
	i.Observe(h.cfg.Observer)
	return i
}

// Directory lists the members of the cluster.
func (h *Host) Directory() membership.Directory { return h.directory }

// Open waits until Redis answers or ctx ends, checks the layout of the namespace's data and
// learns the cluster's token. The error is a *link.LayoutError if this program must not
// work with the data.
func (h *Host) Open(ctx context.Context) error {
	if err := h.reports.Retry(ctx, "start", func(ctx context.Context) error { return h.client.Ping(ctx).Err() }); err != nil {
		return fmt.Errorf("redis at %s: %w", h.cfg.Redis.Address(), err)
	}
	if err := h.reports.Retry(ctx, "start", h.directory.AdmitNode); err != nil {
		return err
	}
	token, err := h.clusterToken(ctx)
	if err != nil {
		return err
	}
	if h.cfg.Redis.Token.IsZero() && h.cfg.Redis.URL != "" {
		h.log.Warn().Str("key", h.keys.Token()).Msg("no token is configured: the cluster's token is kept on Redis, in clear. " +
			"So messages are safe from those who can publish there, and not from those who can read the namespace's keys: " +
			"set a token (STELLAR_TOKEN; Redis.Token in Go), or ignore this if nobody else reads this Redis")
	}
	if err := h.cfg.Redis.WeakTokens(); err != nil {
		h.log.Warn().Err(err).Msg("the token can be guessed; it is taken as it is, for nodes of another implementation")
	}
	if err := h.reports.Retry(ctx, "definitions", h.publisher.Publish); err != nil {
		h.reports.Failed("definitions", err) // the publisher tries again
	}
	if err := h.reports.Retry(ctx, "defaults", h.ticker.Learn); err != nil {
		h.log.Warn().Err(err).Msg("the defaults of queues cannot be read: the definitions of tasks count until they can")
	}
	h.waiting, h.stopWaiting = context.WithCancel(context.WithoutCancel(ctx))
	h.tasks = tasks.NewClient(context.WithoutCancel(ctx), h.sender, h.keys, &h.cfg.App.tasks)
	h.tasks.Observe(h.cfg.Observer)
	h.tasks.Report(h.reports)
	h.probe.answered()
	id := hostPrefix + strings.ToLower(rand.Text()[:12])
	cfg := redisbus.NewBusConfig(h.cfg.Redis, token)
	cfg.Publisher, cfg.Subscriber, cfg.Outbox, cfg.Identity = h.client, h.listener, h.outbox, redisbus.Identity{ID: id}
	cfg.DropWarnings = h.dropWarnings
	cfg.InboxOnly, cfg.SharedInbox, cfg.Log, cfg.Reports, cfg.Beacons, cfg.Observer =
		true, hostsInbox, h.log, h.reports, h.beacons, h.observer
	h.bus, err = redisbus.NewBus(cfg)
	if err != nil {
		return err
	}
	h.bus.Hint(h.keys.Due(), h.mover.Hint)
	h.bus.Hint(h.keys.Look(), h.mover.Look)
	h.bus.Hint(h.keys.Set(), h.ticker.Look)
	h.bus.Hint(h.keys.Program(id), func() { h.ticker.Listens(id) })
	h.bus.Subscribe(membersLeft, h.relayLeaves, redisbus.SubscribeOptions{Inline: true})
	h.rpc, err = rpcregistry.New(rpcregistry.Config{Bus: h.bus, Log: h.log})
	return err
}

// clusterToken returns the token of the cluster's messages, and repeats the request while
// Redis is away.
func (h *Host) clusterToken(ctx context.Context) (token link.Secret, err error) {
	err = h.reports.Retry(ctx, "start", func(ctx context.Context) error {
		token, err = redisbus.Token(ctx, h.client, h.keys, h.cfg.Redis.Token)
		return err
	})
	return token, err
}

// Serve does the host's work until ctx ends. If one part of it fails, Serve ends all parts
// and returns the error: the supervisor calls it again.
func (h *Host) Serve(ctx context.Context) error {
	g := group.New(ctx)
	g.Go("heartbeat", h.keeper.Serve)
	g.Go("mover", h.mover.Serve)
	g.Go("definitions", h.publisher.Serve)
	g.Go("ticker", h.ticker.Serve)
	g.Go("reaper", h.reap)
	g.Go("bus", h.bus.Serve)
	g.Go("redis probe", h.probeRedis)
	g.Go("announcer", h.announce)
	g.Go("leaves", h.tellLeaves)
	g.Go("timeline", h.recorder.Serve)
	g.Go("history", h.charts.Serve)
	err := g.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	_ = link.Sleep(ctx, time.Second) // a part that fails every time must not spin
	return err
}

// String names the service in the supervisor's log.
func (h *Host) String() string { return "host" }

// Close waits at most for the duration wait until the handlers that outlived their nodes
// have returned, and closes the connections.
func (h *Host) Close(wait time.Duration) error {
	done := make(chan struct{})
	go func() { h.zombies.waits.Wait(); close(done) }()
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	}
	if h.stopWaiting != nil {
		h.stopWaiting()
		<-done
	}
	if h.tasks != nil {
		h.tasks.Close()
	}
	h.outbox.Close()
	return errors.Join(h.client.Close(), h.heart.Close(), h.listener.Close(), h.sender.Close())
}
