// Package otlp exports the traces of the program by OTLP over HTTP, as the standard OTEL_* variables say.
package otlp

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Program is what the traces tell of the program.
type Program struct {
	Name    string // the default of OTEL_SERVICE_NAME
	Version string
}

// Export is an export of traces that runs. A nil Export does nothing.
type Export struct {
	provider *sdk.TracerProvider
	exporter *exporter
	before   trace.TracerProvider // the global one before
}

// Start begins to export the traces of the global tracer provider if the variables say so, and returns nil if
// they do not. The SDK reads OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER, OTEL_BSP_*,
// OTEL_SPAN_* and OTEL_EXPORTER_OTLP_* by itself; [Wanted] reads the others.
//
// It connects to nothing yet. What goes wrong later is logged: no task waits for it.
func Start(ctx context.Context, env func(name string) (string, bool), p Program, log zerolog.Logger) *Export {
	wanted, why := Wanted(env)
	if why != "" {
		log.Warn().Msg("traces are not exported: " + why)
	}
	if !wanted {
		return nil
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn().Err(err).Msg("traces") })) // such as of a variable
	otel.SetLogger(funcr.New(func(_, text string) { log.Warn().Str("otel", text).Msg("traces") }, funcr.Options{}))
	to, err := otlptracehttp.New(ctx)
	if err != nil {
		log.Warn().Err(err).Msg("traces are not exported")
		return nil
	}
	about, err := resource.New(ctx, resource.WithAttributes(describe(p)...), resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil { // the rest of it is there
		log.Warn().Err(err).Msg("OTEL_RESOURCE_ATTRIBUTES")
	}
	x := &exporter{SpanExporter: to, failures: &seldom{log: log}, ended: make(chan struct{})}
	x.life, x.end = context.WithCancel(context.WithoutCancel(ctx))
	e := &Export{
		provider: sdk.NewTracerProvider(sdk.WithBatcher(x), sdk.WithResource(about)), exporter: x, before: otel.GetTracerProvider(),
	}
	otel.SetTracerProvider(e.provider)
	log.Info().Msg("traces are exported by OTLP over HTTP")
	return e
}

func describe(p Program) []attribute.KeyValue {
	all := []attribute.KeyValue{attribute.String("service.name", p.Name), attribute.Int("process.pid", os.Getpid())}
	if p.Version != "" {
		all = append(all, attribute.String("service.version", p.Version))
	}
	if host, err := os.Hostname(); err == nil {
		all = append(all, attribute.String("host.name", host))
	}
	return all
}

// Close exports what is left, until ctx ends, and returns when all has ended.
func (e *Export) Close(ctx context.Context) {
	if e == nil {
		return
	}
	otel.SetTracerProvider(e.before)
	_ = e.provider.Shutdown(ctx) // failures were logged
	e.exporter.end()
	<-e.exporter.ended
}

// Wanted reports whether the variables ask for an export. why says what is wrong with them if they ask for one
// that there is not.
func Wanted(env func(name string) (string, bool)) (wanted bool, why string) {
	get := func(names ...string) string {
		for _, name := range names {
			if value, _ := env(name); strings.TrimSpace(value) != "" {
				return strings.TrimSpace(value)
			}
		}
		return ""
	}
	if strings.EqualFold(get("OTEL_SDK_DISABLED"), "true") {
		return false, ""
	}
	endpoint := get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
	kind := get("OTEL_TRACES_EXPORTER")
	switch {
	case kind == "none", kind == "" && endpoint == "":
		return false, ""
	case kind != "" && kind != "otlp":
		return false, fmt.Sprintf("OTEL_TRACES_EXPORTER is %q, and there are otlp and none", kind)
	}
	switch protocol := get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"); protocol {
	case "", "http/protobuf", "http/json":
		return true, ""
	default:
		return false, fmt.Sprintf("OTEL_EXPORTER_OTLP_PROTOCOL is %q, and there are http/protobuf and http/json: "+
			"use the collector's port for HTTP, 4318 as a rule", protocol)
	}
}

// exporter logs the failures of another one, and gives up when it is told to.
type exporter struct {
	sdk.SpanExporter

	failures *seldom
	life     context.Context //nolint:containedctx // of the exports under way
	end      context.CancelFunc
	ended    chan struct{} // closed after the last export
}

// ExportSpans implements [sdk.SpanExporter].
func (x *exporter) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(x.life, cancel)
	defer stop()
	err := x.SpanExporter.ExportSpans(ctx, spans)
	if err != nil {
		x.failures.note(len(spans), err)
	} else {
		x.failures.over()
	}
	return nil
}

// Shutdown implements [sdk.SpanExporter]. It is called after the last export.
func (x *exporter) Shutdown(ctx context.Context) error {
	defer close(x.ended)
	return x.SpanExporter.Shutdown(ctx)
}

// failurePause is the least time between two log lines of failures.
const failurePause = 10 * time.Minute

// seldom logs failures seldom.
type seldom struct {
	log zerolog.Logger

	mu   sync.Mutex
	at   time.Time // of the last line
	lost int       // spans since then
	bad  bool      // the last export has failed
}

// note logs that spans were lost, unless that was logged a short time ago.
func (s *seldom) note(spans int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost, s.bad = s.lost+spans, true
	if !s.at.IsZero() && time.Since(s.at) < failurePause {
		return
	}
	s.log.Warn().Err(err).Int("spans", s.lost).Msg("traces were not exported and are lost; tasks go on")
	s.at, s.lost = time.Now(), 0
}

// over logs that exports work again.
func (s *seldom) over() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bad {
		s.log.Info().Int("spans", s.lost).Msg("traces are exported again")
		s.bad, s.lost, s.at = false, 0, time.Time{}
	}
}
