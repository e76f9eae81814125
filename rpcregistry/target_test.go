package rpcregistry_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/rpcregistry"
)

// An empty id is a mistake, such as a field that was never filled in: it must not call
// everybody.
func TestEmptyTargetIsNobody(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		ran := make(chan string, 10)
		r := rpcregistry.NewRegistry()
		rpcregistry.Handle(r, "drop", func(context.Context, any) (any, error) {
			ran <- "drop"
			return nil, nil
		})
		a := newCluster(t, cfg).join("a", r)
		for _, to := range []rpcregistry.Target{{}, rpcregistry.Node(""), rpcregistry.Connection("")} {
			_, err := a.DoCluster(t.Context(), "drop", nil, to)
			require.ErrorIs(t, err, rpcregistry.ErrNoSuchTarget)
			require.ErrorContains(t, err, "All()")
			require.ErrorIs(t, a.Cast(t.Context(), "drop", nil, to), rpcregistry.ErrNoSuchTarget)
			require.Equal(t, "nobody", to.String())
		}
		_, err := a.DoCluster(t.Context(), "drop", nil, rpcregistry.All())
		require.NoError(t, err)
		require.Len(t, ran, 1)
	})
}

// Nodes of another token mode drop calls without a word.
func TestCallToAnotherTokenModeSaysSo(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		t.Parallel() // they wait for their callers' time to end
		c := newCluster(t, cfg)
		modes := func(context.Context) (map[string]link.Mode, error) {
			return map[string]link.Mode{"a": link.ModeHMAC, "b": link.ModePlain}, nil
		}
		a := c.join("a", methods(), func(c *rpcregistry.Config) { c.Modes = modes })
		c.join("b", methods())
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begun := time.Now()
		_, err := a.DoCluster(ctx, "wait", nil, rpcregistry.Node("b"))
		require.ErrorIs(t, err, rpcregistry.ErrUnavailable)
		require.ErrorContains(t, err, "token mode plain")
		require.ErrorContains(t, err, "token mode hmac")
		require.Less(t, time.Since(begun), 30*time.Second)

		short, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		verdicts, err := a.DoAll(short, "wait", nil)
		require.NoError(t, err)
		require.ErrorIs(t, verdicts[0].Err, rpcregistry.ErrTimeout, "a itself is only slow")
		require.ErrorIs(t, verdicts[1].Err, rpcregistry.ErrUnavailable)
	})
}
