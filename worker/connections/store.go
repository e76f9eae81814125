// Package connections holds the client connections of a node, over any transport,
// and the directory in Redis that says which node holds which connection.
//
// A connection belongs to an incarnation of a node: when the node dies its clients are
// disconnected, and the process that hands the dead incarnation over calls [Forget].
package connections

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/rpcregistry"
)

// Client is the transport of one client connection.
type Client interface {
	// Send sends a message to the client. It is called by one goroutine at a time.
	Send(ctx context.Context, message json.RawMessage) error
	// Close disconnects the client. It is called once.
	Close() error
}

// Info describes a connection.
type Info struct {
	// ID is unique in the cluster: 1 to 200 letters, digits and . _ : - . If it is empty,
	// [Store.Add] draws a random id.
	ID string `json:"id"`
	// Type names the transport, such as "websocket".
	Type string `json:"type,omitempty"`
	// RemoteAddress is the client's address.
	RemoteAddress string `json:"remoteAddress,omitempty"`
	// Attributes are set by the app.
	Attributes map[string]string `json:"attributes,omitempty"`
	// Node and ConnectedAt are filled in by Add.
	Node        string    `json:"node"`
	ConnectedAt time.Time `json:"connectedAt"`
}

// ErrTaken is the error of adding a connection whose id another connection has.
var ErrTaken = errors.New("connection id is taken")

// ErrClosed is the error of adding to a closed store.
var ErrClosed = errors.New("the store of connections is closed")

// Store holds one node's client connections. It is safe for concurrent use.
type Store struct {
	Directory
	self redisbus.Identity

	mu     sync.Mutex
	held   map[string]*Connection
	closed bool
}

var _ rpcregistry.Connections = (*Store)(nil)

// New returns an empty store of that incarnation.
func New(client redis.UniversalClient, keys link.Keys, self redisbus.Identity) *Store {
	return &Store{Directory: Directory{client, keys}, self: self, held: map[string]*Connection{}}
}

// Connection is one client connection of this node.
type Connection struct {
	store  *Store
	client Client

	mu   sync.Mutex
	info Info

	sending sync.Mutex
	closing sync.Once
	failed  error
}

// Add registers a connection: from now on any node can call it, until [Connection.Close] or
// [Store.Close]. After an error the caller still has to close the client. Errors are
// [ErrTaken], [ErrClosed] and those of link.Script.Call.
func (s *Store) Add(ctx context.Context, client Client, info Info) (*Connection, error) {
	if info.ID == "" {
		info.ID = rand.Text()
	}
	if err := link.CheckName("connection id", info.ID); err != nil {
		return nil, err
	}
	info.Node, info.ConnectedAt, info.Attributes = s.self.ID, time.Now(), maps.Clone(info.Attributes)
	c := &Connection{store: s, client: client, info: info}
	if err := s.hold(c); err != nil {
		return nil, err
	}
	taken, err := s.enter(ctx, []string{info.ID})
	if err == nil && len(taken) > 0 {
		err = fmt.Errorf("connection %s: %w", info.ID, ErrTaken)
	}
	if err != nil {
		s.drop(c)
		return nil, err
	}
	return c, nil
}

func (s *Store) hold(c *Connection) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	if s.held[c.info.ID] != nil {
		return fmt.Errorf("connection %s: %w", c.info.ID, ErrTaken)
	}
	s.held[c.info.ID] = c
	return nil
}

func (s *Store) drop(c *Connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.held, c.info.ID)
}

// enter adds connections to the directory, and returns the ids that belong to others.
func (s *Store) enter(ctx context.Context, ids []string) (taken []string, err error) {
	args := make([]any, 0, 1+len(ids))
	args = append(args, s.self.Incarnation)
	for _, id := range ids {
		args = append(args, id)
	}
	reply, err := addScript.Call(ctx, s.client, s.scriptKeys(), args...)
	if err == nil {
		taken, err = reply.Texts()
	}
	if err != nil {
		return nil, fmt.Errorf("enter connections: %w", err)
	}
	return taken, nil
}

func (s *Store) scriptKeys() []string {
	return []string{s.keys.Connections(), s.keys.ConnectionsOf(s.self.Incarnation)}
}

// Get returns a connection of this node.
func (s *Store) Get(id string) (*Connection, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.held[id]
	return c, ok
}

// Holds reports whether this node holds the connection.
func (s *Store) Holds(id string) bool {
	_, ok := s.Get(id)
	return ok
}

// All returns this node's connections, sorted by id.
func (s *Store) All() []*Connection {
	s.mu.Lock()
	all := slices.Collect(maps.Values(s.held))
	s.mu.Unlock()
	slices.SortFunc(all, func(a, b *Connection) int { return strings.Compare(a.info.ID, b.info.ID) })
	return all
}

// ID returns the connection's id.
func (c *Connection) ID() string { return c.info.ID }

// Info returns a description of the connection.
func (c *Connection) Info() Info {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := c.info
	i.Attributes = maps.Clone(i.Attributes)
	return i
}

// Set sets an attribute.
func (c *Connection) Set(name, value string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.info.Attributes == nil {
		c.info.Attributes = map[string]string{}
	}
	c.info.Attributes[name] = value
}

// Send sends a message to the client. Concurrent calls send one after the other.
func (c *Connection) Send(ctx context.Context, message json.RawMessage) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	return c.client.Send(ctx, message)
}

// Close disconnects the client and removes the connection from the directory. Errors are
// those of [Client.Close] and of link.Script.Call. After an error the directory may still
// have the connection until [Forget] removes those of the node's incarnation.
func (c *Connection) Close(ctx context.Context) error {
	c.closing.Do(func() {
		c.store.drop(c)
		c.failed = c.client.Close()
		_, err := removeScript.Call(ctx, c.store.client, c.store.scriptKeys(), c.store.self.Incarnation, c.info.ID)
		if err != nil {
			c.failed = errors.Join(c.failed, fmt.Errorf("remove connection %s from the directory: %w", c.info.ID, err))
		}
	})
	return c.failed
}

// Announce adds all connections to the directory again, for the case that Redis has lost
// them. It closes connections whose ids other connections have taken meanwhile. Errors are
// those of link.Script.Call.
func (s *Store) Announce(ctx context.Context) error {
	var ids []string
	for _, c := range s.All() {
		ids = append(ids, c.ID())
	}
	for some := range slices.Chunk(ids, batch) {
		taken, err := s.enter(ctx, some)
		if err != nil {
			return err
		}
		for _, id := range taken {
			if c, ok := s.Get(id); ok {
				_ = c.Close(ctx)
			}
		}
	}
	return nil
}

// Close disconnects all clients, makes [Store.Add] fail from now on, and removes the node's
// connections from the directory. Its error joins those of [Client.Close] and
// link.Script.Call.
func (s *Store) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	all := slices.Collect(maps.Values(s.held))
	clear(s.held)
	s.mu.Unlock()
	var errs []error
	for _, c := range all {
		c.closing.Do(func() {
			if err := c.client.Close(); err != nil {
				c.failed = err
				errs = append(errs, fmt.Errorf("connection %s: %w", c.info.ID, err))
			}
		})
	}
	errs = append(errs, Forget(ctx, s.client, s.keys, s.self.Incarnation))
	return errors.Join(errs...)
}
