package rpcregistry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/rpcregistry"
)

func TestBuiltins(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		c := newCluster(t, cfg)
		var mu sync.Mutex
		var log bytes.Buffer
		own := rpcregistry.NewRegistry()
		rpcregistry.Handle(own, "api.methods", func(context.Context, any) (string, error) { return "my own", nil })
		a := c.join("a", own)
		b := c.join("b", nil, func(c *rpcregistry.Config) {
			c.Log = zerolog.New(writer(func(p []byte) { mu.Lock(); defer mu.Unlock(); log.Write(p) }))
		})
		ctx := t.Context()
		pong, err := rpcregistry.Do[rpcregistry.Pong](ctx, a.Endpoint, "api.ping", nil, rpcregistry.Node("b"))
		require.NoError(t, err)
		require.Equal(t, b.self.ID, pong.Node)
		require.Equal(t, b.self.Incarnation, pong.Incarnation)
		require.WithinDuration(t, time.Now(), pong.At, 5*time.Second)

		list, err := rpcregistry.Do[[]rpcregistry.MethodInfo](ctx, a.Endpoint, "api.methods", nil, rpcregistry.Node("b"))
		require.NoError(t, err)
		require.Len(t, list, 3)
		require.Equal(t, rpcregistry.MethodInfo{Name: "api.log", Arguments: "{text: string, severity?: string, data?: any}", Result: "{}"}, list[0])
		mine, err := rpcregistry.Do[string](ctx, b.Endpoint, "api.methods", nil, rpcregistry.Node("a"))
		require.NoError(t, err)
		require.Equal(t, "my own", mine)

		for method, args := range map[string]string{
			"api.ping": `{"frob":1}`, "api.methods": `[{"frob":1}]`, "api.log": `{"text":"x","sevrity":"warn"}`,
		} {
			_, err = a.DoCluster(ctx, method, json.RawMessage(args), rpcregistry.Node("b"))
			require.ErrorIs(t, err, rpcregistry.ErrBadArguments, method)
		}
		for _, args := range []any{nil, []any{}, []any{""}, []any{"", "warn"}, map[string]any{"severity": "warn"}} {
			_, err = a.DoCluster(ctx, "api.log", args, rpcregistry.Node("b"))
			require.ErrorContains(t, err, "text is empty: write [", "%v", args)
			require.ErrorIs(t, err, rpcregistry.ErrBadArguments)
		}
		for _, args := range [][]any{
			{"evil\n\x1b[31m text"}, {"warned", "warn"}, {"no panic", "panic"}, {"nonsense", "x"}, {"off", "disabled"},
			{"as the original", "warning", map[string]any{"a": []int{1}}}, {"two", "crit", nil}, {"three", "notice", 1, "x\n"}, {"four", "emerg"},
		} {
			_, err = a.DoCluster(ctx, "api.log", args, rpcregistry.Node("b"))
			require.NoError(t, err)
		}
		mu.Lock()
		defer mu.Unlock()
		var lines []string
		for line := range strings.Lines(log.String()) {
			lines = append(lines, strings.TrimSpace(line))
		}
		require.Equal(t, []string{
			`{"level":"info","from":"a","text":"evil\n\u001b[31m text","message":"api.log"}`,
			`{"level":"warn","from":"a","text":"warned","message":"api.log"}`,
			`{"level":"error","from":"a","text":"no panic","message":"api.log"}`,
			`{"level":"info","from":"a","text":"nonsense","severity":"x","message":"api.log"}`,
			`{"level":"info","from":"a","text":"off","severity":"disabled","message":"api.log"}`,
			`{"level":"warn","from":"a","text":"as the original","data":{"a":[1]},"message":"api.log"}`,
			`{"level":"error","from":"a","text":"two","message":"api.log"}`,
			`{"level":"info","from":"a","text":"three","data":[1,"x\n"],"message":"api.log"}`,
			`{"level":"error","from":"a","text":"four","message":"api.log"}`,
		}, lines)
	})
}

type writer func([]byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }
