// Package collector is a collector of traces for tests: it takes what is exported by OTLP over HTTP.
package collector

import (
	"compress/gzip"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Collector keeps all spans that it was sent. It ends with its test.
type Collector struct {
	URL string

	mu      sync.Mutex
	spans   []Span
	headers []http.Header
}

// Span is a span as it was exported; ids are in hexadecimal.
type Span struct {
	*tracepb.Span

	Trace, ID, Parent string
	Attributes        map[string]any
	Resource          map[string]any
	Links             []string // ids of spans
}

// Start starts a collector on a port of the loopback interface.
func Start(t testing.TB) *Collector {
	t.Helper()
	c := &Collector{}
	s := httptest.NewServer(c)
	t.Cleanup(s.Close)
	c.URL = s.URL
	return c
}

// ServeHTTP takes an export.
func (c *Collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = z
	}
	text, err := io.ReadAll(body)
	var data tracepb.TracesData // it has the wire format of an export request
	if err == nil {
		err = proto.Unmarshal(text, &data)
	}
	if err != nil || r.URL.Path != "/v1/traces" {
		http.Error(w, "no export of traces", http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.headers = append(c.headers, r.Header)
	for _, of := range data.ResourceSpans {
		for _, scope := range of.ScopeSpans {
			for _, s := range scope.Spans {
				one := Span{
					Span: s, Trace: hex.EncodeToString(s.TraceId), ID: hex.EncodeToString(s.SpanId), Parent: hex.EncodeToString(s.ParentSpanId),
					Attributes: values(s.Attributes), Resource: values(of.Resource.GetAttributes()),
				}
				for _, l := range s.Links {
					one.Links = append(one.Links, hex.EncodeToString(l.SpanId))
				}
				c.spans = append(c.spans, one)
			}
		}
	}
}

// Named returns the spans of a name, in the order of their starts.
func (c *Collector) Named(name string) []Span {
	return slices.DeleteFunc(c.Spans(), func(s Span) bool { return s.Name != name })
}

// Spans returns all spans, in the order of their starts.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.SortedFunc(slices.Values(c.spans), func(a, b Span) int {
		return int(a.StartTimeUnixNano) - int(b.StartTimeUnixNano)
	})
}

// Headers returns the headers of all exports.
func (c *Collector) Headers() []http.Header {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.headers)
}

func values(all []*commonpb.KeyValue) map[string]any {
	m := map[string]any{}
	for _, kv := range all {
		switch v := kv.Value.GetValue().(type) {
		case *commonpb.AnyValue_StringValue:
			m[kv.Key] = v.StringValue
		case *commonpb.AnyValue_IntValue:
			m[kv.Key] = v.IntValue
		case *commonpb.AnyValue_BoolValue:
			m[kv.Key] = v.BoolValue
		case *commonpb.AnyValue_DoubleValue:
			m[kv.Key] = v.DoubleValue
		default:
			m[kv.Key] = kv.Value.String()
		}
	}
	return m
}
