package rpcregistry_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/rpcregistry"
)

// observer collects the ends of calls.
type observer struct {
	calls   chan rpcregistry.CallEnd
	methods chan rpcregistry.MethodEnd
}

func (o *observer) CallEnded(end rpcregistry.CallEnd)     { o.calls <- end }
func (o *observer) MethodEnded(end rpcregistry.MethodEnd) { o.methods <- end }

func TestTheObserverHearsHowCallsEnded(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		c := newCluster(t, cfg)
		o := &observer{calls: make(chan rpcregistry.CallEnd, 10), methods: make(chan rpcregistry.MethodEnd, 10)}
		observed := func(c *rpcregistry.Config) { c.Observer = o }
		r := rpcregistry.NewRegistry()
		r.Deny("denied")
		rpcregistry.Handle(r, "act", func(_ context.Context, what string) (any, error) {
			switch what {
			case "fail":
				return nil, errors.New("no")
			case "panic":
				panic("no")
			case "wait":
				time.Sleep(50 * time.Millisecond)
			}
			return nil, nil
		})
		a := c.join("a", nil, observed)
		c.join("b", r, observed)
		to := rpcregistry.Node("b")
		for _, call := range []struct {
			method, what string
			code         rpcregistry.Code
		}{
			{"act", "", ""},
			{"act", "fail", rpcregistry.ErrFailed},
			{"act", "panic", rpcregistry.ErrPanicked},
			{"denied", "", rpcregistry.ErrDenied},
			{"missing", "", rpcregistry.ErrNoSuchMethod},
		} {
			_, _ = a.DoCluster(t.Context(), call.method, call.what, to)
			end := <-o.calls
			require.Positive(t, end.Took)
			end.Took = 0
			require.Equal(t, rpcregistry.CallEnd{Method: call.method, Target: to, Code: call.code}, end)
			ended := <-o.methods
			require.Equal(t, call.method == "act", ended.Took > 0)
			ended.Took = 0
			require.Equal(t, rpcregistry.MethodEnd{Method: call.method, From: a.self, Code: call.code}, ended)
		}
		_, err := a.DoCluster(t.Context(), "act", "", rpcregistry.Node("nobody"))
		require.ErrorIs(t, err, rpcregistry.ErrNoSuchTarget)
		require.Equal(t, rpcregistry.ErrNoSuchTarget, (<-o.calls).Code)

		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Millisecond, cancel)
		_, err = a.DoCluster(ctx, "act", "wait", to)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, rpcregistry.ErrCanceled, (<-o.calls).Code)
		ended := <-o.methods
		require.Empty(t, ended.Code)
		require.GreaterOrEqual(t, ended.Took, 50*time.Millisecond)

		require.NoError(t, a.Cast(t.Context(), "act", "fail", to))
		require.Equal(t, rpcregistry.NoReply, (<-o.calls).Replies)
		require.Equal(t, rpcregistry.ErrFailed, (<-o.methods).Code)
		_, err = a.DoAll(t.Context(), "act", "")
		require.NoError(t, err)
		end := <-o.calls
		require.Equal(t, rpcregistry.EveryReply, end.Replies)
		require.Empty(t, end.Code)
		require.ElementsMatch(t, []rpcregistry.Code{"", rpcregistry.ErrNoSuchMethod}, []rpcregistry.Code{(<-o.methods).Code, (<-o.methods).Code})
	})
}
