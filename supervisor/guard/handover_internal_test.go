//go:build unix

package guard

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// served returns a guardian with so many children that are ready, each of which serves a handler; nil for
// one that serves none.
func served(t *testing.T, handlers ...http.Handler) *Guardian {
	t.Helper()
	g := New(Config{Processes: len(handlers)})
	for i, h := range handlers {
		ours, theirs := pipes(t)
		c := &Child{pipe: theirs, pages: newPages(), lost: make(chan struct{}), stops: make(chan int, 1), orders: make(chan Order, 1)}
		g.slots[i].life = &life{slot: g.slots[i], pipe: ours}
		g.slots[i].status.Ready = 1
		go c.listen()
		if h == nil {
			continue
		}
		server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
		over := make(chan struct{})
		go func() { defer close(over); _ = server.Serve(c.Listener()) }()
		t.Cleanup(func() { require.NoError(t, server.Close()); <-over })
	}
	return g
}

func naming(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprint(w, name, " ", r.Method, " ", r.Host, " ", r.URL, " ", r.Header.Get("Authorization"), " ", string(body))
	})
}

// asked returns the answer of the guardian to a request.
func asked(g *Guardian, method, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/some/page?n=1", strings.NewReader(body))
	r.Host = "127.0.0.1:8080"
	r.Header.Set("Authorization", "Bearer token")
	w := httptest.NewRecorder()
	g.Handover().ServeHTTP(w, r)
	return w
}

func TestARequestIsHandedToAReadyChild(t *testing.T) {
	t.Parallel()
	g := served(t, naming("first"), naming("second"))
	w := asked(g, http.MethodPost, "body")
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "first POST 127.0.0.1:8080 /some/page?n=1 Bearer token body", w.Body.String())

	g.slots[0].status.Ready = 0
	require.Contains(t, asked(g, http.MethodGet, "").Body.String(), "second GET 127.0.0.1:8080")

	w = asked(g, http.MethodPost, strings.Repeat("x", mostBody+1))
	require.NotEqual(t, http.StatusOK, w.Code, "a body has a bound")

	g.slots[1].status.Ready = 0
	w = asked(g, http.MethodGet, "")
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	var said struct {
		Error string `json:"error"`
	}
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &said))
	require.Contains(t, said.Error, "the process is not ready")
	require.Contains(t, said.Error, "ask again when one is ready")
}

func TestARequestGoesToTheNextChildWhereOneIsGone(t *testing.T) {
	t.Parallel()
	g := served(t, nil, naming("second"))
	g.slots[0].life.pipe.close()
	require.Contains(t, asked(g, http.MethodGet, "").Body.String(), "second GET")
	require.Equal(t, http.StatusServiceUnavailable, asked(g, http.MethodPost, "body").Code, "it may have been read")
	g.slots[1].life = nil
	require.Equal(t, http.StatusServiceUnavailable, asked(g, http.MethodGet, "").Code)
}

func TestAChildThatDoesNotAnswerHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	g := served(t, nil, naming("second"))
	began := time.Now()
	answers := g.Gather(httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	require.Less(t, time.Since(began), 4*handTime)
	require.Len(t, answers, 2)
	require.ErrorContains(t, answers[0].Err, "deadline")
	require.NoError(t, answers[1].Err)
	require.Contains(t, string(answers[1].Page), "second GET example.com /metrics")
}

func TestFilesWithoutALineAreNotKept(t *testing.T) {
	t.Parallel()
	guardian, child := pipes(t)
	for range 10 { // an end that does not know the line, as an older one does not
		_, theirs, err := socketPair()
		require.NoError(t, err)
		require.NoError(t, guardian.send(message{Stop: 1}, theirs))
		require.NoError(t, theirs.Close())
	}
	for range 10 {
		_, err := child.read()
		require.NoError(t, err)
	}
	require.Len(t, child.files.came, 10)
	child.close()
	require.Empty(t, child.files.came)
	_, err := child.files.next()
	require.Error(t, err)
}
