package otel_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog" //nolint:depguard // its lines are looked at, too
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/stellarfw/stellar/internal_test/collector"
	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/otel"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// shop is an app in which an order fails in its first run, loses its node in the second one, and in
// the third one asks another node, publishes a message and enqueues a mail.
type shop struct {
	*worker.App

	crash   func(node string)
	crashed string // the node
	mailed  chan struct{}
	heard   chan struct{}

	mu    sync.Mutex
	lines bytes.Buffer
}

// Write is for the lines of the handlers' logs.
func (s *shop) Write(line []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lines.Write(line)
}

func newShop() *shop {
	s := &shop{App: worker.NewApp(), mailed: make(chan struct{}), heard: make(chan struct{}, 3)}
	tasks.Handle(s, tasks.Definition{Name: "order", Queue: "orders", Backoff: time.Millisecond}, s.order)
	tasks.Handle(s, tasks.Definition{Name: "mail", Queue: "mails"}, func(context.Context, string) error { close(s.mailed); return nil })
	rpcregistry.Handle(s, "stock", func(ctx context.Context, _ struct{}) (int, error) {
		l := worker.Logger(ctx).Output(s)
		l.Info().Msg("asked")
		return 7, nil
	})
	s.Subscribe("ordered", func(context.Context, redisbus.Message) { s.heard <- struct{}{} })
	return s
}

func (s *shop) order(ctx context.Context, _ string) error {
	l := worker.Logger(ctx).Output(s)
	l.Info().Msg("run")
	slog.New(worker.SlogHandler(slog.NewJSONHandler(s, nil))).InfoContext(ctx, "slog")
	api := worker.FromContext(ctx)
	if tasks.InfoOf(ctx).Attempt == 1 {
		return errors.New("no luck")
	}
	if s.crashed == "" {
		s.crashed = api.ID()
		s.crash(s.crashed)
		<-ctx.Done()
		return ctx.Err()
	}
	others := slices.DeleteFunc([]string{"stellar-worker-1", "stellar-worker-2", "stellar-worker-3"}, func(id string) bool {
		return id == api.ID() || id == s.crashed // which may not be back yet
	})
	if _, err := rpcregistry.Do[int](ctx, api.RPC, "stock", nil, rpcregistry.Node(others[0])); err != nil {
		return err
	}
	tasks.Tx(ctx).Publish("ordered", nil)
	tasks.Tx(ctx).Enqueue("mail", "thanks")
	return nil
}

// newTracer returns a provider that exports to the collector, and a function that waits until it has.
func newTracer(t *testing.T, c *collector.Collector) *sdk.TracerProvider {
	t.Helper()
	to, err := otlptracehttp.New(t.Context(), otlptracehttp.WithEndpointURL(c.URL+"/v1/traces"))
	require.NoError(t, err)
	p := sdk.NewTracerProvider(sdk.WithBatcher(to))
	t.Cleanup(func() { _ = p.Shutdown(context.WithoutCancel(t.Context())) })
	return p
}

func receive(t *testing.T, from <-chan struct{}) {
	t.Helper()
	select {
	case <-from:
	case <-time.After(30 * time.Second):
		t.Fatal("not within 30 s")
	}
}

