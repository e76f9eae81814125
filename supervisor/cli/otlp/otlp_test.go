package otlp_test

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.uber.org/goleak"

	"github.com/stellarfw/stellar/internal_test/collector"
	"github.com/stellarfw/stellar/supervisor/cli/otlp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func env(pairs ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

func TestWhatTheVariablesAskFor(t *testing.T) {
	const endpoint, traces, url = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_EXPORTER", "http://127.0.0.1:1"
	for _, c := range []struct {
		env    []string
		wanted bool
		why    string
	}{
		{nil, false, ""},
		{[]string{endpoint, ""}, false, ""},
		{[]string{endpoint, url}, true, ""},
		{[]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", url}, true, ""},
		{[]string{traces, "otlp"}, true, ""},
		{[]string{traces, "none", endpoint, url}, false, ""},
		{[]string{traces, "zipkin", endpoint, url}, false, `OTEL_TRACES_EXPORTER is "zipkin"`},
		{[]string{endpoint, url, "OTEL_SDK_DISABLED", "TRUE"}, false, ""},
		{[]string{endpoint, url, "OTEL_SDK_DISABLED", "0"}, true, ""},
		{[]string{endpoint, url, "OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"}, false, `OTEL_EXPORTER_OTLP_PROTOCOL is "grpc"`},
		{[]string{endpoint, url, "OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"}, true, ""},
		{[]string{"OTEL_SERVICE_NAME", "shop", "OTEL_TRACES_SAMPLER", "always_on", "OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"}, false, ""},
	} {
		wanted, why := otlp.Wanted(env(c.env...))
		require.Equal(t, c.wanted, wanted, c.env)
		require.Contains(t, why, c.why)
		require.Equal(t, c.why == "", why == "", c.env)
	}
}

// set sets variables of the process, which the SDK reads.
func set(t *testing.T, pairs ...string) func(string) (string, bool) {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		t.Setenv(pairs[i], pairs[i+1])
	}
	return env(pairs...)
}

func TestSpansAreExportedAtTheEndWithWhatTheVariablesSay(t *testing.T) {
	c := collector.Start(t)
	e := set(t, "OTEL_EXPORTER_OTLP_ENDPOINT", c.URL, "OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20x",
		"OTEL_SERVICE_NAME", "web shop", "OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.version=9")
	var log bytes.Buffer
	before := otel.GetTracerProvider()
	export := otlp.Start(t.Context(), e, otlp.Program{Name: "shop", Version: "1"}, zerolog.New(&log))
	_, span := otel.Tracer("handler").Start(t.Context(), "work")
	span.End()
	export.Close(t.Context())
	require.Same(t, before, otel.GetTracerProvider())
	got := c.Named("work")
	require.Len(t, got, 1)
	require.Equal(t, "web shop", got[0].Resource["service.name"])
	require.Equal(t, "9", got[0].Resource["service.version"])
	require.Equal(t, "test", got[0].Resource["deployment.environment.name"])
	require.NotEmpty(t, got[0].Resource["process.pid"])
	require.Equal(t, "Bearer x", c.Headers()[0].Get("Authorization"))
	require.NotContains(t, log.String(), "Bearer")
}

func TestTheSamplerOfTheVariables(t *testing.T) {
	c := collector.Start(t)
	e := set(t, "OTEL_EXPORTER_OTLP_ENDPOINT", c.URL, "OTEL_TRACES_SAMPLER", "always_off")
	export := otlp.Start(t.Context(), e, otlp.Program{Name: "shop"}, zerolog.Nop())
	_, span := otel.Tracer("handler").Start(t.Context(), "work")
	require.False(t, span.IsRecording())
	span.End()
	export.Close(t.Context())
	require.Empty(t, c.Spans())
}

// A collector that takes connections and never answers holds up nothing: not the spans, and the end only
// until its time is over.
func TestACollectorThatHangs(t *testing.T) {
	var hangs net.ListenConfig
	l, err := hangs.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	e := set(t, "OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+l.Addr().String(), "OTEL_BSP_SCHEDULE_DELAY", "1", "OTEL_BSP_MAX_QUEUE_SIZE", "10",
		"OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "5")
	var log bytes.Buffer
	export := otlp.Start(t.Context(), e, otlp.Program{Name: "shop"}, zerolog.New(&log))
	for range 1000 {
		_, span := otel.Tracer("handler").Start(t.Context(), "work")
		span.End()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	export.Close(ctx)
	require.Equal(t, 1, strings.Count(log.String(), "traces were not exported and are lost"), log.String())
}

func TestAValueThatIsNoneIsLogged(t *testing.T) {
	c := collector.Start(t)
	var log bytes.Buffer
	e := set(t, "OTEL_EXPORTER_OTLP_ENDPOINT", c.URL, "OTEL_TRACES_SAMPLER", "sometimes")
	otlp.Start(t.Context(), e, otlp.Program{Name: "shop"}, zerolog.New(&log)).Close(t.Context())
	require.Contains(t, log.String(), "unsupported sampler: sometimes")
	log.Reset()
	e = set(t, "OTEL_TRACES_SAMPLER", "", "OTEL_EXPORTER_OTLP_ENDPOINT", "http://[::1", "OTEL_EXPORTER_OTLP_TIMEOUT", "1ms")
	otlp.Start(t.Context(), e, otlp.Program{Name: "shop"}, zerolog.New(&log)).Close(t.Context())
	require.Contains(t, log.String(), "missing ']' in host")
	log.Reset()
	require.Nil(t, otlp.Start(t.Context(), env("OTEL_TRACES_EXPORTER", "jaeger"), otlp.Program{}, zerolog.New(&log)))
	require.Contains(t, log.String(), `traces are not exported: OTEL_TRACES_EXPORTER is \"jaeger\"`)
}
