package internal_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// cable is a network that can be cut: for everything behind it, Redis is gone.
type cable struct {
	dial func(context.Context) (net.Conn, error)

	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

func (c *cable) config() link.Config { return link.Config{Dial: c.connect} }

func (c *cable) connect(ctx context.Context) (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut {
		return nil, link.DialError(errors.New("cable is cut"))
	}
	conn, err := c.dial(ctx)
	if err == nil {
		c.conns = append(c.conns, conn)
	}
	return conn, err
}

func (c *cable) set(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
	if cut {
		for _, conn := range c.conns {
			_ = conn.Close()
		}
		c.conns = nil
	}
}

// counting registers a task that runs for a while, reports its start and adds
// one to the cache's counter "effects" in its transaction.
func counting(app *worker.App, length time.Duration) (starts chan string) {
	starts = make(chan string, 1000)
	tasks.Handle(app, tasks.Definition{Name: "count"}, func(ctx context.Context, _ int) error {
		tasks.Tx(ctx).Increment("effects", 1)
		starts <- worker.FromContext(ctx).ID()
		return link.Sleep(ctx, length)
	})
	return starts
}

// busy starts a set of two nodes behind the cable, and ten tasks that run for a
// while on it.
func busy(t *testing.T, line *cable, length time.Duration) (set *supervisortest.Set, starts chan string) {
	t.Helper()
	app := worker.NewApp()
	starts = counting(app, length)
	set = supervisortest.StartWith(t, app, supervisor.Config{Workers: 2, Concurrency: 5, Redis: line.config()})
	for i := range 10 {
		_, err := set.Nodes()[0].API().Tasks.Enqueue(t.Context(), "count", i)
		require.NoError(t, err)
	}
	for range 10 {
		<-starts
	}
	return set, starts
}

func effects(t *testing.T, set *supervisortest.Set) int {
	t.Helper()
	var n int
	require.NoError(t, link.Retry(t.Context(), func(ctx context.Context) (err error) { // a connection may have broken since its last use
		n, err = cache.Get[int](ctx, set.Nodes()[0].API().Cache, "effects")
		return err
	}))
	return n
}

func TestAShortOutageIsNotNoticedByTasksOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := &cable{dial: redistest.Embedded(t).Dial}
		set, starts := busy(t, line, 10*time.Second)
		line.set(true)
		time.Sleep(5 * time.Second)
		line.set(false)
		time.Sleep(10 * time.Second)
		require.Equal(t, 10, effects(t, set))
		require.Empty(t, starts, "no task was started twice")
		require.NoError(t, set.Stop())
		require.Zero(t, set.Report().Crashes)
	})
}

func TestALongOutageIsNoCrashAndEndsWithinFiveSecondsOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := &cable{dial: redistest.Embedded(t).Dial}
		set, starts := busy(t, line, 20*time.Second)
		line.set(true)
		time.Sleep(time.Minute)
		ready, want := set.Ready()
		require.Zero(t, ready, "nodes that cannot hold a lease are not ready")
		require.Equal(t, 2, want)
		require.Empty(t, starts)

		line.set(false)
		healed := time.Now()
		<-starts
		require.Less(t, time.Since(healed), 5*time.Second)
		time.Sleep(30 * time.Second)
		require.Equal(t, 10, effects(t, set))
		require.NoError(t, set.Stop())
		require.Zero(t, set.Report().Crashes, "an outage is not a crash")
	})
}

func TestAnotherProcessTakesOverByLeaseOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := redistest.Embedded(t)
		line := &cable{dial: server.Dial}
		app := worker.NewApp()
		starts := counting(app, time.Minute)
		// The other process is there, and busy with nothing.
		other := supervisortest.StartWith(t, app, supervisor.Config{Workers: 1, Redis: server.Config(), Queues: []string{"none"}})
		dies := supervisortest.StartWith(t, app, supervisor.Config{Workers: 2, Concurrency: 5, Redis: line.config()})
		for i := range 10 {
			_, err := other.Nodes()[0].API().Tasks.Enqueue(t.Context(), "count", i)
			require.NoError(t, err)
		}
		for range 10 {
			<-starts
		}
		heirs := supervisortest.StartWith(t, app, supervisor.Config{Workers: 2, Concurrency: 5, Redis: server.Config()})
		line.set(true) // as if it were killed
		died := time.Now()
		for range 10 {
			require.Contains(t, ids(heirs), <-starts)
		}
		took := time.Since(died)
		t.Logf("taken over after %s", took)
		require.GreaterOrEqual(t, took, 10*time.Second, "never before the lease has run out")
		require.LessOrEqual(t, took, 18*time.Second, "lease + 3 s")
		require.Equal(t, []string{"stellar-worker-1", "stellar-worker-4", "stellar-worker-5"}, live(t, other))

		line.set(false) // the dead come back: nothing of what they had counts
		time.Sleep(2 * time.Minute)
		require.Equal(t, 10, effects(t, other))
		require.Empty(t, starts)
		require.Equal(t, []string{"stellar-worker-2", "stellar-worker-3"}, ids(dies), "under the lowest free numbers")
	})
}

func live(t *testing.T, set *supervisortest.Set) []string {
	t.Helper()
	members, err := set.Directory().Live(t.Context())
	require.NoError(t, err)
	var out []string
	for _, m := range members {
		out = append(out, m.ID)
	}
	return out
}

func TestAFlushedRedisHealsOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := redistest.Embedded(t)
		app := worker.NewApp()
		starts := counting(app, 0)
		set := supervisortest.StartWith(t, app, supervisor.Config{Workers: 2, Redis: server.Config()})
		require.NoError(t, redistest.Client(t, server.Config()).FlushAll(t.Context()).Err())
		time.Sleep(10 * time.Second)
		require.NoError(t, set.AwaitReady(t.Context()))
		require.Equal(t, []string{"stellar-worker-1", "stellar-worker-2"}, ids(set))
		_, err := set.Nodes()[0].API().Tasks.Enqueue(t.Context(), "count", 1)
		require.NoError(t, err)
		<-starts
		verdicts, err := set.Nodes()[0].API().RPC.DoAll(t.Context(), "api.ping", nil)
		require.NoError(t, err)
		require.Len(t, verdicts, 2)
		for _, v := range verdicts {
			require.NoError(t, v.Err)
		}
	})
}

func TestARedisThatForgetsTheNodesIsNoCrashOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := redistest.Embedded(t)
		line := &cable{dial: server.Dial}
		app := worker.NewApp()
		starts := counting(app, 0)
		set := supervisortest.StartWith(t, app, supervisor.Config{Workers: 6, Redis: line.config()})
		for range 5 {
			were := set.Nodes()[0].Ended().Incarnation
			line.set(true)
			require.NoError(t, redistest.Client(t, server.Config()).FlushAll(t.Context()).Err())
			time.Sleep(2 * time.Second)
			line.set(false) // to a Redis that begins empty
			time.Sleep(6 * time.Second)
			require.NoError(t, set.AwaitReady(t.Context()))
			require.NotEqual(t, were, set.Nodes()[0].Ended().Incarnation, "it begins anew")
		}
		_, err := set.Nodes()[0].API().Tasks.Enqueue(t.Context(), "count", 1)
		require.NoError(t, err)
		<-starts
		require.NoError(t, set.Stop())
		require.Zero(t, set.Report().Crashes)
	})
}
