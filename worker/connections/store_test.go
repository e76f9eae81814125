package connections_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/worker/connections"
)

func TestMain(m *testing.M) { redistest.Main(m) }

// client is a transport that remembers.
type client struct {
	mu     sync.Mutex
	sent   []string
	closed int
	fail   error
}

func (c *client) Send(_ context.Context, message json.RawMessage) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent = append(c.sent, string(message))
	return c.fail
}

func (c *client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed++
	return c.fail
}

func identity(id string) redisbus.Identity {
	return redisbus.Identity{ID: id, Incarnation: id + "#1:aa"}
}

func TestDirectoryFollowsTheConnection(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		ctx, c, keys := t.Context(), redistest.Client(t, cfg), cfg.Keys()
		a, b := connections.New(c, keys, identity("a")), connections.New(c, keys, identity("b"))
		transport := &client{}
		held, err := a.Add(ctx, transport, connections.Info{Type: "websocket", Attributes: map[string]string{"user": "7"}})
		require.NoError(t, err)
		require.NotEmpty(t, held.ID())
		node, err := b.Locate(ctx, held.ID())
		require.NoError(t, err)
		require.Equal(t, "a", node)
		require.True(t, a.Holds(held.ID()))
		require.False(t, b.Holds(held.ID()))
		_, err = b.Add(ctx, &client{}, connections.Info{ID: held.ID()})
		require.ErrorIs(t, err, connections.ErrTaken)
		_, err = a.Add(ctx, &client{}, connections.Info{ID: held.ID()})
		require.ErrorIs(t, err, connections.ErrTaken)
		require.Empty(t, b.All())

		held.Set("room", "x")
		require.Equal(t, map[string]string{"user": "7", "room": "x"}, held.Info().Attributes)
		require.NoError(t, held.Send(ctx, json.RawMessage(`1`)))
		require.NoError(t, held.Close(ctx))
		require.NoError(t, held.Close(ctx))
		require.Equal(t, 1, transport.closed)
		_, err = b.Locate(ctx, held.ID())
		require.ErrorIs(t, err, rpcregistry.ErrNoSuchConnection)
		require.Zero(t, c.Exists(ctx, keys.Connections(), keys.ConnectionsOf("a#1:aa")).Val())
	})
}

func TestForgetTakesOnlyTheDeadIncarnationsEntries(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		ctx, c, keys := t.Context(), redistest.Client(t, cfg), cfg.Keys()
		dead, alive := connections.New(c, keys, identity("a")), connections.New(c, keys, identity("b"))
		for i := range 1201 {
			_, err := dead.Add(ctx, &client{}, connections.Info{ID: fmt.Sprint("dead", i)})
			require.NoError(t, err)
		}
		_, err := alive.Add(ctx, &client{}, connections.Info{ID: "alive"})
		require.NoError(t, err)
		// A new life of the client on another node, entered after a reset of Redis.
		require.NoError(t, c.HSet(ctx, keys.Connections(), "dead7", "b#1:aa").Err())
		require.NoError(t, connections.Forget(ctx, c, keys, "a#1:aa"))
		require.NoError(t, connections.Forget(ctx, c, keys, "a#1:aa"))
		require.Equal(t, map[string]string{"alive": "b#1:aa", "dead7": "b#1:aa"}, c.HGetAll(ctx, keys.Connections()).Val())
		require.Zero(t, c.Exists(ctx, keys.ConnectionsOf("a#1:aa")).Val())
	})
}

func TestForeignKeysAreNamedAndKept(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		ctx, c, keys := t.Context(), redistest.Client(t, cfg), cfg.Keys()
		for _, key := range []string{keys.Connections(), keys.ConnectionsOf("a#1:aa")} {
			require.NoError(t, c.Set(ctx, key, "mine", 0).Err())
			_, err := connections.New(c, keys, identity("a")).Add(ctx, &client{}, connections.Info{})
			var wrong *link.WrongTypeError
			require.ErrorAs(t, err, &wrong)
			require.Equal(t, link.WrongTypeError{Key: key, Type: "string"}, *wrong)
			require.ErrorAs(t, connections.Forget(ctx, c, keys, "a#1:aa"), &wrong)
			require.Equal(t, "mine", c.GetDel(ctx, key).Val())
		}
	})
}

func TestCloseCutsAllClientsOff(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		ctx, c, keys := t.Context(), redistest.Client(t, cfg), cfg.Keys()
		s := connections.New(c, keys, identity("a"))
		fine, broken := &client{}, &client{fail: errors.New("broken pipe")}
		for i, transport := range []*client{fine, broken} {
			_, err := s.Add(ctx, transport, connections.Info{ID: fmt.Sprint(i)})
			require.NoError(t, err)
		}
		require.ErrorIs(t, s.Close(ctx), broken.fail)
		require.Equal(t, 1, fine.closed)
		require.Equal(t, 1, broken.closed)
		require.Zero(t, c.Exists(ctx, keys.Connections(), keys.ConnectionsOf("a#1:aa")).Val())
		_, err := s.Add(ctx, &client{}, connections.Info{})
		require.ErrorIs(t, err, connections.ErrClosed)
	})
}

func TestAnnounceEntersAgainWhatRedisLost(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		ctx, c, keys := t.Context(), redistest.Client(t, cfg), cfg.Keys()
		s := connections.New(c, keys, identity("a"))
		kept, lost := &client{}, &client{}
		for id, transport := range map[string]*client{"kept": kept, "lost": lost} {
			_, err := s.Add(ctx, transport, connections.Info{ID: id})
			require.NoError(t, err)
		}
		require.NoError(t, c.FlushAll(ctx).Err())
		require.NoError(t, c.HSet(ctx, keys.Connections(), "lost", "b#1:bb").Err())
		require.NoError(t, s.Announce(ctx))
		require.Equal(t, map[string]string{"lost": "b#1:bb", "kept": "a#1:aa"}, c.HGetAll(ctx, keys.Connections()).Val())
		require.Equal(t, 0, kept.closed)
		require.Equal(t, 1, lost.closed)
	})
}
