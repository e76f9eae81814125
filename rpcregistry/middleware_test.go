package rpcregistry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/rpcregistry"
)

func TestMiddlewareWrapsCallsAndMethodsTheFirstOutermost(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		c := newCluster(t, cfg)
		calling := func(name string) rpcregistry.CallMiddleware {
			return func(next rpcregistry.CallFunc) rpcregistry.CallFunc {
				return func(ctx context.Context, r rpcregistry.Request) (rpcregistry.Result, error) {
					r.Meta = map[string]string{"path": r.Meta["path"] + name}
					result, err := next(ctx, r)
					if err != nil {
						return result, fmt.Errorf("%s: %w", name, err)
					}
					if r.Replies == rpcregistry.FirstReply {
						result.Value = append(result.Value, " "+name...)
					}
					return result, nil
				}
			}
		}
		answering := func(name string) rpcregistry.MethodMiddleware {
			return func(next rpcregistry.MethodFunc) rpcregistry.MethodFunc {
				return func(ctx context.Context, args json.RawMessage) (json.RawMessage, error) {
					if rpcregistry.FromContext(ctx).Method == "echo" {
						args = append(args[:len(args)-1:len(args)-1], name+`"`...)
					}
					value, err := next(ctx, args)
					return bytes.ToUpper(value), err
				}
			}
		}
		r := rpcregistry.NewRegistry()
		rpcregistry.Handle(r, "echo", func(ctx context.Context, text string) (string, error) {
			return text + rpcregistry.FromContext(ctx).Meta["path"], nil
		})
		a := c.join("a", nil, func(c *rpcregistry.Config) {
			c.CallMiddleware = []rpcregistry.CallMiddleware{calling("x"), calling("y")}
		})
		c.join("b", r, func(c *rpcregistry.Config) {
			c.MethodMiddleware = []rpcregistry.MethodMiddleware{answering("1"), answering("2")}
		})
		ctx, to := t.Context(), rpcregistry.Node("b")
		for range 2 {
			got, err := a.DoCluster(ctx, "echo", "text", to)
			require.NoError(t, err)
			require.Equal(t, `"TEXT12XY" y x`, string(got.Value))
		}
		verdicts, err := a.DoAll(ctx, "echo", "text")
		require.NoError(t, err)
		require.Len(t, verdicts, 2)
		require.Equal(t, `"TEXT12XY"`, string(verdicts[1].Value))
		require.NoError(t, a.Cast(ctx, "echo", "text", to))
		err = a.Cast(ctx, "echo", "text", rpcregistry.Node("nobody"))
		require.ErrorIs(t, err, rpcregistry.ErrNoSuchTarget)
		require.ErrorContains(t, err, "x: y: call of echo")
		pong, err := a.DoCluster(ctx, "api.ping", nil, to)
		require.NoError(t, err)
		require.Contains(t, string(pong.Value), `"NODE"`, "built-in methods are wrapped, too")
	})
}

func TestMiddlewareCannotBreakCallsOrTheEndpoint(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		c := newCluster(t, cfg)
		var change func(r *rpcregistry.Request)
		a := c.join("a", nil, func(c *rpcregistry.Config) {
			c.CallMiddleware = []rpcregistry.CallMiddleware{func(next rpcregistry.CallFunc) rpcregistry.CallFunc {
				return func(ctx context.Context, r rpcregistry.Request) (rpcregistry.Result, error) {
					change(&r)
					return next(ctx, r)
				}
			}}
		})
		var answer func(args *json.RawMessage) error
		r := rpcregistry.NewRegistry()
		rpcregistry.Handle(r, "echo", func(_ context.Context, in any) (any, error) { return in, nil })
		c.join("b", r, func(c *rpcregistry.Config) {
			c.MethodMiddleware = []rpcregistry.MethodMiddleware{func(next rpcregistry.MethodFunc) rpcregistry.MethodFunc {
				return func(ctx context.Context, args json.RawMessage) (json.RawMessage, error) {
					if err := answer(&args); err != nil {
						return nil, err
					}
					return next(ctx, args)
				}
			}}
		})
		call := func() error {
			_, err := a.DoCluster(t.Context(), "echo", 1, rpcregistry.Node("b"))
			return err
		}
		answer = func(*json.RawMessage) error { return nil }
		for _, spoil := range []struct {
			want   error
			change func(r *rpcregistry.Request)
		}{
			{rpcregistry.ErrPanicked, func(*rpcregistry.Request) { panic("no") }},
			{rpcregistry.ErrBadArguments, func(r *rpcregistry.Request) { r.Args = json.RawMessage(`{"a":1,"a":2}`) }},
			{rpcregistry.ErrBadArguments, func(r *rpcregistry.Request) { r.Meta = map[string]string{"A": ""} }},
			{rpcregistry.ErrNoSuchMethod, func(r *rpcregistry.Request) { r.Method = "a b" }},
			{rpcregistry.ErrTooLarge, func(r *rpcregistry.Request) {
				r.Args = json.RawMessage(`"` + strings.Repeat("x", redisbus.MaxMessage) + `"`)
			}},
		} {
			change = spoil.change
			require.ErrorIs(t, call(), spoil.want)
		}
		change = func(*rpcregistry.Request) {}
		for _, spoil := range []struct {
			want   error
			answer func(args *json.RawMessage) error
		}{
			{rpcregistry.ErrPanicked, func(*json.RawMessage) error { panic("no") }},
			{rpcregistry.ErrBadArguments, func(args *json.RawMessage) error { *args = json.RawMessage(`{`); return nil }},
			{rpcregistry.ErrDenied, func(*json.RawMessage) error { return rpcregistry.ErrDenied }},
			{rpcregistry.ErrFailed, func(*json.RawMessage) error { return errors.New("no") }},
		} {
			answer = spoil.answer
			require.ErrorIs(t, call(), spoil.want)
		}
		answer = func(*json.RawMessage) error { return nil }
		require.NoError(t, call())
	})
}
