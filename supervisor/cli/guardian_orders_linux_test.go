package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/worker/builtin"
	"github.com/stellarfw/stellar/worker/tasks"
)

func TestOrdersGoToAllChildrenAsToOneSet(t *testing.T) {
	t.Parallel()
	g := guardian(t, "guarded", 4, nil, "--processes", "2", "--workers", "2", "--admin-addr", "127.0.0.1:0")
	before := g.awaitNodes(4)
	require.Len(t, before.Sets, 1, "one set")
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
		Set       builtin.SetStatus `json:"set"`
		Processes []struct {
			Process int               `json:"process"`
			Error   string            `json:"error"`
			Set     builtin.SetStatus `json:"set"`
			Nodes   []builtin.Status  `json:"nodes"`
		} `json:"processes"`
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

// The commands work on the children as on one set: nothing is said of --node.
func TestCommandsGoToAllChildrenAsToOneSet(t *testing.T) {
	t.Parallel()
	g := guardian(t, "guarded", 4, nil, "--processes", "2", "--workers", "2", "--log-level", "info")
	who := fmt.Sprintf("guardian %d on ", g.cmd.Process.Pid)
	done := func(says string, args ...string) {
		t.Helper()
		r := stellar(t, g.env, args...)
		require.Zero(t, r.code, r.err)
		require.Contains(t, r.out, who)
		require.Contains(t, r.out, says)
	}
	done(": from 4 to 6 nodes in 2 processes\n", "scale", "3")
	perProcess := map[int]int{}
	for _, n := range g.awaitNodes(6).Nodes {
		perProcess[n.PID]++
	}
	require.Len(t, perProcess, 2)
	for _, n := range perProcess {
		require.Equal(t, 3, n, "N is the number of nodes of each process, as --workers is")
	}
	require.NoError(t, syscall.Kill(g.children()[0], syscall.SIGKILL))
	g.err.await(t, "took over from the process", 1)
	g.awaitNodes(6) // and so has the next life

	done(": quiet: no tasks are claimed\n", "quiet")
	g.enqueue("echo", 1, tasks.Options{})
	r := stellar(t, g.env, "status")
	require.Contains(t, r.out, who)
	require.Equal(t, 1, strings.Count(r.out, "quiet, no tasks are claimed"), "one set: %s", r.out)
	done(": tasks are claimed\n", "resume")
	g.eventually(func() bool { return g.counts().Done == 1 }, "it runs now")

	done(": 2 processes run anew\n", "reload")
	r = stellar(t, g.env, "scale", "5001")
	require.Equal(t, exitUsage, r.code)
	r = stellar(t, g.env, "status", "-o", "json")
	var s struct {
		Sets []builtin.SetStatus `json:"sets"`
	}
	require.NoError(t, json.Unmarshal([]byte(r.out), &s))
	require.Len(t, s.Sets, 1)
	require.Equal(t, 2, s.Sets[0].Processes)
	require.Equal(t, 6, s.Sets[0].Ready)
	done(": from 6 to 0 nodes in 2 processes\n", "scale", "0")
	g.signal(t, syscall.SIGTERM)
	require.Zero(t, g.wait(t), g.err)
}
