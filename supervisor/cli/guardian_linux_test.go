package cli

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
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

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/internal_test/collector"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor/guard"
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
// waits until so many nodes run. Nothing of it is left when the test ends, however it ends.
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
	g.binary = prepare(t, os.Args[0], g.env.with(childApp, app), args...)
	require.NoError(t, redistest.StartWithTest(g.cmd))
	t.Cleanup(func() { // before the cleanup of prepare, which waits
		for _, pid := range g.children() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		_ = g.cmd.Process.Kill()
	})
	if nodes > 0 {
		g.awaitNodes(nodes)
	}
	return g
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
			if line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); bytes.HasPrefix(line, []byte(os.Args[0])) {
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

// isAlive reports whether there is a process of that number that is not dead yet.
func isAlive(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(text), ") Z ")
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

func TestAnAppThatCannotBeMadeIsToldOnce(t *testing.T) {
	t.Parallel()
	g := guardian(t, "closed", 0, nil, "--processes", "3")
	require.Equal(t, exitFailure, g.wait(t), g.err)
	require.Equal(t, 1, strings.Count(g.err.String(), "the shop's database is away"), g.err)
}

func TestSecretsOfAGuardianAreNotInItsChildren(t *testing.T) {
	t.Parallel()
	const token, key = "0123456789-secret-token-0123456789", "secret-key-of-the-collector"
	traces := collector.Start(t)
	env := home(t).with("STELLAR_TOKEN", token).with("OTEL_EXPORTER_OTLP_ENDPOINT", traces.URL).
		with("OTEL_EXPORTER_OTLP_HEADERS", "api-key="+key)
	g := guardian(t, "guarded", 2, env, "--processes", "2", "--workers", "1", "--log-level", "debug")
	require.Equal(t, 2, strings.Count(g.err.String(), "the app is made"), "the guardian makes no app")
	for _, pid := range g.children() {
		for _, file := range []string{"environ", "cmdline"} {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
			require.NoError(t, err)
			require.NotEmpty(t, text)
			for _, secret := range []string{token, key, g.cfg.URL, "REDIS_URL", "STELLAR_TOKEN", "_HEADERS"} {
				require.NotContains(t, string(text), secret)
			}
		}
	}
	require.NotContains(t, g.err.String(), token)
	require.NotContains(t, g.err.String(), key)
	for range 20 {
		g.enqueue("echo", 1, tasks.Options{})
	}
	g.eventually(func() bool { return g.counts().Done == 20 }, "they work with them all the same")
	g.signal(t, syscall.SIGINT)
	require.Zero(t, g.wait(t), g.err)
	spans := traces.Named("process default")
	require.Len(t, spans, 20, "children export what is left before they end")
	for _, s := range spans {
		require.NotEqual(t, g.cmd.Process.Pid, s.Resource["process.pid"])
		require.Equal(t, "stellar", s.Resource["service.name"])
	}
	for _, h := range traces.Headers() {
		require.Equal(t, key, h.Get("Api-Key"))
	}
	require.Equal(t, 2, strings.Count(g.err.String(), "traces are exported by OTLP over HTTP"), "the guardian exports none")
	for _, text := range []string{`"process":0`, `"process":1`} {
		require.Contains(t, g.err.String(), text)
	}
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
	g.signal(t, syscall.SIGTERM)
	require.Zero(t, g.wait(t), g.err)
}

// The guardian alone, of a binary without the race detector, which takes most of the memory.
func TestAGuardianIsSmall(t *testing.T) {
	t.Parallel()
	cfg := redistest.Start(t).Config()
	b := prepare(t, plain(t), home(t).with("REDIS_URL", cfg.URL), "--processes", "2", "--workers", "1")
	require.NoError(t, redistest.StartWithTest(b.cmd))
	b.err.await(t, "node is running", 2)
	require.Less(t, privateMemory(t, b.cmd.Process.Pid), 15<<10)
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", b.cmd.Process.Pid))
	require.NoError(t, err)
	require.NotContains(t, string(environ), guard.Variable)
	require.NoError(t, b.cmd.Process.Signal(syscall.SIGTERM))
	require.Zero(t, b.wait(t), b.err)
}
