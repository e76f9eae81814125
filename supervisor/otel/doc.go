// Package otel traces a program with OpenTelemetry: one can follow a request through tasks,
// calls and messages.
//
//	otel.Use(app, otel.Config{})
//
// It needs the API of OpenTelemetry only. What becomes of the spans is the matter of the SDK
// that the program gives it: the one of package cli exports them as the OTEL_* variables say.
//
// # Spans
//
//   - Enqueue and EnqueueMany: "enqueue QUEUE", of kind producer; its context is stored with the
//     tasks, in their meta. With [Config].CreateSpans each task of many has its own, "create QUEUE".
//   - A run of a task's or a batch's handler: "process QUEUE", of kind consumer, the root of a trace of
//     its own that links to the spans that enqueued its tasks: a task may run days after it was
//     enqueued, and often. With [Config].ParentFirstAttempt a first run is a child instead.
//   - Tasks and messages of a transaction carry the context of the run; nothing is sent before the
//     transaction commits, so that they have no span.
//   - A run of a periodic task is a root without a link.
//   - A call: "METHOD", of kind client, and for each node that answers it one of kind server,
//     its child. The built-in methods have a span only if their caller has one.
//   - A message: "publish TYPE", of kind producer, and for each subscription "process TYPE", of kind
//     consumer, which links to it.
//
// No loop has spans: claims, commits, leases, movers and ticks are seen in the metrics. The context
// travels as W3C Trace Context, and only where a span records.
package otel
