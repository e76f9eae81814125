package otel

import (
	"context"

	api "go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/stellarfw/stellar/worker"
)

// Scope is the name of the instrumentation scope of all spans.
const Scope = "github.com/stellarfw/stellar"

// Config configures the traces of an app.
type Config struct {
	// Provider makes the spans. Default that of otel.GetTracerProvider, also if it is set later. With that of
	// package noop nothing is traced, at no cost.
	Provider trace.TracerProvider
	// ParentFirstAttempt makes the first run of a task a child of the span that enqueued it, instead of a root that links
	// to it. Later runs, and those of batches, still link. Then also contexts that are not sampled are stored with tasks.
	ParentFirstAttempt bool
	// CreateSpans gives each task of an EnqueueMany a span of its own, which its run links to.
	CreateSpans bool
	// Baggage are the keys of the baggage that travels with tasks, calls and messages, up to [MaxBaggage] bytes. It is
	// stored in Redis, and readable for everybody who can read tasks. Default none.
	Baggage []string
}

// name is that of the middleware for [worker.App.Outermost].
const name = "otel"

// Use traces what the nodes and clients of an app do. Its middleware wraps all of the app's, whenever Use is
// called. Only the first call for an app counts: [cli.Main] leaves an app as it is that its program has called Use for.
//
// [cli.Main]: https://pkg.go.dev/github.com/stellarfw/stellar/supervisor/cli#Main
func Use(app *worker.App, cfg Config) {
	if cfg.Provider == nil {
		cfg.Provider = api.GetTracerProvider()
	}
	if _, off := cfg.Provider.(noop.TracerProvider); off {
		app.Outermost(name, func() {})
		return
	}
	t := &tracing{Config: cfg, tracer: cfg.Provider.Tracer(Scope)}
	app.Outermost(name, func() {
		app.Use(t.run)
		app.UseEnqueue(t.enqueue)
		app.UseCall(t.call)
		app.UseMethod(t.method)
		app.UsePublish(t.publish)
		app.UseSubscription(t.subscription)
	})
}

// tracing makes the spans of an app.
type tracing struct {
	Config

	tracer trace.Tracer
}

// start starts a span. The lines that are logged with its context have the ids of their innermost span.
func (t *tracing) start(
	ctx context.Context, name string, kind trace.SpanKind, attributes []attribute.KeyValue, o ...trace.SpanStartOption,
) (context.Context, trace.Span) {
	return t.tracer.Start(ctx, name, append(o, trace.WithSpanKind(kind), trace.WithAttributes(attributes...))...)
}

// logged returns a context whose lines in the log name their span.
func logged(ctx context.Context) context.Context { return worker.WithLogFields(ctx, logIDs) }

func logIDs(ctx context.Context, add func(key string, value any)) {
	if s := trace.SpanContextFromContext(ctx); s.IsValid() {
		add("trace_id", s.TraceID().String())
		add("span_id", s.SpanID().String())
	}
}

// ending ends a span with the error that its function has returned. A function that has not returned has
// panicked, or called runtime.Goexit: ending does not recover, so that the stack stays as it is.
type ending struct {
	span     trace.Span
	returned bool
	err      error
}

func (e *ending) end() {
	if !e.returned {
		e.span.SetAttributes(errorType("panic"))
		e.span.SetStatus(codes.Error, "panicked")
	} else if e.err != nil {
		fail(e.span, e.err)
	}
	e.span.End()
}
