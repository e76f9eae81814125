package cli

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/worker/tasks"
	"github.com/stellarfw/stellar/worker/timeline"
)

// kills is how often the loop of kills goes round; by hand it is 100.
var kills = func() int { n, _ := strconv.Atoi(os.Getenv("STELLAR_TEST_KILLS")); return cmp.Or(n, 20) }()

// TestKilledChildrenLoseAndDoubleNothing kills children of a guardian under load, again and again. In each
// round tasks are in hand on both of two children; those of the one that is killed have to begin again
// on the other, long before any lease runs out.
func TestKilledChildrenLoseAndDoubleNothing(t *testing.T) {
	t.Parallel()
	g := guardian(t, "guarded", 4, nil, "--processes", "2", "--workers", "2", "--concurrency", "8")
	const each = 100
	n, sum := 0, int64(0)
	var took []time.Duration
	for round := range kills {
		var requests []tasks.Request
		for range each {
			requests = append(requests, tasks.Request{Name: "add", Payload: n, Options: tasks.Options{ID: "add:" + strconv.Itoa(n)}})
			sum += int64(n)
			n++
		}
		var held []string
		for i := range 8 {
			held = append(held, fmt.Sprintf("hold-%d-%d", round, i))
			requests = append(requests, tasks.Request{Name: "hold", Payload: 600, Options: tasks.Options{ID: held[i]}})
		}
		_, err := g.tasks.EnqueueMany(t.Context(), requests)
		require.NoError(t, err)
		g.eventually(func() bool {
			return !slices.ContainsFunc(held, func(id string) bool { return len(g.runs(id)) == 0 })
		}, "all are in hand")
		pids := g.children()
		victim := pids[rand.IntN(len(pids))]
		killed := time.Now()
		require.NoError(t, syscall.Kill(victim, syscall.SIGKILL))
		for _, id := range held {
			if pid, _ := begun(g.runs(id)[0]); pid != victim {
				continue
			}
			g.eventually(func() bool { return len(g.runs(id)) > 1 }, id+" begins again")
			if pid, at := begun(g.runs(id)[1]); at.After(killed) {
				require.NotEqual(t, victim, pid)
				took = append(took, at.Sub(killed))
			}
		}
		g.eventually(func() bool { return !slices.Contains(g.children(), victim) }, "it is dead")
		g.eventually(func() bool {
			of := map[int]int{}
			for _, n := range g.awaitNodes(4).Nodes {
				of[n.PID]++
			}
			return of[victim] == 0 && len(of) == 2
		}, "another one runs in its place")
	}
	var c tasks.Counts
	g.eventually(func() bool {
		c = g.counts()
		return c.Done+c.Dead == int64(n+8*kills)
	}, "all tasks end")
	dead := g.client.ZRange(t.Context(), g.cfg.Keys().Dead(), 0, -1).Val()
	for _, id := range dead { // what was in hand in three deaths is put aside, not lost
		number, err := strconv.ParseInt(strings.TrimPrefix(id, "add:"), 10, 64)
		require.NoError(t, err)
		sum -= number
	}
	got, err := cache.Get[int64](t.Context(), cache.New(cache.Config{Client: g.client, Keys: g.cfg.Keys()}), "sum")
	require.NoError(t, err)
	require.Equal(t, sum, got)
	require.Zero(t, c.Active)
	slices.Sort(took)
	require.NotEmpty(t, took)
	at := func(share float64) time.Duration {
		return took[int(share*float64(len(took)-1))].Round(100 * time.Microsecond)
	}
	t.Logf("%d kills, %d tasks began again after p50 %s, p90 %s, p99 %s, at most %s; %d taken over, %d quarantined; guardian's memory: %d KiB",
		kills, len(took), at(0.5), at(0.9), at(0.99), at(1), c.HandedOn, len(dead), privateMemory(t, g.cmd.Process.Pid))
	g.signal(t, syscall.SIGTERM)
	require.Zero(t, g.wait(t), g.err)
	require.Equal(t, 1, strings.Count(g.err.String(), "set has stopped"), "one report")
	require.Contains(t, g.err.String(), fmt.Sprintf("%d deaths", kills))
	require.Zero(t, g.client.ZCard(t.Context(), g.cfg.Keys().Leases()).Val())
	require.Zero(t, g.client.HLen(t.Context(), g.cfg.Keys().Members()).Val())
}

func TestAPanicOfAGoroutineEndsOneChildOnly(t *testing.T) {
	t.Parallel()
	g := guardian(t, "guarded", 2, nil, "--processes", "2", "--workers", "1", "--log-level", "warn")
	g.enqueue("hold", 3000, tasks.Options{ID: "other"})
	g.enqueue("explode", struct{}{}, tasks.Options{ID: "bomb"})
	g.eventually(func() bool { return g.counts().Quarantined > 0 }, "three deaths quarantine a task, as crashes of a node do")
	g.eventually(func() bool { return g.counts().Done == 1 }, "the other task is done")
	dead := g.client.ZRange(t.Context(), g.cfg.Keys().Dead(), 0, -1).Val()
	require.Equal(t, []string{"bomb"}, dead)
	require.Equal(t, 3, strings.Count(g.err.String(), "process died"), "%s", g.err)
	require.Contains(t, g.err.String(), "in a goroutine of its own", "the panic is in the log's stream")
	g.awaitNodes(2)

	told := map[timeline.Kind]int{}
	g.eventually(func() bool {
		events, err := timeline.New(g.client, g.cfg.Keys(), "", timeline.Process{}).List(t.Context(), timeline.Filter{})
		require.NoError(t, err)
		clear(told)
		for _, e := range events {
			told[e.Kind] += e.Count
		}
		return told[timeline.Died] == 3 && told[timeline.TakeOver] == 3 && told[timeline.Quarantine] == 1
	}, "the guardian tells of the deaths and of what came of them")
}

