package otel_test

import (
	"context"
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/embedded"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/otel"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// traced is a set of a test whose spans are recorded.
type traced struct {
	*supervisortest.Set

	redis    link.Config
	api      *worker.API // of stellar-worker-1
	tracer   trace.Tracer
	recorder *tracetest.SpanRecorder
}

// start starts a set of an app that is traced with cfg; without a provider, by one that samples all.
func start(t *testing.T, app *worker.App, workers int, cfg otel.Config, o ...sdk.TracerProviderOption) *traced {
	t.Helper()
	server := embedded.New()
	t.Cleanup(func() { _ = server.Close() })
	r := tracetest.NewSpanRecorder()
	p := sdk.NewTracerProvider(append(o, sdk.WithSpanProcessor(r))...)
	cfg.Provider = p
	otel.Use(app, cfg)
	otel.Use(app, otel.Config{Provider: noop.NewTracerProvider()}) // it comes too late
	set := supervisortest.StartWith(t, app, supervisor.Config{Workers: workers, Observer: otel.Locks{}, Redis: link.Config{Dial: server.Dial}})
	return &traced{set, link.Config{Dial: server.Dial}, set.Node("stellar-worker-1").API(), p.Tracer("test"), r}
}

// ended returns the spans of a name in the order of their ends, once there are n.
func (s *traced) ended(t *testing.T, name string, n int) []sdk.ReadOnlySpan {
	t.Helper()
	var found []sdk.ReadOnlySpan
	require.Eventually(t, func() bool {
		found = nil
		for _, span := range s.recorder.Ended() {
			if span.Name() == name {
				found = append(found, span)
			}
		}
		return len(found) >= n
	}, 30*time.Second, time.Millisecond, name)
	require.Len(t, found, n)
	return found
}

// of returns an attribute of a span, nil for none.
func of(s sdk.ReadOnlySpan, key string) any {
	for _, kv := range s.Attributes() {
		if kv.Key == attribute.Key(key) {
			return kv.Value.AsInterface()
		}
	}
	return nil
}

func linked(s sdk.ReadOnlySpan) []trace.SpanID {
	var all []trace.SpanID
	for _, l := range s.Links() {
		all = append(all, l.SpanContext.SpanID())
	}
	return all
}

func nothing(context.Context, any) error { return nil }

func TestManyTasksShareASpan(t *testing.T) {
	app := worker.NewApp()
	tasks.Handle(app, tasks.Definition{Name: "a", Queue: "q"}, nothing)
	s := start(t, app, 1, otel.Config{})
	_, err := s.api.Tasks.EnqueueMany(t.Context(), []tasks.Request{{Name: "a"}, {Name: "a", Then: []tasks.Request{{Name: "a"}}}})
	require.NoError(t, err)
	enqueue := s.ended(t, "enqueue q", 1)[0]
	require.Equal(t, int64(3), of(enqueue, "messaging.batch.message_count"))
	require.Equal(t, trace.SpanKindProducer, enqueue.SpanKind())
	for _, run := range s.ended(t, "process q", 3) {
		require.Equal(t, []trace.SpanID{enqueue.SpanContext().SpanID()}, linked(run))
		require.False(t, run.Parent().IsValid())
	}
}

func TestEachOfManyTasksHasASpanIfWanted(t *testing.T) {
	app := worker.NewApp()
	tasks.Handle(app, tasks.Definition{Name: "a", Queue: "q"}, nothing)
	tasks.Handle(app, tasks.Definition{Name: "b", Queue: "p"}, nothing)
	s := start(t, app, 1, otel.Config{CreateSpans: true})
	receipts, err := s.api.Tasks.EnqueueMany(t.Context(), []tasks.Request{{Name: "a"}, {Name: "b"}})
	require.NoError(t, err)
	enqueue := s.ended(t, "enqueue", 1)[0]
	require.Equal(t, trace.SpanKindClient, enqueue.SpanKind())
	for i, queue := range []string{"q", "p"} {
		create := s.ended(t, "create "+queue, 1)[0]
		require.Equal(t, enqueue.SpanContext().SpanID(), create.Parent().SpanID())
		require.Equal(t, receipts[i].ID, of(create, "messaging.message.id"))
		require.Equal(t, []trace.SpanID{create.SpanContext().SpanID()}, linked(s.ended(t, "process "+queue, 1)[0]))
	}
}

func TestAFirstRunIsAChildIfWanted(t *testing.T) {
	app := worker.NewApp()
	tasks.Handle(app, tasks.Definition{Name: "a", MaxAttempts: 2, Backoff: time.Millisecond}, func(context.Context, any) error { return errors.New("no luck") })
	s := start(t, app, 1, otel.Config{ParentFirstAttempt: true})
	_, err := s.api.Tasks.Enqueue(t.Context(), "a", nil)
	require.NoError(t, err)
	runs := s.ended(t, "process default", 2)
	enqueue := s.ended(t, "enqueue default", 1)[0].SpanContext()
	require.Equal(t, enqueue.SpanID(), runs[0].Parent().SpanID())
	require.Empty(t, linked(runs[0]))
	require.False(t, runs[1].Parent().IsValid())
	require.Equal(t, []trace.SpanID{enqueue.SpanID()}, linked(runs[1]))
}

func TestABatchLinksToAllItsTasks(t *testing.T) {
	app := worker.NewApp()
	tasks.HandleBatch(app, tasks.Definition{Name: "a", MaxAttempts: 1}, tasks.Batch{Max: 3, Wait: time.Minute}, func(context.Context, []any) error {
		return tasks.BatchError{0: tasks.Snooze(time.Hour), 1: errors.New("no luck")}
	})
	s := start(t, app, 1, otel.Config{})
	var want []trace.SpanID
	for range 3 {
		_, err := s.api.Tasks.Enqueue(t.Context(), "a", nil)
		require.NoError(t, err)
	}
	for _, e := range s.ended(t, "enqueue default", 3) {
		want = append(want, e.SpanContext().SpanID())
	}
	run := s.ended(t, "process default", 1)[0]
	require.ElementsMatch(t, want, linked(run))
	require.Equal(t, int64(3), of(run, "messaging.batch.message_count"))
	require.Equal(t, int64(1), of(run, "stellar.batch.failed"))
	require.Equal(t, sdk.Status{Code: codes.Error, Description: "no luck"}, run.Status())
}

func TestTheStatusOfARun(t *testing.T) {
	app := worker.NewApp()
	started := make(chan struct{})
	for name, h := range map[string]func(ctx context.Context) error{
		"done":      func(context.Context) error { return nil },
		"failed":    func(context.Context) error { return &json.SyntaxError{} },
		"discarded": func(context.Context) error { return tasks.Discard(errors.New("no use")) },
		"snoozed":   func(context.Context) error { return tasks.Snooze(time.Hour) },
		"throttled": func(context.Context) error { return tasks.Throttle(time.Hour) },
		"panicked":  func(context.Context) error { panic("oops") },
		"timeout":   func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"cancelled": func(ctx context.Context) error { close(started); <-ctx.Done(); return ctx.Err() },
		"slept":     func(ctx context.Context) error { return tasks.Sleep(ctx, "nap", time.Hour) },
	} {
		d := tasks.Definition{Name: name, Queue: name, MaxAttempts: 1}
		if name == "timeout" {
			d.Timeout = time.Millisecond
		}
		tasks.Handle(app, d, func(ctx context.Context, _ any) error { return h(ctx) })
	}
	s := start(t, app, 1, otel.Config{})
	for _, want := range []struct {
		name, outcome, errorType string
		status                   codes.Code
	}{
		{"done", "done", "", codes.Unset},
		{"failed", "failed", "*json.SyntaxError", codes.Error},
		{"discarded", "discarded", "_OTHER", codes.Error},
		{"snoozed", "snoozed", "", codes.Unset},
		{"throttled", "throttled", "", codes.Unset},
		{"panicked", "", "panic", codes.Error},
		{"timeout", "failed", "timeout", codes.Error},
		{"cancelled", "cancelled", "", codes.Unset},
		{"slept", "snoozed", "", codes.Unset},
	} {
		receipt, err := s.api.Tasks.Enqueue(t.Context(), want.name, nil)
		require.NoError(t, err)
		if want.name == "cancelled" {
			receive(t, started)
			_, err := s.api.Inspector.Cancel(t.Context(), receipt.ID, "")
			require.NoError(t, err)
		}
		run := s.ended(t, "process "+want.name, 1)[0]
		require.Equal(t, want.status, run.Status().Code, want.name)
		if want.outcome != "" {
			require.Equal(t, want.outcome, of(run, "stellar.task.outcome"), want.name)
		}
		if want.errorType != "" {
			require.Equal(t, want.errorType, of(run, "error.type"), want.name)
		}
	}
}

func TestAPeriodicRunIsARootWithoutALink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := worker.NewApp()
		tasks.Handle(app, tasks.Definition{Name: "a"}, nothing)
		app.RegisterPeriodic(tasks.Periodic{Name: "tick", Task: "a", Schedule: tasks.Every(time.Minute)})
		s := start(t, app, 1, otel.Config{})
		time.Sleep(3 * time.Minute)
		require.NoError(t, s.Stop())
		require.GreaterOrEqual(t, len(s.recorder.Ended()), 2)
		for _, run := range s.recorder.Ended() {
			require.Equal(t, "process default", run.Name())
			require.Empty(t, linked(run))
			require.False(t, run.Parent().IsValid())
			require.Equal(t, "tick", of(run, "stellar.periodic"))
		}
	})
}

