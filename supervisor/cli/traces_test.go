package cli

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	api "go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"

	"github.com/stellarfw/stellar/internal_test/collector"
	"github.com/stellarfw/stellar/supervisor/otel"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// exporting returns an environment in which traces are exported; the SDK reads that of the process.
func exporting(t *testing.T, url string) environment {
	t.Helper()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
	return home(t).with("OTEL_EXPORTER_OTLP_ENDPOINT", url)
}

// parentApp is an app that traces by itself, and whose handler has a span of its own.
func parentApp() *worker.App {
	app := worker.NewApp()
	tasks.Handle(app, tasks.Definition{Name: "a"}, func(ctx context.Context, _ any) error {
		_, span := api.Tracer("shop").Start(ctx, "own")
		span.End()
		_, err := worker.FromContext(ctx).Tasks.Enqueue(ctx, "b", nil)
		return err
	})
	tasks.Handle(app, tasks.Definition{Name: "b"}, func(context.Context, any) error { return nil })
	otel.Use(app, otel.Config{ParentFirstAttempt: true, Provider: present{}})
	return app
}

// present is the global provider of the time when a span starts. The global provider itself remembers the first one that
// was set, which is that of another test.
type present struct{ embedded.TracerProvider }

func (present) Tracer(name string, _ ...trace.TracerOption) trace.Tracer {
	return presentTracer{name: name}
}

type presentTracer struct {
	embedded.Tracer

	name string
}

func (p presentTracer) Start(ctx context.Context, name string, o ...trace.SpanStartOption) (context.Context, trace.Span) {
	return api.Tracer(p.name).Start(ctx, name, o...) //nolint:spancheck // its caller ends it
}

func TestASetExportsItsTracesBeforeItEnds(t *testing.T) {
	c := collector.Start(t)
	env := exporting(t, c.URL)
	set := start(t, env, parentApp(), "--workers", "1")
	set.err.await(t, "node is running", 1)
	require.Zero(t, stellar(t, env, "enqueue", "a").code)
	awaitDone(t, env, 2)
	set.term()
	require.Zero(t, set.wait(t), set.err)
	own, enqueue, runs := c.Named("own"), c.Named("enqueue default"), c.Named("process default")
	require.Len(t, own, 1)
	require.Len(t, enqueue, 1, "commands have no spans")
	require.Len(t, runs, 2, "an app that traces by itself is not traced twice")
	require.Equal(t, runs[0].ID, own[0].Parent)
	require.Equal(t, runs[0].ID, enqueue[0].Parent)
	require.Equal(t, enqueue[0].ID, runs[1].Parent, "its own configuration counts")
	require.Equal(t, "stellar", own[0].Resource["service.name"])
}

// awaitDone waits until so many tasks are done.
func awaitDone(t *testing.T, env environment, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		return strings.Contains(stellar(t, env, "call", "api.tasks.counts").out, `"done": `+string(rune('0'+n)))
	}, patient, 10*time.Millisecond)
}

// A collector that does not answer delays no task, and the end by the grace time at most; after a second
// signal by less than a second.
func TestACollectorThatHangsHoldsUpNothing(t *testing.T) {
	var cfg net.ListenConfig
	l, err := cfg.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "1")
	env := exporting(t, "http://"+l.Addr().String())
	for _, hurried := range []bool{false, true} {
		grace := "200ms"
		if hurried {
			grace = "1h"
		}
		set := start(t, env, echoApp(), "--workers", "1", "--grace", grace)
		set.err.await(t, "node is running", 1)
		require.Zero(t, stellar(t, env, "enqueue", "echo", "1", "--wait").code)
		set.term()
		if hurried {
			set.err.await(t, "set has stopped", 1)
			set.term()
		}
		require.Zero(t, set.wait(t), set.err)
		require.Equal(t, 1, strings.Count(set.err.String(), "traces were not exported and are lost"), set.err)
	}
}

func TestWithoutVariablesNothingIsTraced(t *testing.T) {
	env := home(t)
	set := start(t, env, echoApp(), "--workers", "1")
	set.err.await(t, "node is running", 1)
	require.NotContains(t, set.err.String(), "traces")
	set.term()
	require.Zero(t, set.wait(t), set.err)
}
