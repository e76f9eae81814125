package worker

import (
	"context"
	"log/slog" //nolint:depguard // it serves programs that log with it
)

// SlogHandler returns a handler that passes records on to another one, with the fields of [Logger]: those
// of the context that the record was logged with, and node, the id of its node. They stand outside of all groups.
//
//	slog.SetDefault(slog.New(worker.SlogHandler(slog.NewJSONHandler(os.Stderr, nil))))
//	…
//	slog.InfoContext(ctx, "sent", "to", in.To)
func SlogHandler(to slog.Handler) slog.Handler {
	return &slogHandler{Handler: to, outside: to}
}

// slogHandler passes records on to its Handler; outside is that handler without the groups and what
// follows them, which inside adds.
type slogHandler struct {
	slog.Handler

	outside slog.Handler
	inside  []func(slog.Handler) slog.Handler
}

// Handle implements [slog.Handler].
func (h *slogHandler) Handle(ctx context.Context, r slog.Record) error {
	var fields []slog.Attr
	add := func(key string, value any) { fields = append(fields, slog.Any(key, value)) }
	if OnNode(ctx) {
		add("node", FromContext(ctx).ID())
	}
	logFields(ctx, add)
	switch {
	case len(fields) == 0:
		return h.Handler.Handle(ctx, r)
	case len(h.inside) == 0:
		r = r.Clone()
		r.AddAttrs(fields...)
		return h.Handler.Handle(ctx, r)
	}
	to := h.outside.WithAttrs(fields)
	for _, apply := range h.inside {
		to = apply(to)
	}
	return to.Handle(ctx, r)
}

// WithAttrs implements [slog.Handler].
func (h *slogHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(h.inside) == 0 {
		return SlogHandler(h.Handler.WithAttrs(attrs))
	}
	return h.within(func(to slog.Handler) slog.Handler { return to.WithAttrs(attrs) })
}

// WithGroup implements [slog.Handler].
func (h *slogHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return h.within(func(to slog.Handler) slog.Handler { return to.WithGroup(name) })
}

func (h *slogHandler) within(apply func(slog.Handler) slog.Handler) slog.Handler {
	return &slogHandler{
		Handler: apply(h.Handler), outside: h.outside, inside: append(h.inside[:len(h.inside):len(h.inside)], apply),
	}
}