func TestACallOfAllHasASpanOnEachNode(t *testing.T) {
	app := worker.NewApp()
	rpcregistry.Handle(app, "ask", func(ctx context.Context, _ struct{}) (string, error) { return worker.FromContext(ctx).ID(), nil })
	s := start(t, app, 3, otel.Config{})
	_, err := s.api.RPC.DoAll(t.Context(), "ask", nil)
	require.NoError(t, err)
	var client sdk.ReadOnlySpan
	servers := 0
	for _, span := range s.ended(t, "ask", 4) {
		if span.SpanKind() == trace.SpanKindClient {
			client = span
		}
	}
	require.Equal(t, int64(3), of(client, "stellar.rpc.replies"))
	for _, span := range s.ended(t, "ask", 4) {
		if span.SpanKind() == trace.SpanKindServer {
			servers++
			require.Equal(t, client.SpanContext().SpanID(), span.Parent().SpanID())
		}
	}
	require.Equal(t, 3, servers)

	_, err = s.api.RPC.DoCluster(t.Context(), "none", nil, rpcregistry.Node("stellar-worker-2"))
	require.Error(t, err)
	require.Equal(t, "no_such_method", of(s.ended(t, "none", 1)[0], "error.type"))
}

// Somebody who looks at the cluster each second makes no traces, except within one.
func TestABuiltInMethodHasASpanWithinATraceOnly(t *testing.T) {
	app := worker.NewApp()
	s := start(t, app, 2, otel.Config{})
	other := supervisortest.StartWith(t, worker.NewApp(), supervisor.Config{Workers: 1, Redis: s.redis, WorkerPrefix: "untraced"})
	_, err := other.Node("untraced-1").API().RPC.DoCluster(t.Context(), "api.ping", nil, rpcregistry.Node("stellar-worker-1"))
	require.NoError(t, err)
	require.Empty(t, s.recorder.Ended())
	_, err = s.api.RPC.DoCluster(t.Context(), "api.ping", nil, rpcregistry.Node("stellar-worker-2"))
	require.NoError(t, err)
	s.ended(t, "api.ping", 2)
}

