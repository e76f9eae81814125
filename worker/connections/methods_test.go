package connections_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/embedded"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/worker/builtin"
	"github.com/stellarfw/stellar/worker/connections"
)

type node struct {
	*rpcregistry.Endpoint

	store *connections.Store
	redis redis.UniversalClient
	stop  func()
}

func start(cfg link.Config, self redisbus.Identity) (*node, error) {
	conns, err := link.Open(cfg, self.ID)
	if err != nil {
		return nil, err
	}
	bus, err := redisbus.NewBus(redisbus.BusConfig{
		Publisher: conns.Client, Subscriber: conns.Subscriber, Keys: cfg.Keys(), Identity: self,
		Token: link.NewSecret("the token of a test"), Log: zerolog.Nop(),
	})
	if err != nil {
		return nil, err
	}
	n := &node{store: connections.New(conns.Client, cfg.Keys(), self), redis: conns.Client}
	methods := rpcregistry.NewRegistry()
	builtin.Register(context.Background(), methods, builtin.Deps{Connections: n.store})
	n.Endpoint, err = rpcregistry.New(rpcregistry.Config{Bus: bus, Registry: methods, Connections: n.store, Log: zerolog.Nop()})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	ended.Go(func() { _ = bus.Serve(ctx) })
	ended.Go(func() { _ = n.Serve(ctx) })
	<-bus.Ready()
	<-n.Ready()
	n.stop = sync.OnceFunc(func() {
		cancel()
		ended.Wait()
		_ = conns.Close()
	})
	return n, nil
}

func TestConnectionsAreCalledFromAnyNode(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		ctx := t.Context()
		var nodes []*node
		for _, id := range []string{"a", "b"} {
			n, err := start(cfg, identity(id))
			require.NoError(t, err)
			t.Cleanup(n.stop)
			nodes = append(nodes, n)
		}
		a, b := nodes[0], nodes[1]
		transport := &client{}
		held, err := b.store.Add(ctx, transport, connections.Info{Type: "websocket", RemoteAddress: "10.0.0.7:1234"})
		require.NoError(t, err)
		to := rpcregistry.Connection(held.ID())

		_, err = a.DoCluster(ctx, "api.connections.send", []any{map[string]any{"hello": "<you>"}}, to)
		require.NoError(t, err)
		_, err = a.DoCluster(ctx, "api.connections.send", map[string]string{"message": "named"}, to)
		require.NoError(t, err)
		require.Equal(t, []string{`{"hello":"<you>"}`, `"named"`}, transport.sent)
		info, err := rpcregistry.Do[connections.Info](ctx, a.Endpoint, "api.connections.info", nil, to)
		require.NoError(t, err)
		require.Equal(t, held.Info().RemoteAddress, info.RemoteAddress)
		require.Equal(t, "b", info.Node)
		list, err := rpcregistry.Do[[]connections.Info](ctx, a.Endpoint, "api.connections.list", nil, rpcregistry.Node("b"))
		require.NoError(t, err)
		require.Len(t, list, 1)

		transport.fail = errors.New("broken pipe")
		_, err = a.DoCluster(ctx, "api.connections.send", []any{1}, to)
		require.ErrorIs(t, err, rpcregistry.ErrFailed)
		transport.fail = nil
		_, err = a.DoCluster(ctx, "api.connections.info", nil, rpcregistry.Node("b"))
		require.ErrorIs(t, err, rpcregistry.ErrNoSuchConnection, "it says which connection only by its target")

		_, err = a.DoCluster(ctx, "api.connections.close", nil, to)
		require.NoError(t, err)
		require.Equal(t, 1, transport.closed)
		_, err = a.DoCluster(ctx, "api.connections.info", nil, to)
		require.ErrorIs(t, err, rpcregistry.ErrNoSuchConnection)

		// A node that died and came back holds none of its old connections, also
		// while the directory does not know that yet; one that is away is no target.
		require.NoError(t, a.redis.HSet(ctx, cfg.Keys().Connections(), "old", "b#0:old", "away", "c#1:x").Err())
		_, err = a.DoCluster(ctx, "api.connections.info", nil, rpcregistry.Connection("old"))
		require.ErrorIs(t, err, rpcregistry.ErrNoSuchConnection)
		_, err = a.DoCluster(ctx, "api.connections.info", nil, rpcregistry.Connection("away"))
		require.ErrorIs(t, err, rpcregistry.ErrNoSuchTarget)
		require.ErrorIs(t, a.Cast(ctx, "api.connections.send", nil, rpcregistry.Connection("away")), rpcregistry.ErrNoSuchTarget)
	})
}

// transport is a client that prints what it is sent.
type transport struct{}

func (transport) Send(_ context.Context, message json.RawMessage) error {
	fmt.Println("the client got", string(message))
	return nil
}

func (transport) Close() error { return nil }

// A message to a client connection, whichever node holds it.
func ExampleStore() {
	server := embedded.New()
	defer server.Close()
	one, err := start(server.Config(), identity("one"))
	if err != nil {
		panic(err)
	}
	defer one.stop()
	two, err := start(server.Config(), identity("two"))
	if err != nil {
		panic(err)
	}
	defer two.stop()
	ctx := context.Background()

	held, err := two.store.Add(ctx, transport{}, connections.Info{Type: "example"})
	if err != nil {
		panic(err)
	}
	_, err = one.DoCluster(ctx, "api.connections.send", []any{"hello"}, rpcregistry.Connection(held.ID()))
	fmt.Println(err)
	_, err = one.DoCluster(ctx, "api.connections.send", []any{"hello"}, rpcregistry.Connection("nobody's"))
	fmt.Println(errors.Is(err, rpcregistry.ErrNoSuchConnection))
	// Output:
	// the client got "hello"
	// <nil>
	// true
}