// One request is followed from an HTTP handler through a task with its retries and a crash, a call,
// a message and a follow-up task.
func TestARequestIsFollowedThroughAllItCauses(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		c := collector.Start(t)
		provider := newTracer(t, c)
		s := newShop()
		otel.Use(s.App, otel.Config{Provider: provider})
		set := supervisortest.StartWith(t, s.App, supervisor.Config{Workers: 3, Redis: cfg, Backoff: time.Millisecond})
		s.crash = func(node string) { set.Node(node).Crash("drill") }
		client, err := worker.Connect(t.Context(), cfg, s.App)
		require.NoError(t, err)
		defer client.Close()
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, span := provider.Tracer("web").Start(r.Context(), "POST /orders", trace.WithSpanKind(trace.SpanKindServer))
			defer span.End()
			if _, err := client.Tasks.Enqueue(ctx, "order", "a book"); err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
			}
		}))
		defer web.Close()
		response, err := http.Post(web.URL, "", nil)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusOK, response.StatusCode)
		receive(t, s.mailed)
		receive(t, s.heard)
		require.NoError(t, set.Stop())
		require.NoError(t, provider.ForceFlush(t.Context()))

		one := func(name string) collector.Span {
			all := c.Named(name)
			require.Len(t, all, 1, name)
			return all[0]
		}
		request, enqueue := one("POST /orders"), one("enqueue orders")
		require.Empty(t, request.Parent)
		require.Equal(t, request.ID, enqueue.Parent)
		require.Equal(t, tracepb.Span_SPAN_KIND_PRODUCER, enqueue.Kind)
		id := enqueue.Attributes["messaging.message.id"]
		require.NotEmpty(t, id)

		runs := c.Named("process orders")
		require.Len(t, runs, 3)
		traces := map[string]struct{}{request.Trace: {}}
		for i, run := range runs {
			require.Empty(t, run.Parent)
			require.Equal(t, []string{enqueue.ID}, run.Links)
			require.Equal(t, request.Trace, trace.TraceID(run.Span.Links[0].TraceId).String())
			require.Equal(t, tracepb.Span_SPAN_KIND_CONSUMER, run.Kind)
			require.Equal(t, id, run.Attributes["messaging.message.id"])
			require.Equal(t, []any{"failed", "abandoned", "done"}[i], run.Attributes["stellar.task.outcome"])
			require.Equal(t, []any{int64(1), int64(2), int64(2)}[i], run.Attributes["stellar.task.attempt"])
			require.NotEmpty(t, run.Attributes["stellar.node"])
			traces[run.Trace] = struct{}{}
		}
		require.Len(t, traces, 4, "each run is a trace of its own")
		require.Equal(t, tracepb.Status_STATUS_CODE_ERROR, runs[0].Status.GetCode())
		require.Equal(t, "no luck", runs[0].Status.GetMessage())
		require.Equal(t, "_OTHER", runs[0].Attributes["error.type"])
		require.Equal(t, tracepb.Status_STATUS_CODE_UNSET, runs[1].Status.GetCode())
		require.Equal(t, tracepb.Status_STATUS_CODE_UNSET, runs[2].Status.GetCode())

		calls := c.Named("stock")
		require.Len(t, calls, 2)
		require.Equal(t, runs[2].ID, calls[0].Parent)
		require.Equal(t, tracepb.Span_SPAN_KIND_CLIENT, calls[0].Kind)
		require.Equal(t, calls[0].ID, calls[1].Parent)
		require.Equal(t, tracepb.Span_SPAN_KIND_SERVER, calls[1].Kind)
		require.Equal(t, runs[2].Trace, calls[1].Trace)
		require.Equal(t, runs[2].Attributes["stellar.node"], calls[1].Attributes["stellar.from"])
		require.Equal(t, "ok", calls[1].Attributes["rpc.response.status_code"])
		require.Equal(t, "stellar", calls[1].Attributes["rpc.system.name"])

		messages := c.Named("process ordered")
		require.NotEmpty(t, messages) // one on each node that runs
		for _, follow := range append(messages, one("process mails")) {
			require.Empty(t, follow.Parent)
			require.Equal(t, []string{runs[2].ID}, follow.Links)
			require.Equal(t, tracepb.Span_SPAN_KIND_CONSUMER, follow.Kind)
		}
		require.Len(t, c.Spans(), 8+len(messages), "and nothing else: no loop has spans")
		s.requireLines(t, runs, calls[1])
	})
}

// requireLines looks at the lines that the handlers have logged.
func (s *shop) requireLines(t *testing.T, runs []collector.Span, call collector.Span) {
	t.Helper()
	var lines []map[string]any
	for line := range bytes.Lines(s.lines.Bytes()) {
		var fields map[string]any
		require.NoError(t, json.Unmarshal(line, &fields))
		lines = append(lines, fields)
	}
	require.Len(t, lines, 2*len(runs)+1)
	for i, run := range runs {
		for _, line := range lines[2*i : 2*i+2] { // of zerolog, and of slog
			require.Equal(t, run.Attributes["messaging.message.id"], line["task"])
			require.Equal(t, "order", line["name"])
			require.InDelta(t, run.Attributes["stellar.task.attempt"], line["attempt"], 0)
			require.Equal(t, run.Trace, line["trace_id"])
			require.Equal(t, run.ID, line["span_id"])
			require.Contains(t, run.Attributes["stellar.node"], line["node"])
		}
	}
	require.Equal(t, "stock", lines[6]["method"])
	require.Equal(t, call.ID, lines[6]["span_id"])
	require.Equal(t, zerolog.LevelInfoValue, lines[6]["level"])
}
