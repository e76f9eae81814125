package internal_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/connections"
)

func TestACallOfANodeThatCrashesEndsWithItNotWithTheTimeout(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		app := worker.NewApp()
		entered := make(chan struct{}, 1)
		rpcregistry.Handle(app, "api.block", func(ctx context.Context, _ struct{}) (struct{}, error) {
			entered <- struct{}{}
			<-ctx.Done()
			return struct{}{}, ctx.Err()
		})
		set := supervisortest.StartWith(t, app, supervisor.Config{Workers: 2, Redis: cfg})
		caller := set.Node("stellar-worker-1").API()
		go func() {
			<-entered
			set.Node("stellar-worker-2").Crash("drill")
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		began := time.Now()
		_, err := caller.RPC.DoCluster(ctx, "api.block", nil, rpcregistry.Node("stellar-worker-2"))
		require.ErrorIs(t, err, rpcregistry.ErrNodeDown)
		require.Less(t, time.Since(began), 10*time.Second)

		_, err = caller.RPC.DoCluster(ctx, "api.ping", nil, rpcregistry.Node("nobody"))
		require.ErrorIs(t, err, rpcregistry.ErrNoSuchTarget)
	})
}

// mailbox is a client that keeps what it is sent.
type mailbox chan string

func (m mailbox) Send(_ context.Context, message json.RawMessage) error {
	m <- string(message)
	return nil
}

func (m mailbox) Close() error { close(m); return nil }

func TestAConnectionIsCalledWhereverItIsAndVanishesWithItsNode(t *testing.T) {
	redistest.EachAndCluster(t, func(t *testing.T, cfg link.Config) {
		set := supervisortest.StartWith(t, nil, supervisor.Config{Workers: 3, Redis: cfg, Backoff: time.Minute, MaxBackoff: time.Minute})
		holder, caller := set.Node("stellar-worker-2"), set.Node("stellar-worker-1").API()
		client := make(mailbox, 1)
		_, err := holder.API().Connections.Add(t.Context(), client, connections.Info{ID: "browser-7", Type: "websocket"})
		require.NoError(t, err)

		info, err := rpcregistry.Do[connections.Info](t.Context(), caller.RPC, "api.connections.info", nil, rpcregistry.Connection("browser-7"))
		require.NoError(t, err)
		require.Equal(t, "stellar-worker-2", info.Node)
		_, err = caller.RPC.DoCluster(t.Context(), "api.connections.send", map[string]json.RawMessage{"message": json.RawMessage(`"hello"`)}, rpcregistry.Connection("browser-7"))
		require.NoError(t, err)
		require.Equal(t, `"hello"`, <-client)

		holder.Crash("drill")
		<-client // cut off
		require.Eventually(t, func() bool { return set.Node("stellar-worker-2") == nil }, time.Minute, 5*time.Millisecond)
		_, err = caller.RPC.DoCluster(t.Context(), "api.connections.info", nil, rpcregistry.Connection("browser-7"))
		require.ErrorIs(t, err, rpcregistry.ErrNoSuchConnection)
	})
}

func TestDeniedMethodsAnswerSo(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		app := worker.NewApp()
		app.Deny("api.stop", "api.cache.*")
		set := supervisortest.StartWith(t, app, supervisor.Config{Workers: 2, Redis: cfg})
		api := set.Node("stellar-worker-1").API()
		for _, method := range []string{"api.stop", "api.cache.save", "api.cache.none"} {
			_, err := api.RPC.DoCluster(t.Context(), method, nil, rpcregistry.Node("stellar-worker-2"))
			require.ErrorIs(t, err, rpcregistry.ErrDenied, method)
		}
		require.Len(t, set.Nodes(), 2)
	})
}

func TestTheOriginalsPositionalCalls(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		set := supervisortest.StartWith(t, nil, supervisor.Config{Workers: 2, Redis: cfg})
		api := set.Node("stellar-worker-1").API()
		to := rpcregistry.Node("stellar-worker-2")
		_, err := api.RPC.DoCluster(t.Context(), "api.cache.save", []any{"key", map[string]any{"a": 1}, 60_000}, to)
		require.NoError(t, err)
		got, err := api.RPC.DoCluster(t.Context(), "api.cache.load", []any{"key"}, to)
		require.NoError(t, err)
		require.JSONEq(t, `{"a":1}`, string(got.Value))
		_, err = api.RPC.DoCluster(t.Context(), "api.log", []any{"text"}, to)
		require.NoError(t, err)
	})
}
