package cli

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/worker/builtin"
)

func TestOrdersGoToAllChildrenAsToOneSet(t *testing.T) {
	t.Parallel()
	g := guardian(t, "guarded", 4, nil, "--processes", "2", "--workers", "2", "--admin-addr", "127.0.0.1:0")
	before := g.awaitNodes(4)
	require.Len(t, before.Sets, 2)
	slots := []int{}
	for _, n := range before.Nodes {
		slots = append(slots, n.PID)
	}
	slices.Sort(slots)
	require.Len(t, slices.Compact(slots), 2)

	g.signal(t, syscall.SIGTTIN)
	g.awaitNodes(5)
	g.signal(t, syscall.SIGTTOU)
	g.awaitNodes(4)

	g.signal(t, syscall.SIGTSTP)
	g.eventually(func() bool { return strings.Count(g.err.String(), "set is quiet") == 2 }, "both are quiet")
	require.NoError(t, syscall.Kill(g.children()[0], syscall.SIGKILL))
	g.eventually(func() bool { return strings.Count(g.err.String(), "set is quiet") == 3 }, "and so is the next life of one")
	g.awaitNodes(4)
	g.signal(t, syscall.SIGCONT)
	g.eventually(func() bool { return strings.Count(g.err.String(), "set claims tasks again") == 2 }, "resumed")

	earlier := map[string]bool{}
	for _, n := range g.awaitNodes(4).Nodes {
		earlier[n.Incarnation] = true
	}
	g.signal(t, syscall.SIGUSR2)
	g.eventually(func() bool {
		s, _ := statusFor(t, g.env)
		for _, n := range s.Nodes {
			if earlier[n.Incarnation] || n.State != "running" {
				return false
			}
		}
		return len(s.Nodes) == 4
	}, "all nodes are new")

	_, after, _ := strings.Cut(g.err.String(), `"address":"`)
	address, _, _ := strings.Cut(after, `"`)
	for _, page := range []string{"/healthz", "/readyz"} {
		g.eventually(func() bool {
			r, err := http.Get("http://" + address + page)
			if err != nil {
				return false
			}
			defer r.Body.Close()
			var body struct {
				Ready int `json:"ready"`
				Want  int `json:"want"`
			}
			_ = json.NewDecoder(r.Body).Decode(&body)
			return r.StatusCode == http.StatusOK && (page == "/healthz" || body.Ready == 4 && body.Want == 4)
		}, page)
	}
	r, err := http.Get("http://" + address + "/status")
	require.NoError(t, err)
	defer r.Body.Close()
	var page struct {
		Set       builtin.SetStatus
		Processes []struct {
			Process int
			Error   string
			Set     builtin.SetStatus
			Nodes   []builtin.Status
		}
	}
	require.NoError(t, json.NewDecoder(r.Body).Decode(&page))
	require.Equal(t, 4, page.Set.Ready)
	require.Len(t, page.Processes, 2)
	for i, p := range page.Processes {
		require.Equal(t, i, p.Process)
		require.Empty(t, p.Error)
		require.Contains(t, g.children(), p.Set.Process.PID)
		require.Len(t, p.Nodes, 2)
	}
	g.signal(t, syscall.SIGTERM)
	require.Zero(t, g.wait(t), g.err)
}