// Where nothing is sampled, nothing is stored, and calls stay unsampled.
func TestNothingTravelsWhereNoSpanRecords(t *testing.T) {
	app := worker.NewApp()
	metas := make(chan map[string]string, 2)
	tasks.Handle(app, tasks.Definition{Name: "a"}, func(ctx context.Context, _ any) error {
		metas <- tasks.InfoOf(ctx).Meta
		tasks.Tx(ctx).Publish("m", nil)
		return nil
	})
	app.Subscribe("m", func(_ context.Context, m redisbus.Message) { metas <- m.Meta })
	rpcregistry.Handle(app, "ask", func(ctx context.Context, _ struct{}) (bool, error) {
		return trace.SpanContextFromContext(ctx).IsSampled(), nil
	})
	s := start(t, app, 2, otel.Config{}, sdk.WithSampler(sdk.ParentBased(sdk.NeverSample(), sdk.WithRemoteParentNotSampled(sdk.NeverSample()))))
	_, err := s.api.Tasks.Enqueue(t.Context(), "a", nil)
	require.NoError(t, err)
	require.Nil(t, <-metas)
	require.Nil(t, <-metas)
	sampled, err := rpcregistry.Do[bool](t.Context(), s.api.RPC, "ask", nil, rpcregistry.Node("stellar-worker-2"))
	require.NoError(t, err)
	require.False(t, sampled)
	require.Empty(t, s.recorder.Ended())
}

