//go:build unix

package otel_test

import (
	"context"
	"sync"
	"syscall"
	"testing"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	api "go.opentelemetry.io/otel"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/otel"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// discard is an exporter that throws spans away.
type discard struct{}

func (discard) ExportSpans(context.Context, []sdk.ReadOnlySpan) error { return nil }
func (discard) Shutdown(context.Context) error                        { return nil }

// BenchmarkTask is the CPU time of this process for a task that is enqueued and run on a real Redis: with tracing off,
// with one whose provider is the global one, which nobody has set, with one that samples a hundredth, and with one that samples all.
func BenchmarkTask(b *testing.B) {
	hundredth := sdk.NewTracerProvider(sdk.WithBatcher(discard{}), sdk.WithSampler(sdk.ParentBased(sdk.TraceIDRatioBased(0.01))))
	all := sdk.NewTracerProvider(sdk.WithBatcher(discard{}))
	defer func() {
		require.NoError(b, hundredth.Shutdown(b.Context()))
		require.NoError(b, all.Shutdown(b.Context()))
	}()
	for _, c := range []struct {
		name     string
		provider trace.TracerProvider
	}{{"off", nil}, {"unset", api.GetTracerProvider()}, {"hundredth", hundredth}, {"all", all}} {
		b.Run(c.name, func(b *testing.B) {
			app := worker.NewApp()
			var done sync.WaitGroup
			tasks.Handle(app, tasks.Definition{Name: "a"}, func(context.Context, int) error { done.Done(); return nil })
			if c.provider != nil {
				otel.Use(app, otel.Config{Provider: c.provider})
			}
			set, err := supervisor.New(supervisor.Config{Workers: 1, Redis: redistest.Start(b).Config()}, app, zerolog.Nop())
			require.NoError(b, err)
			ctx, stop := context.WithCancel(b.Context())
			ended := make(chan error)
			go func() { ended <- set.Serve(ctx) }()
			require.NoError(b, set.AwaitReady(ctx))
			client := set.Node("stellar-worker-1").API().Tasks
			b.ReportAllocs()
			before := user(b)
			for b.Loop() {
				done.Add(64)
				var callers sync.WaitGroup
				for range 64 {
					callers.Go(func() { _, _ = client.Enqueue(ctx, "a", 1) })
				}
				callers.Wait()
				done.Wait()
			}
			b.ReportMetric((user(b)-before)/float64(b.N*64), "cpu-µs/task")
			stop()
			require.NoError(b, <-ended)
		})
	}
}

// user returns the CPU time of the process in microseconds.
func user(b *testing.B) float64 {
	b.Helper()
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e3
}
