package otel

import (
	"context"

	"go.opentelemetry.io/otel/trace"

	"github.com/stellarfw/stellar/redisbus"
)

// publish is a redisbus.PublishMiddleware.
func (t *tracing) publish(next redisbus.PublishFunc) redisbus.PublishFunc {
	return func(ctx context.Context, m redisbus.Outgoing) (int64, error) {
		if m.Transaction { // the run's context
			m.Meta = t.inject(ctx, m.Meta, false)
			return next(ctx, m)
		}
		attributes := messaging("publish", "send", m.Type)
		if m.Node != "" {
			attributes = append(attributes, keyTo.String(m.Node))
		}
		ctx, span := t.start(ctx, "publish "+m.Type, trace.SpanKindProducer, attributes)
		e := ending{span: span}
		defer e.end()
		m.Meta = t.inject(ctx, m.Meta, false)
		receivers, err := next(ctx, m)
		e.returned, e.err = true, err
		return receivers, err
	}
}

// subscription is a redisbus.SubscriptionMiddleware.
func (t *tracing) subscription(next redisbus.Handler) redisbus.Handler {
	return func(ctx context.Context, m redisbus.Message) {
		ctx, from := t.extract(ctx, m.Meta)
		attributes := append(messaging(process, process, m.Type), keyFrom.String(m.Incarnation))
		ctx, span := t.start(ctx, process+" "+m.Type, trace.SpanKindConsumer, attributes, trace.WithNewRoot(), linkTo(from))
		e := ending{span: span}
		defer e.end()
		next(logged(ctx), m)
		e.returned = true
	}
}
