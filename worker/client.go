package worker

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/worker/connections"
	"github.com/stellarfw/stellar/worker/membership"
	"github.com/stellarfw/stellar/worker/tasks"
	"github.com/stellarfw/stellar/worker/timeline"
)

// DefaultClientName is the name of a [Client] whose configuration has none.
const DefaultClientName = "stellar-client"

// ClientConfig configures a [Client]. Only Redis is required.
type ClientConfig struct {
	// Redis is the same configuration as that of the cluster's nodes.
	Redis link.Config
	// App, when set, is that of the nodes: its definitions give the tasks that the
	// client enqueues their queues and defaults, and its middleware wraps the
	// client's enqueues, calls, messages and subscriptions. Its handlers, methods, subscriptions and hooks are
	// not used. For other tasks, and without an App for all tasks, the client uses the
	// definitions that the nodes' programs have published on Redis, where they outlive the
	// nodes by 30 days. Without an App it refuses tasks that no program has defined.
	App *App
	// Name is the client's name in CLIENT LIST, and the beginning of the id that nodes see
	// as the sender of the client's calls and the holder of its locks. Default
	// [DefaultClientName].
	Name string
	// Cache is the same configuration as that of the nodes.
	Cache CacheConfig
	// Listen has the client's Bus receive the messages to all nodes, for subscriptions
	// with Bus.Subscribe; Bus.Await waits until it does. Default: the Bus receives only messages
	// to the client's own id.
	Listen bool
	// By is who works with the client, such as "ada@desk": the timeline has it beside what the
	// client does, also by calls. Default: the client's id.
	By string
	// Observer, when set, is notified of the client's ended enqueues, calls and cache operations,
	// and of messages that its Bus drops.
	Observer Observer
	// Log gets what no call can return, such as Redis failures in the background.
	// Default: nothing is logged.
	Log zerolog.Logger
}

func (c ClientConfig) validate() error {
	errs := []error{c.Redis.Validate(), c.Cache.Validate()}
	if c.App != nil {
		errs = append(errs, c.App.Err())
	}
	if !link.ValidName(c.Name) || len(c.Name) > maxClientName {
		errs = append(errs, fmt.Errorf("client name %q: use 1 to %d letters, digits and . _ : -", c.Name, maxClientName))
	}
	return errors.Join(errs...)
}

// maxClientName leaves room for the random end of the client's id.
const maxClientName = 180

// Client is for a program that is no node, such as a web server that enqueues
// tasks and waits for their results. It calls nodes and is never called, is no
// member of the cluster and runs no tasks. It is safe for concurrent use.
//
// A client can be made while Redis is away: connections are opened on first use, and again
// after an outage. While Redis is away,
//
//   - Tasks.Enqueue and Tasks.Wait wait as long as their context lasts,
//   - RPC's calls and the Bus's Publish and Send wait as long as their context
//     lasts, a call without a deadline for the endpoint's timeout (5 s), until
//     the client has reached Redis for the first time; later they fail at once,
//   - the Cache and everything else fail within two seconds,
//
// with an error that is link.ErrUnavailable, or link.ErrUnknownOutcome if the request may
// have been carried out. Calls and messages fail with redisbus.ErrNoToken where no node has ever
// been started in the namespace, unless a token is configured. A request whose context was cancelled before it was sent is
// link.ErrNotSent, which is no link.ErrUnavailable. If the namespace's data has a layout that the program does not
// know, everything fails with a *link.LayoutError.
type Client struct {
	Cache     *cache.Cache          // shared by the cluster
	Tasks     *tasks.Client         // enqueues tasks and waits for their ends
	Inspector *tasks.Inspector      // shows and changes stored tasks and queues
	Timeline  *timeline.Timeline    // shows what happened in the cluster
	Bus       *redisbus.Bus         // publishes; receives as ClientConfig.Listen says
	RPC       *rpcregistry.Endpoint // calls one node, a connection or all

	redis, subscriber *redis.Client
	directory         membership.Directory
	log               zerolog.Logger

	stop   context.CancelFunc
	served sync.WaitGroup
	once   sync.Once
	err    error // of closing
}

// Connect returns a client of the cluster in that namespace:
//
//	client, err := worker.Connect(ctx, link.Config{URL: url}, nil)
//	…
//	defer client.Close()
//	receipt, err := client.Tasks.Enqueue(ctx, "email.welcome", Welcome{To: to})
//
// It returns at once, also while Redis is away (see [Client]); its error is about
// the configuration. app may be nil: then the client finds on Redis how the nodes' programs
// define their tasks, and refuses others (see [ClientConfig]). The client works until ctx ends or [Client.Close] is
// called. Call Close in either case. [ConnectWith] has more settings.
func Connect(ctx context.Context, at link.Config, app *App) (*Client, error) {
	return ConnectWith(ctx, ClientConfig{Redis: at, App: app})
}

