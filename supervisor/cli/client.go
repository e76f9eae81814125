package cli

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
	"github.com/stellarfw/stellar/worker/builtin"
	"github.com/stellarfw/stellar/worker/connections"
	"github.com/stellarfw/stellar/worker/membership"
	"github.com/stellarfw/stellar/worker/tasks"
)

// reachTime is how long a command waits for Redis to answer.
const reachTime = 3 * time.Second

// client is a command's way to a running cluster, of which it is no member.
type client struct {
	cfg       link.Config
	redis     redis.UniversalClient
	listener  redis.UniversalClient
	keys      link.Keys
	directory membership.Directory
	where     string

	stop   context.CancelFunc // of what rpc started
	served sync.WaitGroup
	rpc    *rpcregistry.Endpoint
}

// connect reaches the cluster through Redis, if it is said where that is, and
// otherwise through the socket of the set that runs here.
func (p *program) connect(ctx context.Context) (*client, error) {
	cfg, configured, err := p.redis()
	if err != nil {
		return nil, err
	}
	c := &client{keys: cfg.Keys(), where: cfg.Address(), stop: func() {}}
	if !configured {
		path, err := p.findSocket()
		if err != nil {
			return nil, err
		}
		cfg.Dial = through(path)
		c.where = path
	}
	c.cfg = cfg
	if c.redis, err = link.OpenClient(cfg, "stellar:cli"); err != nil {
		return nil, err
	}
	if c.listener, err = link.OpenClient(cfg, "stellar:cli:subscriber"); err != nil {
		return nil, errors.Join(err, c.redis.Close())
	}
	c.directory = membership.Directory{Client: c.redis, Keys: c.keys}
	reaching, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	if err := c.redis.Ping(reaching).Err(); err != nil {
		c.close()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, &kindError{link.ErrUnavailable, fmt.Errorf("redis at %s is not reachable: %w", c.where, err)}
	}
	return c, nil
}

func (c *client) close() {
	c.stop()
	c.served.Wait()
	_ = c.redis.Close()
	_ = c.listener.Close()
}

// dial opens the command's end of all calls.
func (c *client) dial(ctx context.Context) (*rpcregistry.Endpoint, error) {
	if c.rpc != nil {
		return c.rpc, nil
	}
	token, err := redisbus.Token(ctx, c.redis, c.keys, c.cfg.Token)
	if err != nil {
		return nil, err
	}
	cfg := redisbus.NewBusConfig(c.cfg, token)
	cfg.Publisher, cfg.Subscriber, cfg.InboxOnly, cfg.Log = c.redis, c.listener, true, zerolog.Nop()
	cfg.Identity = redisbus.Identity{ID: "stellar-cli-" + strings.ToLower(rand.Text()[:12])}
	bus, err := redisbus.NewBus(cfg)
	if err != nil {
		return nil, err
	}
	rpc, err := rpcregistry.New(rpcregistry.Config{
		Bus: bus, Members: c.directory, Connections: connections.NewDirectory(c.redis, c.keys), Log: zerolog.Nop(),
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
func (c *client) await(ctx context.Context, all ...<-chan struct{}) error {
	waiting, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	for _, ready := range all {
		select {
		case <-ready:
		case <-waiting.Done():
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return &kindError{link.ErrUnavailable, fmt.Errorf("redis at %s lets nobody subscribe", c.where)}
		}
	}
	return nil
}

// askSet calls a method of a process's set, on the first of the process's nodes
// that takes it.
func (c *client) askSet(ctx context.Context, nodes []string, method string, args any) (s builtin.SetStatus, err error) {
	err = errNoNode
	for _, id := range nodes {
		asking, cancel := context.WithTimeout(ctx, answerTime)
		s, err = rpcregistry.Do[builtin.SetStatus](asking, c.rpc, method, args, rpcregistry.Node(id))
		cancel()
		// One that left a moment ago, or is leaving, did not run it: another knows too.
		if !errors.Is(err, rpcregistry.ErrNoSuchTarget) && !errors.Is(err, rpcregistry.ErrBusy) {
			break
		}
	}
	return s, err
}

// live returns the ids of the live nodes.
func (c *client) live(ctx context.Context) ([]string, error) {
	members, err := c.directory.List(ctx)
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

// tasks returns a client of the task queue, to be closed.
func (c *client) tasks(ctx context.Context) *tasks.Client {
	return tasks.NewClient(ctx, c.redis, c.keys, nil)
}

// inspector looks at the task queue and mends it.
func (c *client) inspector() *tasks.Inspector { return tasks.NewInspector(c.redis, c.keys) }
