package otel

import (
	"cmp"
	"context"
	"encoding/json"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/stellarfw/stellar/rpcregistry"
)

func rpc(method string) []attribute.KeyValue {
	return []attribute.KeyValue{keyRPCSystem.String(system), keyRPCMethod.String(method)}
}

// call is an rpcregistry.CallMiddleware.
func (t *tracing) call(next rpcregistry.CallFunc) rpcregistry.CallFunc {
	return func(ctx context.Context, r rpcregistry.Request) (rpcregistry.Result, error) {
		ctx, span := t.start(ctx, r.Method, trace.SpanKindClient, append(rpc(r.Method), keyTo.String(r.To.String())))
		e := ending{span: span}
		defer e.end()
		r.Meta = t.inject(ctx, r.Meta, true)
		result, err := next(ctx, r)
		e.returned, e.err = true, err
		if !span.IsRecording() {
			return result, err
		}
		span.SetAttributes(keyRPCStatus.String(codeOf(err, rpcregistry.ErrCanceled)))
		if r.Replies == rpcregistry.EveryReply && err == nil {
			failed := 0
			for _, v := range result.Verdicts {
				if v.Err != nil {
					failed++
				}
			}
			span.SetAttributes(keyReplies.Int(len(result.Verdicts)), keyRPCFailed.Int(failed))
		}
		return result, err
	}
}

// method is an rpcregistry.MethodMiddleware.
func (t *tracing) method(next rpcregistry.MethodFunc) rpcregistry.MethodFunc {
	return func(ctx context.Context, args json.RawMessage) (json.RawMessage, error) {
		c := rpcregistry.FromContext(ctx)
		ctx, from := t.extract(ctx, c.Meta)
		if !from.IsValid() && strings.HasPrefix(c.Method, "api.") {
			return next(ctx, args) // somebody looks at the cluster, perhaps each second
		}
		ctx = trace.ContextWithRemoteSpanContext(ctx, from)
		ctx, span := t.start(ctx, c.Method, trace.SpanKindServer, append(rpc(c.Method), keyFrom.String(c.From.Incarnation)))
		e := ending{span: span}
		defer e.end()
		reply, err := next(logged(ctx), args)
		e.returned, e.err = true, err
		if span.IsRecording() {
			span.SetAttributes(keyRPCStatus.String(codeOf(err, rpcregistry.ErrFailed)))
		}
		return reply, err
	}
}

// codeOf returns the code with which a call ends that has this error; other is that of an error without one.
func codeOf(err error, other rpcregistry.Code) string {
	if err == nil {
		return "ok"
	}
	return cmp.Or(callCode(err), string(other))
}
