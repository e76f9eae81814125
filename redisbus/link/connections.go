package link

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// Connections are one node's three clients of Redis. Sockets are opened on first
// use and again after an outage.
type Connections struct {
	// Client serves the cache, RPC and the handlers' own requests.
	Client *redis.Client
	// Subscriber holds the one publish/subscribe connection.
	Subscriber *redis.Client
	// Tasks serves claims and commits, so that handlers cannot starve the queue.
	Tasks *redis.Client
}

// Pool and buffer sizes: sockets and bytes. A node at rest holds one socket of
// each kind; a thousand nodes in a process are meant to be cheap.
const (
	clientSockets = 8
	tasksSockets  = 3
	tinyBuffer    = 512
	smallBuffer   = 4 << 10
	tasksBuffer   = 8 << 10
	bulkBuffer    = 64 << 10
)

// Open returns the connections of the node with that name, which CLIENT LIST
// shows as name:client, name:subscriber and name:tasks. Nothing is dialled yet.
func Open(cfg Config, name string) (*Connections, error) {
	at, err := cfg.withDefaults().slotEndpoint()
	if err != nil {
		return nil, err
	}
	c := &Connections{}
	for _, kind := range []struct {
		to                   **redis.Client
		name                 string
		sockets, read, write int
	}{
		{&c.Client, "client", clientSockets, smallBuffer, smallBuffer},
		{&c.Subscriber, "subscriber", 2, smallBuffer, tinyBuffer},
		{&c.Tasks, "tasks", tasksSockets, tasksBuffer, tasksBuffer},
	} {
		o := at.options(name+":"+kind.name, kind.sockets, kind.read)
		o.WriteBufferSize = kind.write
		*kind.to = at.client(o)
	}
	return c, nil
}

// OpenClient returns a client that belongs to no node: for a command, or for what the
// nodes of a process share. name is what CLIENT LIST shows. Nothing is dialled yet. outer are
// hooks around all others: a hook that itself asks the client has to be one of them, as a request
// that has begun holds one of the client's few turns.
func OpenClient(cfg Config, name string, outer ...redis.Hook) (*redis.Client, error) {
	at, err := cfg.withDefaults().slotEndpoint()
	if err != nil {
		return nil, err
	}
	o := at.options(name, clientSockets, smallBuffer)
	o.WriteBufferSize = bulkBuffer
	return at.client(o, outer...), nil
}

// slotEndpoint returns the endpoint, with a key of the namespace to find its slot by.
func (c Config) slotEndpoint() (*endpoint, error) {
	at, err := c.endpoint()
	if err == nil {
		at.key = c.Keys().Prefix()
	}
	return at, err
}

// Ping dials Client and Tasks and waits for an answer on each. Subscriber is dialled
// by the bus, which knows when it is ready.
func (c *Connections) Ping(ctx context.Context) error {
	for _, kind := range []struct {
		name   string
		client *redis.Client
	}{{"client", c.Client}, {"tasks", c.Tasks}} {
		if err := kind.client.Ping(ctx).Err(); err != nil {
			return fmt.Errorf("%s connection: %w", kind.name, err)
		}
	}
	return nil
}

// Pool returns the sockets of all three clients.
func (c *Connections) Pool() (p Pool) {
	for _, client := range []*redis.Client{c.Client, c.Subscriber, c.Tasks} {
		p.Add(client)
	}
	return p
}

// Pool counts sockets of clients.
type Pool struct {
	Used, Idle int // sockets at present; those of subscriptions are used
	Timeouts   int // requests so far that got none in time
}

// Add counts the sockets of a client.
func (p *Pool) Add(client *redis.Client) {
	s := client.PoolStats()
	p.Idle += int(s.IdleConns)
	p.Used += int(s.TotalConns) - int(s.IdleConns) + int(s.PubSubStats.Active)
	p.Timeouts += int(s.Timeouts)
}

// Close closes all three clients, also while commands run on them.
func (c *Connections) Close() error {
	var errs []error
	for _, client := range []*redis.Client{c.Client, c.Subscriber, c.Tasks} {
		if client != nil {
			errs = append(errs, client.Close())
		}
	}
	return errors.Join(errs...)
}
