package worker

import (
	"context"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/worker/internal/queue"
)

// Logger returns the log of what the context belongs to, so that its lines tell where they come from:
// that of the node, with the fields
//
//   - task, name and attempt in the handler of a task; of a batch name and batch, the number of its tasks,
//   - method in the handler of a method,
//   - trace_id and span_id where the program is traced (see supervisor/otel), and those of [WithLogFields].
//
// For a context that belongs to no node it returns [zerolog.Ctx], with the fields of [WithLogFields]. [SlogHandler] gives the same
// fields to the lines of log/slog.
func Logger(ctx context.Context) *zerolog.Logger {
	with := zerolog.Ctx(ctx).With()
	if a, on := ctx.Value(apiKey{}).(*API); on {
		with = a.Log.With()
	}
	logFields(ctx, func(key string, value any) {
		switch v := value.(type) {
		case string:
			with = with.Str(key, v)
		default:
			with = with.Any(key, v)
		}
	})
	l := with.Logger()
	return &l
}

// LogFields calls add for the fields of the log lines that are written with a context, or with one that
// derives from it.
type LogFields func(ctx context.Context, add func(key string, value any))

type logFieldsKey struct{}

// WithLogFields returns a context whose lines of [Logger] and [SlogHandler] have fields besides those of ctx.
// Middleware adds them. They are computed when a logger is asked for, or slog gets a record.
func WithLogFields(ctx context.Context, fields LogFields) context.Context {
	if outer, has := ctx.Value(logFieldsKey{}).(LogFields); has {
		inner := fields
		fields = func(ctx context.Context, add func(key string, value any)) {
			outer(ctx, add)
			inner(ctx, add)
		}
	}
	return context.WithValue(ctx, logFieldsKey{}, fields)
}

// logFields calls add for all fields of a context but the node's id.
func logFields(ctx context.Context, add func(key string, value any)) {
	switch r := queue.RunOf(ctx); {
	case r != nil && r.Members != nil:
		add("name", r.Record.Name)
		add("batch", len(r.Members))
	case r != nil:
		add("task", r.ID)
		add("name", r.Record.Name)
		add("attempt", r.Tries.Attempts+1)
	case rpcregistry.InCall(ctx):
		add("method", rpcregistry.FromContext(ctx).Method)
	}
	if fields, has := ctx.Value(logFieldsKey{}).(LogFields); has {
		fields(ctx, add)
	}
}
