package admin_test

import (
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/supervisor/admin"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/builtin"
)

// private is a set in trouble, with the name of a customer wherever a program put it.
type private struct{}

const customer = "ada@example.org"

func (private) Ready() (ready, want int) { return 0, 1 }
func (private) Nodes() []*worker.Node    { return nil }
func (private) Status() builtin.SetStatus {
	crashes := builtin.Crashes{Count: 7, Reason: customer, Stack: customer}
	return builtin.SetStatus{
		Zombies:   builtin.Zombies{Count: 100, Limit: 100, Tasks: []string{"mail-" + customer}, Choked: true},
		Crashed:   []builtin.NodeCrashes{{Node: "stellar-worker-1", Crashes: crashes}},
		Operation: &builtin.Operation{Kind: builtin.OperationRoll, Error: customer},
	}
}

func TestWithoutATokenThereAreCountsOnly(t *testing.T) {
	const token = "0123456789abcdef"
	for _, path := range []string{"/healthz", "/readyz", "/status"} {
		for _, secret := range []link.Secret{{}, link.NewSecret(token)} {
			for _, authorization := range []string{"", "Bearer " + token} {
				w := get(admin.Handler(private{}, secret), path, authorization)
				if path == "/status" && !secret.IsZero() && authorization != "" {
					require.Contains(t, w.Body.String(), customer, "who has the token may know")
					continue
				}
				require.NotContains(t, w.Body.String(), customer, path)
				if w.Code != http.StatusUnauthorized && path != "/readyz" {
					require.Contains(t, w.Body.String(), `"count":100`, path)
				}
			}
		}
	}
	require.Equal(t, customer, private{}.Status().Operation.Error)
}

// A web page in a browser reaches the loopback interface under a host name of its own.
func TestTheStatusIsForLocalNamesOnly(t *testing.T) {
	addr := serve(t, 0)
	_, port, _ := net.SplitHostPort(addr)
	ask := func(addr, host, path string) int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+path, http.NoBody)
		require.NoError(t, err)
		r.Host = host
		response, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		return response.StatusCode
	}
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	for _, host := range []string{
		"attacker.example", "attacker.example:" + port, "127.0.0.1.attacker.example", "localhost.attacker.example", "192.0.2.1", "0.0.0.0", "[::]",
		"127.0.0.1@attacker.example",
	} {
		require.Equal(t, http.StatusMisdirectedRequest, ask(addr, host, "/status"), host)
		require.Equal(t, http.StatusMisdirectedRequest, ask(addr, host, "/%73tatus"), host)
		require.Equal(t, http.StatusOK, ask(addr, host, "/healthz"), "a load balancer calls it as it likes")
	}
	for _, host := range []string{addr, "127.0.0.1", "localhost", "LocalHost:" + port, "[::1]:" + port, "::1", "127.1.2.3"} {
		require.Equal(t, http.StatusOK, ask(addr, host, "/status"), host)
	}
}

func TestATokenThatCanBeGuessedIsRefused(t *testing.T) {
	for _, token := range []string{"x", "0123456789abcde", "change-me-change-me", "                ", "aaaaaaaaaaaaaaaa"} {
		require.ErrorIs(t, admin.Config{Addr: "127.0.0.1:0", Token: link.NewSecret(token), Set: set{}}.Validate(), link.ErrWeakSecret)
	}
}