// ConnectWith is [Connect] with a configuration.
func ConnectWith(ctx context.Context, cfg ClientConfig) (*Client, error) {
	cfg.Name = cmp.Or(cfg.Name, DefaultClientName)
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg.Redis = cfg.Redis.Sealed()
	if cfg.App != nil {
		cfg.App.seal()
	}
	c := &Client{log: cfg.Log}
	var err error
	gate := &layoutGate{}
	if c.redis, err = link.OpenClient(cfg.Redis, cfg.Name, gate); err != nil {
		return nil, err
	}
	if c.subscriber, err = link.OpenClient(cfg.Redis, cfg.Name+":subscriber"); err != nil {
		return nil, errors.Join(err, c.redis.Close())
	}
	ctx, c.stop = context.WithCancel(ctx)
	if err := c.open(ctx, cfg, gate); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Client) open(ctx context.Context, cfg ClientConfig, gate *layoutGate) error {
	keys, app := cfg.Redis.Keys(), cmp.Or(cfg.App, NewApp())
	id := cfg.Name + "-" + strings.ToLower(rand.Text()[:12])
	c.directory = membership.Directory{Client: c.redis, Keys: keys}
	gate.check = c.directory.AdmitClient
	reports := link.NewReports(cfg.Log)
	c.directory.OnAlien = reports.Alien
	reports.Observer = cfg.Observer
	countDrop := func(reason redisbus.Drop) { c.Bus.CountDrop(reason) } // the bus is made below
	c.Cache = cfg.Cache.open(cache.Config{
		Client: c.redis, Keys: keys, Holder: id, Observer: cfg.Observer, Reports: reports, Log: cfg.Log, Dropped: countDrop,
	})
	if cfg.App == nil {
		c.Tasks = tasks.NewClient(ctx, c.redis, keys, nil)
	} else {
		c.Tasks = tasks.NewClient(ctx, c.redis, keys, &app.tasks)
		c.Tasks.Learn()
	}
	c.Tasks.LogTo(cfg.Log)
	c.Tasks.Observe(cfg.Observer)
	c.Tasks.Report(reports)
	c.Tasks.CountDrops(countDrop)
	c.Inspector = tasks.NewInspector(c.redis, keys)
	c.Inspector.Observe(cfg.Observer)
	c.Inspector.OnChange(c.writeChange)
	c.Timeline = timeline.New(c.redis, keys, cmp.Or(cfg.By, id), clientProcess())
	bus := redisbus.NewBusConfig(cfg.Redis, link.Secret{})
	bus.Publisher, bus.Subscriber, bus.InboxOnly, bus.Log = c.redis, c.subscriber, !cfg.Listen, cfg.Log
	bus.Identity = redisbus.Identity{ID: id}
	bus.PublishMiddleware, bus.SubscriptionMiddleware = app.middleware.publish, app.middleware.subscription
	bus.Observer, bus.Reports = cfg.Observer, reports
	bus.Inboxes = redisbus.NewInboxes(c.directory.Inbox, 0) // nobody tells a client of new lives
	bus.Learn = func(ctx context.Context) (link.Secret, error) {
		if err := gate.pass(ctx); err != nil {
			return link.Secret{}, err
		}
		return redisbus.KeptToken(ctx, c.redis, keys, cfg.Redis.Token)
	}
	var err error
	if c.Bus, err = redisbus.NewBus(bus); err != nil {
		return err
	}
	c.RPC, err = rpcregistry.New(rpcregistry.Config{
		Bus: c.Bus, Members: c.directory, Modes: c.directory.Modes, Connections: connections.NewDirectory(c.redis, keys), Log: cfg.Log,
		CallMiddleware: callsBy(cfg.By, app.middleware.call), Observer: cfg.Observer, CallsOnly: true,
	})
	if err != nil {
		return err
	}
	c.served.Go(func() { _ = c.Bus.Serve(ctx) })
	c.served.Go(func() { _ = c.RPC.Serve(ctx) })
	if cfg.Listen {
		c.served.Go(func() { _ = c.Bus.Await(ctx) }) // from its first use on the bus listens
	}
	if len(cfg.Cache.Near.Prefixes) > 0 {
		c.served.Go(func() { _ = c.Cache.Serve(ctx) })
	}
	<-c.RPC.Ready() // comes at once, also while Redis is away
	return nil
}

// Ping asks Redis whether it answers, for at most as long as ctx lasts and a few
// seconds. The error is link.ErrUnavailable, link.ErrUnknownOutcome, or a
// *link.LayoutError.
func (c *Client) Ping(ctx context.Context) error {
	if err := c.redis.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("ping: %w", link.Explain(err))
	}
	return nil
}

// Time returns the time on Redis's clock, on which all due times and expiries are.
func (c *Client) Time(ctx context.Context) (time.Time, error) {
	now, err := c.redis.Time(ctx).Result()
	if err != nil {
		return time.Time{}, fmt.Errorf("redis's time: %w", link.Explain(err))
	}
	return now, nil
}

// Directory lists the members of the cluster.
func (c *Client) Directory() membership.Directory { return c.directory }

// Close ends all calls that are under way, closes the connections and returns
// when everything the client started has ended. What became of a call that it
// ended is unknown, and locks that are still held end at their TTL. It may be
// called more than once.
func (c *Client) Close() error {
	c.once.Do(func() {
		c.stop()
		if c.Tasks != nil {
			c.Tasks.Close()
			c.Cache.Close()
		}
		c.served.Wait()
		if c.Bus != nil {
			c.Bus.Close()
		}
		c.err = errors.Join(c.redis.Close(), c.subscriber.Close())
	})
	return c.err
}
