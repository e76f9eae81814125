package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// ReachTime is how long a command waits for Redis to answer.
const ReachTime = 3 * time.Second

// ErrNoSet reports that no setting gives the address of Redis and no set runs on this
// machine, or that the cluster has no live node.
var ErrNoSet = errors.New("no running set found")

// clientName is what CLIENT LIST shows for a command.
const clientName = "stellar-cli"

// Client is a command's connection to a running cluster. The command does not become
// a node of that cluster.
type Client struct {
	*worker.Client

	Where string // the address of Redis, or the path of the socket

	namespace string
}

// Connect connects to the cluster: through Redis if a setting gives its address or
// the directory of its data, otherwise through the socket of the set that runs on this machine. It returns an
// [ErrNoSet] if there is neither, and a [link.ErrUnavailable] if Redis does not answer
// within [ReachTime].
func (e *Env) Connect(ctx context.Context) (*Client, error) {
	return e.ConnectWith(ctx, worker.ClientConfig{})
}

// ConnectWith is [Env.Connect] with a configuration, whose Redis and Cache the settings give.
func (e *Env) ConnectWith(ctx context.Context, client worker.ClientConfig) (*Client, error) {
	cfg, where, err := e.place(ctx)
	if err != nil {
		return nil, err
	}
	client.Redis, client.Cache, client.By = cfg, e.CacheConfig(), e.user()
	c, err := Open(ctx, client, where)
	if err != nil {
		return nil, err
	}
	if err := e.reach(ctx, where, c.Ping); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// user names who runs the command, for the cluster's timeline: "ada@desk".
func (e *Env) user() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	for _, variable := range []string{"USER", "LOGNAME", "USERNAME"} {
		if name, _ := e.Env(variable); name != "" {
			return name + "@" + host
		}
	}
	return "somebody@" + host
}

// place returns how to connect to Redis, and how errors call it.
func (e *Env) place(ctx context.Context) (cfg link.Config, where string, err error) {
	cfg, configured, err := e.Redis()
	if err != nil || configured {
		return cfg, cfg.Address(), err
	}
	if e.Data != "" {
		own, err := e.findData(ctx)
		cfg.URL = own.URL
		return cfg, own.Address(), err
	}
	if where, err = e.findSocket(); err != nil {
		return cfg, "", err
	}
	if err := checkSocket(ctx, where); err != nil && !link.IsOutage(err) {
		return cfg, "", err
	}
	cfg.Dial = dialSocket(where)
	return cfg, where, nil
}

// reach waits until Redis answers the ping, or for [ReachTime].
func (e *Env) reach(ctx context.Context, where string, ping func(context.Context) error) error {
	reaching, cancel := context.WithTimeout(ctx, ReachTime)
	defer cancel()
	switch err := ping(reaching); {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case !link.IsOutage(err):
		if reply, ok := errors.AsType[redis.Error](err); ok { // such as for a database that it does not have
			return fmt.Errorf("redis at %s %s: %w", where, serves, reply)
		}
		return err
	default:
		err = e.ExplainPassword(config.As(err, errors.New(link.Reason(err))))
		return config.As(link.ErrUnavailable, fmt.Errorf("redis at %s %s: %w", where, failure(err), err))
	}
}

// serves says of a Redis that has answered what is wrong.
const serves = "does not serve this program"

// failure says in a few words what Redis, which fails with that error, does.
func failure(err error) string {
	switch link.CauseOf(err) {
	case link.CauseNone, link.CauseConnection, link.CauseRefused, link.CauseSilent, link.CauseTLS, link.CauseBusyPool:
		return "is not reachable"
	default:
		return serves
	}
}

// Open returns a client without waiting for Redis to answer. Errors call that Redis by
// the name where.
func Open(ctx context.Context, cfg worker.ClientConfig, where string) (*Client, error) {
	cfg.Name = clientName
	c, err := worker.ConnectWith(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &Client{Client: c, Where: where, namespace: cfg.Redis.Keys().Namespace()}, nil
}

// Dial waits until the client has subscribed to answers and returns the endpoint for
// remote calls. It returns a [link.ErrUnavailable] after [ReachTime].
func (c *Client) Dial(ctx context.Context) (*rpcregistry.Endpoint, error) {
	waiting, cancel := context.WithTimeout(ctx, ReachTime)
	defer cancel()
	switch err := c.Bus.Await(waiting); {
	case err == nil:
		return c.RPC, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, redisbus.ErrNoToken):
		if ids, err := c.Live(ctx); err == nil && len(ids) > 0 {
			return nil, config.Invalidf("the nodes in the namespace %s of redis at %s have a token of their own: "+
				"set STELLAR_TOKEN or STELLAR_TOKEN_FILE to it", c.namespace, c.Where)
		}
		return nil, fmt.Errorf("%w: no cluster is in the namespace %s of redis at %s", ErrNoSet, c.namespace, c.Where)
	case errors.Is(err, link.ErrUnavailable):
		return nil, config.As(link.ErrUnavailable, fmt.Errorf("redis at %s lets nobody subscribe", c.Where))
	default:
		return nil, err
	}
}

// Live returns the ids of the cluster's live nodes. It may return none.
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

// Methods asks one live node for its methods. Without a live node there are none.
func (c *Client) Methods(ctx context.Context) ([]rpcregistry.MethodInfo, error) {
	rpc, err := c.Dial(ctx)
	if err != nil {
		return nil, err
	}
	ids, err := c.Live(ctx)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	r, err := rpc.DoCluster(ctx, "api.methods", nil, rpcregistry.Node(ids[0]))
	if err != nil {
		return nil, err
	}
	var methods []rpcregistry.MethodInfo
	err = json.Unmarshal(r.Value, &methods)
	return methods, err
}

// Cause returns the cause for which ctx has ended, or err if it has not ended.
func Cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// Interrupted returns the cause for which ctx has ended with more to say of it, or err if ctx
// has not ended.
func Interrupted(ctx context.Context, err error, format string, args ...any) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	return fmt.Errorf("%w: %s", context.Cause(ctx), fmt.Sprintf(format, args...))
}

// Queues returns the names of the queues that there are, in order: those that were used, and
// those that programs have defined tasks for.
func (c *Client) Queues(ctx context.Context) ([]string, error) {
	used, err := c.Inspector.Queues(ctx)
	if err != nil {
		return nil, err
	}
	definitions, err := c.Inspector.Definitions(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, q := range used {
		names = append(names, q.Name)
	}
	for _, d := range definitions {
		names = append(names, cmp.Or(d.Queue, tasks.DefaultQueue))
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
