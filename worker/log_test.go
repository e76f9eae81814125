package worker_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog" //nolint:depguard // its handler is tested
	"testing"
	"testing/slogtest"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// logged returns what a line of Logger and one of SlogHandler have with a context, besides time, level and text.
func logged(ctx context.Context) []map[string]any {
	var lines [2]bytes.Buffer
	l := worker.Logger(ctx).Output(&lines[0])
	l.Info().Msg("x")
	withoutTime := &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey {
			return slog.Attr{}
		}
		return a
	}}
	slog.New(worker.SlogHandler(slog.NewJSONHandler(&lines[1], withoutTime))).InfoContext(ctx, "x")
	var all []map[string]any
	for i := range lines {
		fields := map[string]any{}
		_ = json.Unmarshal(lines[i].Bytes(), &fields)
		delete(fields, "level")
		delete(fields, "message")
		all = append(all, fields)
	}
	return all
}

func TestLinesTellWhereTheyComeFrom(t *testing.T) {
	app := worker.NewApp()
	lines := make(chan []map[string]any, 1)
	log := func(ctx context.Context) { lines <- logged(ctx) }
	tasks.Handle(app, tasks.Definition{Name: "one"}, func(ctx context.Context, _ any) error { log(ctx); return nil })
	tasks.HandleBatch(app, tasks.Definition{Name: "many"}, tasks.Batch{}, func(ctx context.Context, _ []any) error { log(ctx); return nil })
	rpcregistry.Handle(app, "ask", func(ctx context.Context, _ struct{}) (any, error) { log(ctx); return nil, nil })
	app.Subscribe("m", func(ctx context.Context, _ redisbus.Message) { log(ctx) })
	app.UseMethod(func(next rpcregistry.MethodFunc) rpcregistry.MethodFunc {
		return func(ctx context.Context, args json.RawMessage) (json.RawMessage, error) {
			ctx = worker.WithLogFields(ctx, func(_ context.Context, add func(string, any)) { add("tenant", "acme") })
			return next(worker.WithLogFields(ctx, func(_ context.Context, add func(string, any)) { add("n", 1) }), args)
		}
	})
	set := supervisortest.StartWith(t, app, supervisor.Config{Workers: 1})
	api := set.Node("stellar-worker-1").API()
	both := func(want map[string]any) {
		t.Helper()
		require.Equal(t, []map[string]any{want, want}, <-lines)
	}

	receipt, err := api.Tasks.Enqueue(t.Context(), "one", nil)
	require.NoError(t, err)
	both(map[string]any{"node": "stellar-worker-1", "task": receipt.ID, "name": "one", "attempt": 1.0})
	_, err = api.Tasks.Enqueue(t.Context(), "many", nil)
	require.NoError(t, err)
	both(map[string]any{"node": "stellar-worker-1", "name": "many", "batch": 1.0})
	_, err = api.RPC.DoCluster(t.Context(), "ask", nil, rpcregistry.Node("stellar-worker-1"))
	require.NoError(t, err)
	both(map[string]any{"node": "stellar-worker-1", "method": "ask", "tenant": "acme", "n": 1.0})
	require.NoError(t, api.Bus.Publish(t.Context(), "m", nil))
	both(map[string]any{"node": "stellar-worker-1"})
}

// Outside of a node the logger is that of the context, as zerolog has it, or a silent one.
func TestLoggerOutsideOfANode(t *testing.T) {
	require.Equal(t, zerolog.Disabled, worker.Logger(t.Context()).GetLevel())
	var out bytes.Buffer
	ctx := zerolog.New(&out).WithContext(t.Context())
	l := worker.Logger(worker.WithLogFields(ctx, func(_ context.Context, add func(string, any)) { add("n", 1) }))
	l.Info().Msg("x")
	require.JSONEq(t, `{"level":"info","n":1,"message":"x"}`, out.String())
}

func TestSlogHandlerIsAHandler(t *testing.T) {
	var out bytes.Buffer
	slogtest.Run(t, func(*testing.T) slog.Handler {
		out.Reset()
		return worker.SlogHandler(slog.NewJSONHandler(&out, nil))
	}, func(t *testing.T) map[string]any {
		t.Helper()
		fields := map[string]any{}
		require.NoError(t, json.Unmarshal(out.Bytes(), &fields))
		return fields
	})
}

func TestFieldsStandOutsideOfGroups(t *testing.T) {
	var out bytes.Buffer
	ctx := worker.WithLogFields(t.Context(), func(_ context.Context, add func(string, any)) { add("task", "id") })
	log := slog.New(worker.SlogHandler(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})))
	inner := log.With("a", 1).WithGroup("g").With("b", 2)
	inner.WithGroup("h").InfoContext(ctx, "x", "c", 3)
	inner.InfoContext(ctx, "y", "d", 4)
	log.InfoContext(ctx, "z", "e", 5)
	require.Equal(t, "level=INFO msg=x a=1 task=id g.b=2 g.h.c=3\nlevel=INFO msg=y a=1 task=id g.b=2 g.d=4\nlevel=INFO msg=z e=5 task=id\n", out.String())
}