func TestLocksOfADeadChildAreFree(t *testing.T) {
	t.Parallel()
	g := guardian(t, "guarded", 2, nil, "--processes", "2", "--workers", "1", "--log-level", "warn")
	g.enqueue("lock", "door", tasks.Options{})
	g.eventually(func() bool { return g.client.Exists(t.Context(), "locked:door").Val() == 1 }, "locked")
	pid, err := g.client.Get(t.Context(), "locked:door").Int()
	require.NoError(t, err)
	c := cache.New(cache.Config{Client: g.client, Keys: g.cfg.Keys(), Holder: "the-test"})
	_, err = c.TryLock(t.Context(), "door", time.Minute)
	require.Error(t, err)
	began := time.Now()
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	g.eventually(func() bool {
		pid2, _ := g.client.Get(t.Context(), "locked:door").Int()
		return pid2 != pid
	}, "its task runs on the other child, with the lock")
	t.Logf("locked again after %s", time.Since(began))
	require.Less(t, time.Since(began), 14*time.Second, "no lease has run out")
}

func TestChildrenOfADeadGuardianDrain(t *testing.T) {
	t.Parallel()
	g := guardian(t, "guarded", 2, nil, "--processes", "2", "--workers", "1")
	g.enqueue("hold", 1000, tasks.Options{ID: "a"})
	g.enqueue("hold", 1000, tasks.Options{ID: "b"})
	g.eventually(func() bool { return len(g.runs("a"))+len(g.runs("b")) == 2 }, "in hand")
	children := g.children()
	require.Len(t, children, 2)
	g.signal(t, syscall.SIGKILL)
	g.eventually(func() bool { return !slices.ContainsFunc(children, isAlive) }, "they end")
	c := g.counts()
	require.EqualValues(t, 2, c.Done, "their tasks have ended: %s", g.err)
	require.Zero(t, c.HandedOn)
	require.Zero(t, g.client.ZCard(t.Context(), g.cfg.Keys().Leases()).Val(), g.err)
	require.Contains(t, g.err.String(), "the guardian has ended: stopping")
}

func TestAChildThatHangsIsEnded(t *testing.T) {
	t.Parallel()
	args := []string{"--processes", "1", "--workers", "1", "--drain", "100ms", "--grace", "100ms"}
	t.Run("by its guardian", func(t *testing.T) {
		t.Parallel()
		g := guardian(t, "guarded", 1, home(t).with(hangs, "1"), args...)
		child := g.children()[0]
		g.signal(t, syscall.SIGTERM)
		g.eventually(func() bool { return !isAlive(child) }, "killed")
		g.err.await(t, "set has stopped", 1)
	})
	t.Run("without a guardian", func(t *testing.T) {
		t.Parallel()
		g := guardian(t, "guarded", 1, home(t).with(hangs, "1"), args...)
		child := g.children()[0]
		g.signal(t, syscall.SIGKILL)
		g.eventually(func() bool { return !isAlive(child) }, "ended")
	})
}

func TestFlappingChildrenEndTheGuardian(t *testing.T) {
	t.Parallel()
	g := guardian(t, "doomed", 0, home(t).with(limited, "1"), "--processes", "2", "--workers", "1")
	require.Equal(t, exitFlapping, g.wait(t), g.err)
	require.Contains(t, g.err.String(), "deaths of processes in 30s")
	require.Contains(t, g.err.String(), "5 deaths")
	require.Equal(t, 1, strings.Count(g.err.String(), "set has stopped"))
}

func TestProgramsOfADeadChildAreKilled(t *testing.T) {
	t.Parallel()
	env := home(t)
	dir := env["XDG_RUNTIME_DIR"]
	file := filepath.Join(dir, "stellar.yaml")
	program := fmt.Sprintf(`sleep 600 & echo $! >> %s/pids; wait`, dir)
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, "tasks: {nap: {command: [sh, -c, %q]}}\n", program), 0o600))
	g := guardian(t, "guarded", 1, env, "--config", file, "--processes", "1", "--workers", "1", "--log-level", "warn")
	g.enqueue("nap", nil, tasks.Options{})
	var sleeper int
	g.eventually(func() bool {
		text, _ := os.ReadFile(filepath.Join(dir, "pids"))
		line, _, whole := strings.Cut(string(text), "\n")
		sleeper, _ = strconv.Atoi(line)
		return whole
	}, "the program runs")
	require.True(t, isAlive(sleeper))
	require.NoError(t, syscall.Kill(g.children()[0], syscall.SIGKILL))
	g.eventually(func() bool {
		text, _ := os.ReadFile(filepath.Join(dir, "pids"))
		return strings.Count(string(text), "\n") == 2
	}, "the task runs again")
	require.False(t, isAlive(sleeper), "by then the group of its first run is gone")
	require.Contains(t, g.err.String(), "killed what the process had started")
}
