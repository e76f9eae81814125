package otel

import (
	"context"
	"maps"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/stellarfw/stellar/redisbus/link"
)

// MaxBaggage is the most bytes of baggage that travel with a task, call or message. Members that do not fit
// are left out.
const MaxBaggage = 512

// The keys of meta in which a context travels.
const (
	metaParent  = "traceparent"
	metaState   = "tracestate"
	metaBaggage = "baggage"
)

// inject returns meta with the span of ctx, if it records, and the allowed baggage. unsampled carries spans that do not record
// too. What does not fit into meta is left out, and a traceparent that the caller has chosen stays.
func (t *tracing) inject(ctx context.Context, meta map[string]string, unsampled bool) map[string]string {
	span := trace.SpanFromContext(ctx)
	carries := span.IsRecording() || unsampled && span.SpanContext().IsValid()
	bag := t.bagged(ctx)
	_, chosen := meta[metaParent]
	_, packed := meta[metaBaggage]
	if (!carries || chosen) && (bag == "" || packed) {
		return meta
	}
	with := make(map[string]string, len(meta)+1)
	maps.Copy(with, meta)
	if carries && !chosen {
		delete(with, metaState) // of another trace
		propagation.TraceContext{}.Inject(ctx, propagation.MapCarrier(with))
	}
	if bag != "" && !packed {
		with[metaBaggage] = bag
	}
	for _, last := range []string{metaBaggage, metaState, metaParent} {
		if link.ValidMeta(with) == nil {
			return with
		}
		if own, has := meta[last]; has {
			with[last] = own
		} else {
			delete(with, last)
		}
	}
	return meta
}

// bagged returns the allowed baggage of a context.
func (t *tracing) bagged(ctx context.Context) string {
	if len(t.Baggage) == 0 {
		return ""
	}
	return t.allowed(baggage.FromContext(ctx)).String()
}

// allowed returns the members of baggage that may travel, and fit.
func (t *tracing) allowed(all baggage.Baggage) baggage.Baggage {
	var some baggage.Baggage
	for _, key := range t.Baggage {
		m := all.Member(key)
		if m.Key() == "" {
			continue
		}
		if more, err := some.SetMember(m); err == nil && len(more.String()) <= MaxBaggage {
			some = more
		}
	}
	return some
}

// extract returns the span that meta carries, invalid for none, and a context with the allowed baggage.
func (t *tracing) extract(ctx context.Context, meta map[string]string) (context.Context, trace.SpanContext) {
	var from trace.SpanContext
	if meta[metaParent] != "" {
		none := trace.ContextWithSpanContext(ctx, trace.SpanContext{})
		from = trace.SpanContextFromContext(propagation.TraceContext{}.Extract(none, propagation.MapCarrier(meta)))
	}
	if len(t.Baggage) > 0 && meta[metaBaggage] != "" {
		if all, err := baggage.Parse(meta[metaBaggage]); err == nil {
			ctx = baggage.ContextWithBaggage(ctx, t.allowed(all))
		}
	}
	return ctx, from
}

// linkTo returns the link to a span; none if there is no span.
func linkTo(span trace.SpanContext) trace.SpanStartOption {
	if !span.IsValid() {
		return trace.WithLinks()
	}
	return trace.WithLinks(trace.Link{SpanContext: span})
}
