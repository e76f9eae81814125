package cli

import (
	"cmp"
	"context"
	"time"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/supervisor/cli/otlp"
	"github.com/stellarfw/stellar/supervisor/otel"
	"github.com/stellarfw/stellar/worker"
)

// hurriedFlush is how long the last traces may take after the second signal.
const hurriedFlush = 300 * time.Millisecond

// trace has the set trace its app if the OTEL_* variables say so. The result exports the last traces, for at most the
// grace time.
func (r *runner) trace(ctx context.Context, p *config.Prepared, log zerolog.Logger) (end func()) {
	export := otlp.Start(ctx, r.env.Env, otlp.Program{Name: r.env.Program, Version: r.version}, log)
	if export == nil {
		return func() {}
	}
	otel.Use(p.App, otel.Config{})
	p.Set.Observer = worker.Observers(p.Set.Observer, otel.Locks{})
	limit := cmp.Or(p.Set.Grace, worker.DefaultGrace)
	return func() {
		flushing, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
		defer cancel()
		ended := make(chan struct{})
		defer close(ended)
		go func() {
			select {
			case <-r.hurry:
				time.AfterFunc(hurriedFlush, cancel)
			case <-ended:
			}
		}()
		export.Close(flushing)
	}
}
