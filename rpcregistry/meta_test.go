package rpcregistry_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/rpcregistry"
)

func TestMetaReachesTheMethodByEveryKindOfCall(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		c := newCluster(t, cfg)
		seen := make(chan map[string]string, 10)
		r := rpcregistry.NewRegistry()
		rpcregistry.Handle(r, "look", func(ctx context.Context, _ any) (any, error) {
			seen <- rpcregistry.FromContext(ctx).Meta
			return nil, nil
		})
		a := c.join("a", nil)
		c.join("b", r)
		ctx, to := t.Context(), rpcregistry.Node("b")
		o := rpcregistry.CallOptions{Meta: map[string]string{"tenant": "t\"1\"", "trace.id": "ü"}}

		_, err := a.DoClusterWith(ctx, "look", nil, to, o)
		require.NoError(t, err)
		require.Equal(t, o.Meta, <-seen)
		_, err = rpcregistry.DoWith[any](ctx, a.Endpoint, "look", nil, rpcregistry.All(), o)
		require.NoError(t, err)
		require.Equal(t, o.Meta, <-seen)
		_, err = a.DoAllWith(ctx, "look", nil, o)
		require.NoError(t, err)
		require.Equal(t, o.Meta, <-seen)
		require.NoError(t, a.CastWith(ctx, "look", nil, to, o))
		require.Equal(t, o.Meta, <-seen)
		_, err = a.DoCluster(ctx, "look", nil, to)
		require.NoError(t, err)
		require.Nil(t, <-seen)

		bad := rpcregistry.CallOptions{Meta: map[string]string{"": "1"}}
		_, err = a.DoClusterWith(ctx, "look", nil, to, bad)
		require.ErrorIs(t, err, rpcregistry.ErrBadArguments)
		require.ErrorIs(t, err, link.ErrMeta)
	})
}