func TestMetaOfTheCallerComesFirst(t *testing.T) {
	app := worker.NewApp()
	metas := make(chan map[string]string, 1)
	tasks.Handle(app, tasks.Definition{Name: "a"}, func(ctx context.Context, _ any) error { metas <- tasks.InfoOf(ctx).Meta; return nil })
	s := start(t, app, 1, otel.Config{Baggage: []string{"tenant", "large"}})
	member := func(key, value string) baggage.Member {
		m, err := baggage.NewMember(key, value)
		require.NoError(t, err)
		return m
	}
	bag, err := baggage.New(member("tenant", "acme"), member("secret", "x"), member("large", strings.Repeat("x", 600)))
	require.NoError(t, err)
	ctx, span := s.tracer.Start(baggage.ContextWithBaggage(t.Context(), bag), "request")
	defer span.End()
	send := func(meta map[string]string) map[string]string {
		_, err := s.api.Tasks.EnqueueWith(ctx, "a", nil, tasks.Options{Meta: meta})
		require.NoError(t, err)
		return <-metas
	}

	got := send(nil)
	require.Len(t, got["traceparent"], 55)
	require.Equal(t, "tenant=acme", got["baggage"])
	require.Len(t, got, 2)

	own := map[string]string{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "a=b", "baggage": "b=c", "other": "d"}
	require.Equal(t, own, send(own))

	full := map[string]string{"other": strings.Repeat("x", 1000)}
	require.Equal(t, full, send(full), "what does not fit is left out")
	roomy := map[string]string{"other": strings.Repeat("x", 950)}
	got = send(roomy)
	require.NotEmpty(t, got["traceparent"])
	require.Empty(t, got["baggage"])
	require.Len(t, roomy, 1, "the caller's map stays as it is")

	for _, broken := range []string{"", "x", "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", strings.Repeat("0", 900)} {
		_, err := s.api.Tasks.EnqueueWith(t.Context(), "a", nil, tasks.Options{Queue: "default", Meta: map[string]string{"traceparent": broken}})
		require.NoError(t, err)
		require.Equal(t, broken, (<-metas)["traceparent"])
	}
}

func TestALongWaitForALockIsAnEvent(t *testing.T) {
	s := start(t, worker.NewApp(), 1, otel.Config{})
	for _, long := range []bool{true, false} {
		ctx, span := s.tracer.Start(t.Context(), "request")
		held, err := s.api.Cache.Lock(ctx, "k", time.Minute)
		require.NoError(t, err)
		if long {
			time.AfterFunc(4*otel.LockWait, func() { _ = held.Unlock() })
		} else {
			require.NoError(t, held.Unlock())
		}
		next, err := s.api.Cache.Lock(ctx, "k", time.Minute)
		require.NoError(t, err)
		require.NoError(t, next.Unlock())
		span.End()
	}
	requests := s.ended(t, "request", 2)
	require.Len(t, requests[0].Events(), 1)
	require.Equal(t, "lock", requests[0].Events()[0].Name)
	require.Empty(t, requests[1].Events())
}

// Spans are outside of a program's own middleware, whenever Use is called, and once.
func TestUseIsOutermostAndOnce(t *testing.T) {
	app := worker.NewApp()
	inSpan := make(chan bool, 1)
	app.Use(func(next tasks.Handler) tasks.Handler {
		return func(ctx context.Context, payload json.RawMessage) error {
			inSpan <- trace.SpanContextFromContext(ctx).IsValid()
			return next(ctx, payload)
		}
	})
	tasks.Handle(app, tasks.Definition{Name: "a"}, nothing)
	s := start(t, app, 1, otel.Config{})
	_, err := s.api.Tasks.Enqueue(t.Context(), "a", nil)
	require.NoError(t, err)
	require.True(t, <-inSpan)
	s.ended(t, "process default", 1)
}

// With a provider that makes no spans, the app is as if Use had not been called.
func TestWithTheNoopProviderNothingIsTraced(t *testing.T) {
	app := worker.NewApp()
	in := make(chan context.Context, 1)
	tasks.Handle(app, tasks.Definition{Name: "a"}, func(ctx context.Context, _ any) error { in <- ctx; return nil })
	otel.Use(app, otel.Config{Provider: noop.NewTracerProvider()})
	s := start(t, app, 1, otel.Config{}) // comes too late
	ctx, span := s.tracer.Start(t.Context(), "request")
	defer span.End()
	_, err := s.api.Tasks.Enqueue(ctx, "a", nil)
	require.NoError(t, err)
	got := <-in
	require.Nil(t, tasks.InfoOf(got).Meta)
	require.False(t, trace.SpanContextFromContext(got).IsValid())
	require.Empty(t, s.recorder.Ended())
}

// Whoever embeds the package links the API of OpenTelemetry, and neither its SDK nor an exporter;
// whoever does not import it links nothing of it.
func TestWhatIsLinked(t *testing.T) {
	deps := func(of string) string {
		out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", of).Output()
		require.NoError(t, err)
		return string(out)
	}
	own := deps("github.com/stellarfw/stellar/supervisor/otel")
	for _, not := range []string{"go.opentelemetry.io/otel/sdk", "go.opentelemetry.io/otel/exporters", "google.golang.org", "supervisor/cli"} {
		require.NotContains(t, own, not)
	}
	for _, of := range []string{"supervisor", "supervisor/admin", "supervisor/supervisortest", "supervisor/commandtask"} {
		require.NotContains(t, deps("github.com/stellarfw/stellar/"+of), "opentelemetry", of)
	}
}
