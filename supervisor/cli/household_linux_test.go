package cli

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/tasks"
)

// household is a guardian with its children, on a Redis of its own.
type household struct {
	*binary

	t      *testing.T
	cfg    link.Config
	env    environment
	client *redis.Client
	tasks  *tasks.Client
	admin  *tasks.Inspector
}

// guardian starts the test binary as a guardian whose children have the app of that name, and
// waits until so many nodes run.
func guardian(t *testing.T, app string, nodes int, env environment, args ...string) *household {
	t.Helper()
	g := &household{t: t, cfg: redistest.Start(t).Config()}
	if env == nil {
		env = home(t)
	}
	g.env = env.with("REDIS_URL", g.cfg.URL)
	g.client = redistest.Client(t, g.cfg)
	g.tasks = tasks.NewClient(t.Context(), g.client, g.cfg.Keys(), &tasks.Registry{})
	t.Cleanup(g.tasks.Close)
	g.admin = tasks.NewInspector(g.client, g.cfg.Keys())
	g.start(app, args...)
	if nodes > 0 {
		g.awaitNodes(nodes)
	}
	return g
}

// start starts the guardian. Nothing of it is left when the test ends, however it ends.
func (g *household) start(app string, args ...string) {
	g.t.Helper()
	g.binary = prepare(g.t, cmp.Or(g.env[programFile], os.Args[0]), g.env.with(childApp, app), args...)
	require.NoError(g.t, redistest.StartWithTest(g.cmd))
	g.t.Cleanup(func() { // before the cleanup of prepare, which waits
		for _, pid := range g.children() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		_ = g.cmd.Process.Kill()
	})
}

func (g *household) awaitNodes(n int) shown {
	g.t.Helper()
	return awaitNodes(g.t, g.env, n)
}

// children returns the PIDs of the live children.
func (g *household) children() (pids []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", g.cmd.Process.Pid))
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for word := range strings.FieldsSeq(string(text)) {
			pid, _ := strconv.Atoi(word)
			if line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); bytes.HasPrefix(line, []byte(g.cmd.Args[0])) {
				pids = append(pids, pid)
			}
		}
	}
	slices.Sort(pids)
	return pids
}

func (g *household) enqueue(name string, payload any, o tasks.Options) {
	g.t.Helper()
	_, err := g.tasks.EnqueueWith(g.t.Context(), name, payload, o)
	require.NoError(g.t, err)
}

// runs returns the runs of the task hold of that id.
func (g *household) runs(id string) []string {
	return g.client.LRange(g.t.Context(), "hold:"+id, 0, -1).Val()
}

func (g *household) eventually(what func() bool, says string) {
	g.t.Helper()
	require.Eventually(g.t, what, patient, 5*time.Millisecond, "%s\n%s", says, g.err)
}

func (g *household) counts() tasks.Counts {
	c, err := g.admin.Counts(g.t.Context())
	require.NoError(g.t, err)
	return c
}

// isAlive reports whether there is a process of that number that is not dead yet.
func isAlive(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(text), ") Z ")
}

// privateMemory returns how many KiB of a process's memory no other process shares.
func privateMemory(t *testing.T, pid int) (sum int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "Private_") {
			kib, _ := strconv.Atoi(strings.Fields(line)[1])
			sum += kib
		}
	}
	return sum
}
