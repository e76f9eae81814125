package metrics

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// Page is the page /metrics of one of several processes.
type Page struct {
	Process int // from 0
	Text    []byte
	Err     error // why there is no page
}

// Processes returns the page /metrics of several processes: the metrics of all, with the label process. ask asks each of
// them for its page by the request. Which of them answered is a metric. The caller has to guard the page, as
// that of [Metrics.Handler].
func Processes(ask func(*http.Request) []Page) http.Handler {
	scrapes := make(chan struct{}, maxScrapes)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case scrapes <- struct{}{}:
			defer func() { <-scrapes }()
		default:
			http.Error(w, fmt.Sprintf("%d scrapes are under way: ask again later", maxScrapes), http.StatusServiceUnavailable)
			return
		}
		join := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
			asked := r.Clone(r.Context())
			asked.Header.Set("Accept", string(expfmt.NewFormat(expfmt.TypeProtoDelim))) // it has all there is
			asked.Header.Del("Accept-Encoding")
			return joined(ask(asked))
		})
		promhttp.HandlerFor(join, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, EnableOpenMetrics: true}).ServeHTTP(w, r)
	})
}

// joined returns the metrics of all pages, by name, and which processes have answered. The error is nil if
// one has.
func joined(pages []Page) ([]*dto.MetricFamily, error) {
	up := &dto.MetricFamily{
		Name: new("stellar_process_up"), Help: new("Whether the process of the guardian has answered the scrape."),
		Type: dto.MetricType_GAUGE.Enum(),
	}
	families := map[string]*dto.MetricFamily{up.GetName(): up}
	var errs []error
	for _, p := range pages {
		label, answered := strconv.Itoa(p.Process), 1.0
		read, err := decode(p)
		if err != nil {
			answered, errs = 0, append(errs, fmt.Errorf("process %s: %w", label, err))
		}
		one := &dto.Metric{Gauge: &dto.Gauge{Value: &answered}}
		for _, f := range append(read, &dto.MetricFamily{Name: up.Name, Metric: []*dto.Metric{one}}) {
			for _, m := range f.GetMetric() {
				m.Label = append(m.Label, &dto.LabelPair{Name: new("process"), Value: &label})
				slices.SortFunc(m.Label, func(a, b *dto.LabelPair) int { return cmp.Compare(a.GetName(), b.GetName()) })
			}
			if all := families[f.GetName()]; all != nil {
				all.Metric = append(all.Metric, f.GetMetric()...)
				continue
			}
			families[f.GetName()] = f
		}
	}
	if len(errs) < len(pages) {
		errs = nil // the metric says it
	}
	byName := func(a, b *dto.MetricFamily) int { return cmp.Compare(a.GetName(), b.GetName()) }
	return slices.SortedFunc(maps.Values(families), byName), errors.Join(errs...)
}

// decode returns the metrics of a page; none, if not all of it can be read.
func decode(p Page) (all []*dto.MetricFamily, err error) {
	if p.Err != nil {
		return nil, p.Err
	}
	d := expfmt.NewDecoder(bytes.NewReader(p.Text), expfmt.NewFormat(expfmt.TypeProtoDelim))
	for {
		f := &dto.MetricFamily{}
		if err := d.Decode(f); err != nil {
			if errors.Is(err, io.EOF) {
				return all, nil
			}
			return nil, err
		}
		all = append(all, f)
	}
}
