package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/worker/connections"
	"github.com/stellarfw/stellar/worker/membership"
	"github.com/stellarfw/stellar/worker/tasks"
)

// ReachTime is how long a command waits for Redis to answer.
const ReachTime = 3 * time.Second

// ErrNoSet says that no setting tells where Redis is and no set runs on this machine,
// or that the cluster has no live node.
var ErrNoSet = errors.New("no running set found")

// Client is a command's way to a running cluster, of which it is no member.
type Client struct {
	cfg       link.Config
	Redis     *redis.Client
	Keys      link.Keys
	Directory membership.Directory
	Where     string // the address of Redis, or the path of the socket
	listener  *redis.Client

	stop   context.CancelFunc // of what rpc started
	served sync.WaitGroup
	rpc    *rpcregistry.Endpoint
}

// Connect reaches the cluster through Redis, if a setting says where that is, and
// otherwise through the socket of the set that runs on this machine.
func (e *Env) Connect(ctx context.Context) (*Client, error) {
	cfg, configured, err := e.Redis()
	if err != nil {
		return nil, err
	}
	where := cfg.Address()
	if !configured {
		if where, err = e.findSocket(); err != nil {
			return nil, err
		}
		cfg.Dial = dialSocket(where)
	}
	c, err := Open(cfg, where)
	if err != nil {
		return nil, err
	}
	reaching, cancel := context.WithTimeout(ctx, ReachTime)
	defer cancel()
	if err := c.Redis.Ping(reaching).Err(); err != nil {
		c.Close()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, config.As(link.ErrUnavailable, fmt.Errorf("redis at %s is not reachable: %w", where, err))
	}
	return c, nil
}

// Open returns a client of the cluster on a Redis, without connecting yet. where
// names that Redis in errors.
func Open(cfg link.Config, where string) (*Client, error) {
	c := &Client{cfg: cfg, Keys: cfg.Keys(), Where: where, stop: func() {}}
	var err error
	if c.Redis, err = link.OpenClient(cfg, "stellar:cli"); err != nil {
		return nil, err
	}
	if c.listener, err = link.OpenClient(cfg, "stellar:cli:subscriber"); err != nil {
		return nil, errors.Join(err, c.Redis.Close())
	}
	c.Directory = membership.Directory{Client: c.Redis, Keys: c.Keys}
	return c, nil
}

// Close ends the connections.
func (c *Client) Close() {
	c.stop()
	c.served.Wait()
	_ = c.Redis.Close()
	_ = c.listener.Close()
}

// Dial returns the command's end of all calls.
func (c *Client) Dial(ctx context.Context) (*rpcregistry.Endpoint, error) {
	if c.rpc != nil {
		return c.rpc, nil
	}
	token, err := redisbus.Token(ctx, c.Redis, c.Keys, c.cfg.Token)
	if err != nil {
		return nil, err
	}
	cfg := redisbus.NewBusConfig(c.cfg, token)
	cfg.Publisher, cfg.Subscriber, cfg.InboxOnly, cfg.Log = c.Redis, c.listener, true, zerolog.Nop()
	cfg.Identity = redisbus.Identity{ID: "stellar-cli-" + strings.ToLower(rand.Text()[:12])}
	bus, err := redisbus.NewBus(cfg)
	if err != nil {
		return nil, err
	}
	rpc, err := rpcregistry.New(rpcregistry.Config{
		Bus: bus, Members: c.Directory, Connections: connections.NewDirectory(c.Redis, c.Keys), Log: zerolog.Nop(),
	})
	if err != nil {
		return nil, err
	}
	serving, stop := context.WithCancel(ctx)
	c.stop = stop
	c.served.Go(func() { _ = bus.Serve(serving) })
	c.served.Go(func() { _ = rpc.Serve(serving) })
	if err := c.await(ctx, bus.Ready(), rpc.Ready()); err != nil { // before either, an answer is lost
		stop()
		c.served.Wait()
		return nil, err
	}
	c.rpc = rpc
	return rpc, nil
}

// await waits until all are ready.
func (c *Client) await(ctx context.Context, all ...<-chan struct{}) error {
	waiting, cancel := context.WithTimeout(ctx, ReachTime)
	defer cancel()
	for _, ready := range all {
		select {
		case <-ready:
		case <-waiting.Done():
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return config.As(link.ErrUnavailable, fmt.Errorf("redis at %s lets nobody subscribe", c.Where))
		}
	}
	return nil
}

// Live returns the ids of the live nodes.
func (c *Client) Live(ctx context.Context) ([]string, error) {
	members, err := c.Directory.List(ctx)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, m := range members {
		if m.Live {
			ids = append(ids, m.Incarnation.ID)
		}
	}
	return ids, nil
}

// Tasks returns a client of the task queue. The caller closes it.
func (c *Client) Tasks(ctx context.Context) *tasks.Client {
	return tasks.NewClient(ctx, c.Redis, c.Keys, nil)
}

// Inspector looks at the task queue and mends it.
func (c *Client) Inspector() *tasks.Inspector { return tasks.NewInspector(c.Redis, c.Keys) }
