package rpcregistry_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/rpcregistry"
)

func TestABusyNodeSaysSo(t *testing.T) {
	c := newCluster(t, redistest.Embedded(t).Config())
	a := c.join("a", nil)
	b := c.join("b", methods(), func(c *rpcregistry.Config) { c.MaxCalls = 2 })
	ctx, cancel := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	for range 2 {
		waiting.Go(func() { _, _ = a.DoCluster(ctx, "wait", nil, rpcregistry.Node("b")) })
	}
	require.Eventually(t, func() bool { return b.Stats().Running == 2 }, time.Minute, time.Millisecond)
	_, err := a.DoCluster(t.Context(), "echo", nil, rpcregistry.Node("b"))
	require.ErrorIs(t, err, rpcregistry.ErrBusy)
	cancel()
	waiting.Wait()
}

func TestAFloodOfOneCallerLeavesRoomForOthersAndForControl(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		t.Parallel()
		c := newCluster(t, cfg)
		r := methods()
		rpcregistry.Handle(rpcregistry.Control(r), "stop", func(context.Context, struct{}) (string, error) { return "stops", nil })
		flooder, other := c.join("a", nil), c.join("b", nil)
		victim := c.join("c", r, func(c *rpcregistry.Config) { c.MaxCalls = 16 })
		ctx, cancel := context.WithCancel(t.Context())
		var calls sync.WaitGroup
		flood := func(method string, n int) {
			for range n {
				calls.Go(func() { _, _ = flooder.DoCluster(ctx, method, nil, rpcregistry.Node("c")) })
			}
		}
		flood("wait", 100)
		require.Eventually(t, func() bool { return victim.Stats().Running == 12 }, time.Minute, time.Millisecond)
		_, err := flooder.DoCluster(t.Context(), "echo", nil, rpcregistry.Node("c"))
		require.ErrorIs(t, err, rpcregistry.ErrBusy, "it has its share")
		for range 20 {
			_, err = other.DoCluster(t.Context(), "echo", nil, rpcregistry.Node("c"))
			require.NoError(t, err, "another caller has room")
			for method, args := range map[string]any{"api.ping": nil, "api.log": []string{"text"}, "api.methods": nil, "stop": nil} {
				_, err = flooder.DoCluster(t.Context(), method, args, rpcregistry.Node("c"))
				require.NoError(t, err, "%s has slots of its own", method)
			}
		}
		cancel()
		calls.Wait()
		require.Eventually(t, func() bool { return victim.Stats().Running == 0 }, time.Minute, time.Millisecond)
		_, err = flooder.DoCluster(t.Context(), "echo", nil, rpcregistry.Node("c"))
		require.NoError(t, err, "its slots are free again")
	})
}

func TestWhatIsTooLargeIsToldToTheCaller(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		c := newCluster(t, cfg)
		r := methods()
		rpcregistry.Handle(r, "large", func(context.Context, any) (string, error) { return strings.Repeat("x", redisbus.MaxMessage), nil })
		rpcregistry.Handle(r, "deep", func(context.Context, any) (json.RawMessage, error) {
			return json.RawMessage(strings.Repeat("[", 31) + strings.Repeat("]", 31)), nil
		})
		rpcregistry.Handle(r, "broken", func(context.Context, any) (json.RawMessage, error) { return json.RawMessage(`{`), nil })
		rpcregistry.Handle(r, "unsayable", func(context.Context, any) (func(), error) { return func() {}, nil })
		rpcregistry.Handle(r, "verbose", func(context.Context, any) (any, error) {
			return nil, fmt.Errorf("%s", strings.Repeat("\x00", redisbus.MaxMessage))
		})
		a, _ := c.join("a", nil), c.join("b", r)
		for method, want := range map[string]rpcregistry.Code{
			"large": rpcregistry.ErrTooLarge, "deep": rpcregistry.ErrFailed, "broken": rpcregistry.ErrFailed, "unsayable": rpcregistry.ErrFailed, "verbose": rpcregistry.ErrFailed,
		} {
			_, err := a.DoCluster(t.Context(), method, nil, rpcregistry.Node("b"))
			require.ErrorIs(t, err, want, method)
			require.NotErrorIs(t, err, rpcregistry.ErrTimeout)
		}
		for _, to := range []rpcregistry.Target{rpcregistry.Node("b"), rpcregistry.All()} {
			_, err := a.DoCluster(t.Context(), "echo", strings.Repeat("x", redisbus.MaxMessage), to)
			require.ErrorIs(t, err, rpcregistry.ErrTooLarge)
			require.ErrorIs(t, a.Cast(t.Context(), "echo", strings.Repeat("x", redisbus.MaxMessage), to), rpcregistry.ErrTooLarge)
		}
		_, err := a.DoAll(t.Context(), "echo", strings.Repeat("x", redisbus.MaxMessage))
		require.ErrorIs(t, err, rpcregistry.ErrTooLarge)
		for _, args := range []any{func() {}, json.RawMessage(`{`), json.RawMessage(`{"a":1,"a":2}`)} {
			_, err := a.DoCluster(t.Context(), "echo", args, rpcregistry.Node("b"))
			require.ErrorIs(t, err, rpcregistry.ErrBadArguments)
		}
		_, err = a.DoCluster(t.Context(), "bad name", nil, rpcregistry.All())
		require.ErrorIs(t, err, rpcregistry.ErrNoSuchMethod)
		_, err = a.DoCluster(t.Context(), "echo", nil, rpcregistry.Node("bad\nname"))
		require.ErrorIs(t, err, rpcregistry.ErrNoSuchTarget)
	})
}
