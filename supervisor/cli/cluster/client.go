package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/worker"
)

// ReachTime is how long a command waits for Redis to answer.
const ReachTime = 3 * time.Second

// ErrNoSet says that no setting tells where Redis is and no set runs on this machine,
// or that the cluster has no live node.
var ErrNoSet = errors.New("no running set found")

// Client is a command's way to a running cluster, of which it is no member.
type Client struct {
	*worker.Client

	Where string // the address of Redis, or the path of the socket
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
	c, err := Open(ctx, worker.ClientConfig{Redis: cfg, Cache: e.CacheConfig()}, where)
	if err != nil {
		return nil, err
	}
	reaching, cancel := context.WithTimeout(ctx, ReachTime)
	defer cancel()
	if err := c.Ping(reaching); err != nil {
		_ = c.Close()
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case !link.IsOutage(err):
			return nil, err
		}
		return nil, config.As(link.ErrUnavailable, fmt.Errorf("redis at %s is not reachable: %w", where, err))
	}
	return c, nil
}

// Open returns a client of a cluster before it has reached Redis. where names that
// Redis in errors.
func Open(ctx context.Context, cfg worker.ClientConfig, where string) (*Client, error) {
	cfg.Name = "stellar-cli"
	c, err := worker.ConnectWith(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &Client{Client: c, Where: where}, nil
}

// Dial returns the command's end of all calls as soon as answers can arrive.
func (c *Client) Dial(ctx context.Context) (*rpcregistry.Endpoint, error) {
	waiting, cancel := context.WithTimeout(ctx, ReachTime)
	defer cancel()
	switch err := c.Bus.Await(waiting); {
	case err == nil:
		return c.RPC, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, link.ErrUnavailable):
		return nil, config.As(link.ErrUnavailable, fmt.Errorf("redis at %s lets nobody subscribe", c.Where))
	default:
		return nil, err
	}
}

// Live returns the ids of the live nodes.
func (c *Client) Live(ctx context.Context) ([]string, error) {
	members, err := c.Directory().List(ctx)
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
