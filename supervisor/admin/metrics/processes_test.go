package metrics_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/supervisor/admin/metrics"
)

func TestTheMetricsOfSeveralProcessesAreOnePage(t *testing.T) {
	t.Parallel()
	child := metrics.New(metrics.Config{Log: zerolog.Nop()}).Handler()
	page := func(r *http.Request) []byte {
		w := httptest.NewRecorder()
		child.ServeHTTP(w, r)
		return w.Body.Bytes()
	}
	scrape := func(ask func(*http.Request) []metrics.Page) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		metrics.Processes(ask).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
		return w
	}
	w := scrape(func(r *http.Request) []metrics.Page {
		return []metrics.Page{
			{Process: 0, Text: page(r)}, {Process: 1, Err: errors.New("it is just started again")}, {Process: 2, Text: page(r)},
			{Process: 3, Text: page(r)[:100]},
		}
	})
	require.Equal(t, http.StatusOK, w.Code)
	text := w.Body.String()
	for process, up := range map[string]string{"0": "1", "1": "0", "2": "1", "3": "0"} {
		require.Contains(t, text, `stellar_process_up{process="`+process+`"} `+up+"\n")
		require.Equal(t, up == "1", strings.Contains(text, `go_goroutines{process="`+process+`"}`), process)
	}

	w = scrape(func(*http.Request) []metrics.Page { return []metrics.Page{{Err: errors.New("no answer")}} })
	require.Contains(t, w.Body.String(), `stellar_process_up{process="0"} 0`, "also where nobody answers")
}
