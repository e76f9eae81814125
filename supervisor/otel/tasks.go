package otel

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/stellarfw/stellar/worker/tasks"
)

// enqueue is a tasks.EnqueueMiddleware.
func (t *tracing) enqueue(next tasks.EnqueueFunc) tasks.EnqueueFunc {
	return func(ctx context.Context, out []tasks.Outgoing) ([]tasks.Receipt, error) {
		if len(out) == 0 {
			return next(ctx, out)
		}
		if out[0].Transaction { // the run's context
			out[0].Meta = t.inject(ctx, out[0].Meta, t.ParentFirstAttempt)
			return next(ctx, out)
		}
		creates := t.CreateSpans && len(out) > 1
		ctx, span := t.startEnqueue(ctx, out, creates)
		e := ending{span: span}
		defer e.end()
		var created []trace.Span
		if creates {
			created = t.create(ctx, out)
		} else {
			for i := range out {
				out[i].Meta = t.inject(ctx, out[i].Meta, t.ParentFirstAttempt)
			}
		}
		defer func() {
			for _, s := range created {
				s.End()
			}
		}()
		receipts, err := next(ctx, out)
		e.returned, e.err = true, err
		if len(out) == 1 {
			received(span, receipts, 0)
		}
		for i, s := range created {
			received(s, receipts, i)
		}
		return receipts, err
	}
}

// startEnqueue starts the span of an enqueue.
func (t *tracing) startEnqueue(ctx context.Context, out []tasks.Outgoing, creates bool) (context.Context, trace.Span) {
	queue, name := out[0].Queue, out[0].Name
	for i := range out {
		if out[i].Queue != queue {
			queue = ""
		}
		if out[i].Name != name {
			name = ""
		}
	}
	attributes := messaging("enqueue", "send", queue)
	if queue == "" {
		attributes = attributes[:len(attributes)-1]
	}
	if name != "" {
		attributes = append(attributes, keyTask.String(name))
	}
	if len(out) > 1 {
		attributes = append(attributes, keyMessageCount.Int(len(out)))
	}
	kind := trace.SpanKindProducer
	if creates { // the producers are the tasks' own spans
		kind = trace.SpanKindClient
	}
	return t.start(ctx, strings.TrimSpace("enqueue "+queue), kind, attributes)
}

// create starts the spans of the tasks of one enqueue, which travel with them.
func (t *tracing) create(ctx context.Context, out []tasks.Outgoing) []trace.Span {
	spans := make([]trace.Span, len(out))
	for i := range out {
		attributes := append(messaging("create", "create", out[i].Queue), keyTask.String(out[i].Name))
		at, span := t.start(ctx, "create "+out[i].Queue, trace.SpanKindProducer, attributes)
		out[i].Meta, spans[i] = t.inject(at, out[i].Meta, t.ParentFirstAttempt), span
	}
	return spans
}

// received notes the receipt of a task.
func received(span trace.Span, receipts []tasks.Receipt, i int) {
	if i >= len(receipts) || receipts[i].ID == "" {
		return
	}
	span.SetAttributes(keyMessageID.String(receipts[i].ID))
	if receipts[i].Duplicate {
		span.SetAttributes(keyDuplicate.Bool(true))
	}
}

// run is a tasks.Middleware.
func (t *tracing) run(next tasks.Handler) tasks.Handler {
	return func(ctx context.Context, payload json.RawMessage) error {
		ctx, span := t.startRun(ctx, tasks.InfoOf(ctx))
		e := ending{span: span}
		defer e.end()
		err := next(logged(ctx), payload)
		e.returned = true
		if span.IsRecording() {
			e.err = outcome(ctx, span, err)
		}
		return err
	}
}

