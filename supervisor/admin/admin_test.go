package admin_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor/admin"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/builtin"
	"github.com/stellarfw/stellar/worker/membership"
)

func TestMain(m *testing.M) { redistest.Main(m) }

// set is one of which so many nodes run.
type set struct{ ready, want int }

func (s set) Ready() (ready, want int)  { return s.ready, s.want }
func (s set) Nodes() []*worker.Node     { return nil }
func (s set) Status() builtin.SetStatus { return builtin.SetStatus{Healthy: true} }

func get(h http.Handler, path, authorization string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, http.NoBody)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestReadiness(t *testing.T) {
	for s, code := range map[set]int{{0, 4}: 503, {3, 4}: 503, {4, 4}: 200, {0, 0}: 200} {
		w := get(admin.Handler(s, link.Secret{}), "/readyz", "")
		require.Equal(t, code, w.Code)
		var r admin.Readiness
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &r))
		require.Equal(t, admin.Readiness{Ready: s.ready, Want: s.want}, r)
		require.Equal(t, http.StatusOK, get(admin.Handler(s, link.Secret{}), "/healthz", "").Code)
	}
}

func TestStatusTellsOfTheNodes(t *testing.T) {
	s := supervisortest.Start(t, worker.NewApp())
	w := get(admin.Handler(s, link.Secret{}), "/status", "")
	require.Equal(t, http.StatusOK, w.Code)
	var got struct {
		Nodes []builtin.Status `json:"nodes"`
	}
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got))
	require.Len(t, got.Nodes, 3)
	require.Equal(t, "stellar-worker-1", got.Nodes[0].ID)
	require.Equal(t, membership.Running, got.Nodes[0].State)
}

func TestOnlyWhoKnowsTheTokenGetsIn(t *testing.T) {
	h := admin.Handler(set{1, 1}, link.NewSecret("0123456789abcdef"))
	for authorization, code := range map[string]int{
		"": 401, "Bearer": 401, "Bearer wrong": 401, "Bearer 0123456789abcdef": 200, "Bearer 0123456789abcdef ": 401,
		"0123456789abcdef": 401, "Basic 0123456789abcdef": 401, " 0123456789abcdef": 401, "bearer 0123456789abcdef": 200,
	} {
		require.Equal(t, code, get(h, "/status", authorization).Code, authorization)
		for _, probe := range []string{"/healthz", "/readyz"} {
			require.Equal(t, http.StatusOK, get(h, probe, authorization).Code, "who probes has no secrets")
		}
	}
	require.NotContains(t, get(h, "/status", "").Body.String(), "0123456789abcdef")
}

func TestOtherAddressesNeedAToken(t *testing.T) {
	for _, addr := range []string{":0", "0.0.0.0:0", "[::]:0"} {
		_, err := admin.Listen(t.Context(), admin.Config{Addr: addr, Set: set{}})
		require.ErrorIs(t, err, admin.ErrTokenNeeded, addr)
	}
	_, err := admin.Listen(t.Context(), admin.Config{Addr: "nonsense", Set: set{}})
	require.ErrorContains(t, err, "host:port")
	s, err := admin.Listen(t.Context(), admin.Config{Addr: ":0", Token: link.NewSecret("0123456789abcdef"), Set: set{}})
	require.NoError(t, err)
	require.NoError(t, s.Close())
}

func TestServe(t *testing.T) {
	s, err := admin.Listen(t.Context(), admin.Config{Addr: "127.0.0.1:0", Set: set{2, 2}})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	res, err := http.Get("http://" + s.Addr().String() + "/readyz")
	require.NoError(t, err)
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.JSONEq(t, `{"ready": 2, "want": 2}`, string(body))
	http.DefaultClient.CloseIdleConnections()
	cancel()
	require.NoError(t, <-served)
}
