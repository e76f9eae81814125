package cli

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/worker/tasks"
)

// load enqueues tasks and looks whether the guardian is ready, all the time until it is told to stop.
type load struct {
	g       *household
	stop    func()
	stopped chan struct{}
	ended   sync.WaitGroup
	n       int // tasks
	sum     int64
	asked   int
	refused []string
	unready []string
}

// address returns that of the health pages, which are on the loopback interface.
func (g *household) address() string {
	_, after, _ := strings.Cut(g.err.String(), `"address":"`)
	address, _, _ := strings.Cut(after, `"`)
	return address
}

func (g *household) load() *load {
	l := &load{g: g, stopped: make(chan struct{})}
	l.stop = sync.OnceFunc(func() { close(l.stopped); l.ended.Wait() })
	g.t.Cleanup(l.stop)
	l.ended.Go(func() {
		for ; !l.over(2 * time.Millisecond); l.n++ {
			o := tasks.Options{ID: "add:" + strconv.Itoa(l.n)}
			if _, err := g.tasks.EnqueueWith(g.t.Context(), "add", l.n, o); err != nil {
				l.refused = append(l.refused, err.Error())
			}
			l.sum += int64(l.n)
		}
	})
	url := "http://" + g.address() + "/readyz"
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	g.eventually(func() bool { // the children are about to tell of their nodes
		r, err := client.Get(url)
		return err == nil && r.Body.Close() == nil && r.StatusCode == http.StatusOK
	}, "ready")
	l.ended.Go(func() {
		for ; !l.over(time.Millisecond); l.asked++ {
			r, err := client.Get(url)
			if err != nil {
				l.unready = append(l.unready, err.Error())
				continue
			}
			_ = r.Body.Close()
			if r.StatusCode != http.StatusOK {
				l.unready = append(l.unready, r.Status)
			}
		}
	})
	return l
}

// over waits for that time, and reports whether it was told to stop.
func (l *load) over(pause time.Duration) bool {
	select {
	case <-l.stopped:
		return true
	case <-time.After(pause):
		return false
	}
}

// end stops the load. Each of its tasks has run once, and the guardian was ready all the time.
func (l *load) end(others int) {
	g := l.g
	g.t.Helper()
	l.stop()
	require.Empty(g.t, l.refused)
	require.Empty(g.t, l.unready, g.err)
	require.Positive(g.t, l.asked)
	var c tasks.Counts
	g.eventually(func() bool {
		c = g.counts()
		return c.Done == int64(l.n+others)
	}, "all are done")
	require.Zero(g.t, c.HandedOn, "every process has drained: %s", g.err)
	sum, err := cache.Get[int64](g.t.Context(), cache.New(cache.Config{Client: g.client, Keys: g.cfg.Keys()}), "sum")
	require.NoError(g.t, err)
	require.Equal(g.t, l.sum, sum)
	g.t.Logf("%d tasks, ready all of %d times", l.n, l.asked)
}

// hold has so many tasks in hand that take some time.
func (g *household) hold(name string, n, ms int) {
	g.t.Helper()
	for i := range n {
		g.enqueue("hold", ms, tasks.Options{ID: name + strconv.Itoa(i)})
	}
	g.eventually(func() bool {
		for i := range n {
			if len(g.runs(name+strconv.Itoa(i))) == 0 {
				return false
			}
		}
		return true
	}, "in hand")
}

func TestARollReplacesProcessesWithoutAGap(t *testing.T) {
	t.Parallel()
	g := guardian(t, "guarded", 4, nil, "--processes", "2", "--workers", "2", "--admin-addr", "127.0.0.1:0")
	before := g.children()
	load := g.load()
	g.hold("held", 4, 500)
	r := stellar(t, g.env, "roll")
	require.Zero(t, r.code, r.err)
	require.Contains(t, r.out, ": 2 processes run anew\n")
	require.Contains(t, r.out, fmt.Sprintf("guardian %d on ", g.cmd.Process.Pid))
	require.Contains(t, g.err.String(), `"by":"a command to process `)
	after := g.children()
	require.Len(t, after, 2)
	for _, pid := range after {
		require.NotContains(t, before, pid)
	}
	g.awaitNodes(4)

	g.signal(t, syscall.SIGUSR2)
	g.err.await(t, "roll is done", 2)
	require.Contains(t, g.err.String(), `"by":"a signal"`)
	load.end(4)
	g.signal(t, syscall.SIGTERM)
	require.Zero(t, g.wait(t), g.err)
	require.Contains(t, g.err.String(), "6 lives of processes, 0 deaths")
}

// What can go wrong with a new process leaves the one before as it is.
func TestARollThatFails(t *testing.T) {
	t.Parallel()
	env := home(t)
	file, wrong := filepath.Join(env["XDG_RUNTIME_DIR"], "stuck"), filepath.Join(env["XDG_RUNTIME_DIR"], "stellar.yaml")
	require.NoError(t, os.WriteFile(wrong, []byte("concurrency: 4\n"), 0o600))
	g := guardian(t, "guarded", 1, env.with(stuck, file), "--config", wrong, "--processes", "1", "--workers", "1")
	child := g.children()[0]
	other := func() (pid int) {
		g.eventually(func() bool {
			of := slices.DeleteFunc(g.children(), func(pid int) bool { return pid == child })
			if len(of) == 1 {
				pid = of[0]
			}
			return pid != 0
		}, "a second process")
		return pid
	}
	alone := func(says string, times int) {
		g.err.await(t, "roll has failed", times)
		require.Contains(t, g.err.String(), says)
		g.eventually(func() bool { return slices.Equal(g.children(), []int{child}) }, "the first goes on alone")
	}
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	g.signal(t, syscall.SIGUSR2)
	pid := other()
	r := stellar(t, g.env, "roll")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.err, "a roll is under way since")
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	alone("signal: killed", 1)

	r = stellar(t, g.env, "roll")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.err, "roll ended after 0 of 1 process: process 0: not all nodes are back within 3s: the new process ")
	alone("has told nothing of itself", 2)

	require.NoError(t, os.Remove(file))
	require.NoError(t, os.WriteFile(wrong, []byte("concurrency: many\n"), 0o600))
	r = stellar(t, g.env, "roll")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.err, "concurrency")
	alone("concurrency", 3)

	// The guardian dies when there are two in one place.
	require.NoError(t, os.WriteFile(wrong, []byte("concurrency: 4\n"), 0o600))
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	g.hold("held", 1, 500)
	g.signal(t, syscall.SIGUSR2)
	pid = other()
	g.signal(t, syscall.SIGKILL)
	g.eventually(func() bool { return !isAlive(child) && !isAlive(pid) }, "both end")
	require.EqualValues(t, 1, g.counts().Done)
	require.Zero(t, g.client.ZCard(t.Context(), g.cfg.Keys().Leases()).Val())
}