// startRun starts the span of a run.
func (t *tracing) startRun(ctx context.Context, info tasks.Info) (context.Context, trace.Span) {
	name := process + " " + info.Queue
	attributes := append(messaging(process, process, info.Queue),
		keyTask.String(info.Name), keyNode.String(info.Node), keyFence.Int64(info.Fence))
	if info.Batch != nil {
		attributes = append(attributes, keyMessageCount.Int(len(info.Batch)))
		return t.start(ctx, name, trace.SpanKindConsumer, attributes, trace.WithNewRoot(), t.linkBatch(ctx, info.Batch))
	}
	attributes = append(attributes, keyMessageID.String(info.ID), keyAttempt.Int(info.Attempt), keyWait.Float64(info.Waited.Seconds()))
	if info.Crashes > 0 {
		attributes = append(attributes, keyCrashes.Int(info.Crashes))
	}
	if !info.Tick.IsZero() {
		periodic := strings.TrimSuffix(info.ID, ":"+strconv.FormatInt(info.Tick.UnixMilli(), 10))
		attributes = append(attributes, keyPeriodic.String(periodic))
	}
	ctx, from := t.extract(ctx, info.Meta)
	if t.ParentFirstAttempt && from.IsValid() && info.Attempt == 1 && info.Crashes == 0 {
		return t.start(trace.ContextWithRemoteSpanContext(ctx, from), name, trace.SpanKindConsumer, attributes)
	}
	return t.start(ctx, name, trace.SpanKindConsumer, attributes, trace.WithNewRoot(), linkTo(from))
}

// linkBatch returns the links of a batch to the spans that enqueued its tasks.
func (t *tracing) linkBatch(ctx context.Context, batch []tasks.Info) trace.SpanStartOption {
	var links []trace.Link
	for _, info := range batch {
		if _, from := t.extract(ctx, info.Meta); from.IsValid() {
			links = append(links, trace.Link{SpanContext: from, Attributes: []attribute.KeyValue{keyMessageID.String(info.ID)}})
		}
	}
	return trace.WithLinks(links...)
}

// outcome notes how a run ended, and returns its error if it failed. What is not the handler's fault is no failure: a
// snooze, a cancellation, the end of its node.
func outcome(ctx context.Context, span trace.Span, err error) error {
	how, n := outcomeOf(ctx, err)
	span.SetAttributes(keyOutcome.String(how))
	if failed, batch := errors.AsType[tasks.BatchError](err); batch && n > 0 {
		span.SetAttributes(keyFailed.Int(n))
		err = firstOf(failed)
	}
	if n == 0 {
		return nil
	}
	return err
}

// outcomeOf returns how a run ended, and how many of its tasks have failed.
func outcomeOf(ctx context.Context, err error) (how string, failed int) {
	cause := context.Cause(ctx)
	switch {
	case errors.Is(cause, tasks.ErrCancelled):
		return "cancelled", 0
	case cause != nil && !errors.Is(cause, context.DeadlineExceeded): // the node ends: the task goes back
		return "abandoned", 0
	case err == nil:
		return "done", 0
	}
	if batch, is := errors.AsType[tasks.BatchError](err); is {
		for _, one := range batch.Unwrap() {
			if later(one) == "" {
				failed++
			}
		}
		if failed == 0 {
			return "done", 0
		}
		return "failed", failed
	}
	if how := later(err); how != "" {
		return how, 0
	}
	if tasks.IsDiscarded(err) {
		return "discarded", 1
	}
	return "failed", 1
}

// firstOf returns the first error of a batch that is a failure.
func firstOf(failed tasks.BatchError) error {
	for _, err := range failed.Unwrap() {
		if later(err) == "" {
			return err
		}
	}
	return nil
}

// later returns the outcome of a run that asked to come later, "" for any other.
func later(err error) string {
	switch {
	case errors.Is(err, tasks.ErrSnoozed):
		return string(tasks.RunSnoozed)
	case errors.Is(err, tasks.ErrThrottled):
		return string(tasks.RunThrottled)
	default:
		return ""
	}
}
