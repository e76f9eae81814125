package internal_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/builtin"
	"github.com/stellarfw/stellar/worker/membership"
)

// numbered are the ids of the first n nodes.
func numbered(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("stellar-worker-%d", i+1))
	}
	return out
}

// soon is a context that ends when a test has waited long enough.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	require.Eventually(t, is, time.Minute, 5*time.Millisecond, what)
}

func TestScalingUpAndDown(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		app := worker.NewApp()
		starts := counting(app, 200*time.Millisecond)
		set := supervisortest.StartWith(t, app, supervisor.Config{Workers: supervisor.Idle, Concurrency: 2, Redis: cfg})
		require.Empty(t, ids(set))
		for _, n := range []int{3, 5, 2, 0, 0, 1, 4} {
			require.NoError(t, set.Scale(soon(t), n))
			require.Equal(t, numbered(n), ids(set), "the highest numbers leave, the lowest free ones come")
			ready, want := set.Ready()
			require.Equal(t, [2]int{n, n}, [2]int{ready, want})
		}
		api := set.Nodes()[0].API()
		for i := range 8 {
			_, err := api.Tasks.Enqueue(t.Context(), "count", i)
			require.NoError(t, err)
		}
		for range 8 {
			<-starts
		}
		require.NoError(t, set.Scale(soon(t), 1))
		require.Equal(t, numbered(1), ids(set))
		eventually(t, "nothing is lost and nothing runs twice", func() bool { return effects(t, set) == 8 })
		require.Empty(t, starts, "those who left finished what they had in hand")

		n, err := set.ScaleBy(2)
		require.NoError(t, err)
		require.Equal(t, 3, n)
		n, err = set.ScaleBy(-7)
		require.NoError(t, err)
		require.Zero(t, n, "never below none")
		for _, bad := range []int{-1, supervisor.MaxWorkers + 1} {
			err := set.Scale(t.Context(), bad)
			require.ErrorIs(t, err, supervisor.ErrSize)
			require.ErrorIs(t, err, builtin.ErrSetSize)
		}
		require.NoError(t, set.Stop())
		require.Zero(t, set.Report().Crashes)
		require.ErrorIs(t, set.Scale(t.Context(), 1), supervisor.ErrNotRunning)
	})
}

func TestASetOfOneExactIDStaysOne(t *testing.T) {
	set := supervisortest.StartWith(t, nil, supervisor.Config{Workers: 1, ID: "main"})
	require.ErrorIs(t, set.Scale(t.Context(), 2), supervisor.ErrSize)
	n, err := set.ScaleBy(1)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.NoError(t, set.Scale(soon(t), 0))
	require.NoError(t, set.Scale(soon(t), 1))
	require.Equal(t, []string{"main"}, ids(set))
}

func TestANodeThatIsStoppedByCallAfterScalingEndsTheSetOnlyAsTheLast(t *testing.T) {
	set := supervisortest.StartWith(t, nil, supervisor.Config{Workers: 3})
	require.NoError(t, set.Scale(soon(t), 2))
	set.Node("stellar-worker-1").Stop(worker.ErrStop)
	eventually(t, "one is left", func() bool { return slices.Equal(ids(set), []string{"stellar-worker-2"}) })
	require.NoError(t, set.Scale(soon(t), 2))
	require.Equal(t, numbered(2), ids(set))
	for _, n := range set.Nodes() {
		n.Stop(worker.ErrStop)
	}
	require.NoError(t, set.Ended(t))
}

func TestAQuietSetClaimsNothingAlsoAfterARestart(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		app := worker.NewApp()
		starts := counting(app, 0)
		set := supervisortest.StartWith(t, app, supervisor.Config{Workers: 2, Redis: cfg})
		set.Quiet(true)
		require.NoError(t, set.Reload(soon(t)))
		require.NoError(t, set.Scale(soon(t), 3))
		ready, want := set.Ready()
		require.Equal(t, [2]int{3, 3}, [2]int{ready, want}, "quiet is ready")
		require.True(t, set.Status().Quiet)
		api := set.Nodes()[0].API()
		for i := range 5 {
			receipt, err := api.Tasks.Enqueue(t.Context(), "count", i)
			require.NoError(t, err)
			eventually(t, "it is said why it waits", func() bool {
				e, err := api.Inspector.Explain(t.Context(), receipt.ID)
				require.NoError(t, err)
				return strings.Contains(strings.Join(e.Why, "\n"),
					"every node that serves the queue default is quiet (stellar-worker-1, stellar-worker-2, stellar-worker-3)")
			})
		}
		pong, err := rpcregistry.Do[rpcregistry.Pong](t.Context(), set.Nodes()[0].API().RPC, "api.ping", nil, rpcregistry.Node("stellar-worker-3"))
		require.NoError(t, err)
		require.Equal(t, "stellar-worker-3", pong.Node, "it answers calls")
		require.Never(t, func() bool { return len(starts) > 0 }, 300*time.Millisecond, 10*time.Millisecond)
		set.Quiet(false)
		for range 5 {
			select {
			case <-starts:
			case <-time.After(time.Minute):
				t.Fatal("it does not claim again")
			}
		}
		require.False(t, set.Status().Quiet)
	})
}

func TestTheSetByCall(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		app := worker.NewApp()
		set := supervisortest.StartWith(t, app, supervisor.Config{Workers: 2, Redis: cfg})
		other := supervisortest.StartWith(t, app, supervisor.Config{Workers: 1, Redis: cfg})
		api := other.Nodes()[0].API()
		doOn := func(node, method string, args any) (builtin.SetStatus, error) {
			return rpcregistry.Do[builtin.SetStatus](t.Context(), api.RPC, method, args, rpcregistry.Node(node))
		}
		do := func(method string, args any) (builtin.SetStatus, error) {
			return doOn("stellar-worker-1", method, args)
		}
		s, err := do("api.set.quiet", nil)
		require.NoError(t, err)
		require.True(t, s.Quiet)
		s, err = do("api.set.scale", map[string]int{"workers": 3})
		require.NoError(t, err)
		require.Equal(t, 3, s.Workers)
		require.NoError(t, set.AwaitReady(soon(t)))
		s, err = do("api.set.roll", nil)
		require.NoError(t, err)
		require.Equal(t, "roll", s.Operation.Kind)
		_, err = doOn("stellar-worker-4", "api.set.reload", nil) // the roll reaches it last: it is there
		require.ErrorIs(t, err, builtin.ErrSetBusy)
		eventually(t, "rolled", func() bool { return set.Status().Operation.Ended })
		require.Empty(t, set.Status().Operation.Error)
		_, err = do("api.set.reload", nil)
		require.NoError(t, err)
		eventually(t, "reloaded", func() bool { o := set.Status().Operation; return o.Number == 2 && o.Ended })
		s, err = do("api.set.resume", nil)
		require.NoError(t, err)
		require.False(t, s.Quiet)
		_, err = do("api.set.scale", []any{-1})
		require.ErrorIs(t, err, builtin.ErrSetSize)
		_, err = do("api.set.scale", nil)
		require.ErrorIs(t, err, rpcregistry.ErrBadArguments)
		s, err = do("api.set.status", nil)
		require.NoError(t, err)
		require.Equal(t, 3, s.Ready)
		require.True(t, s.Healthy)
		require.True(t, s.Redis)
		require.Equal(t, 1, other.Status().Workers, "the other process is another set")
		require.False(t, other.Status().Quiet)
	})
}

func TestTheSetsMethodsCanBeDenied(t *testing.T) {
	app := worker.NewApp()
	app.Deny("api.set.*")
	set := supervisortest.StartWith(t, app, supervisor.Config{Workers: 2})
	_, err := set.Nodes()[0].API().RPC.DoCluster(t.Context(), "api.set.roll", nil, rpcregistry.Node("stellar-worker-2"))
	require.ErrorIs(t, err, rpcregistry.ErrDenied)
}

func TestCrashesAreRemembered(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		set := supervisortest.StartWith(t, nil, supervisor.Config{Workers: 2, Redis: cfg, Backoff: time.Millisecond})
		for n := range 2 {
			set.Node("stellar-worker-2").Crash("the drill")
			eventually(t, "it is back", func() bool {
				ready, _ := set.Ready()
				return set.Report().Crashes == n+1 && ready == 2
			})
		}
		s := set.Status()
		require.Equal(t, 2, s.Crashes)
		require.Len(t, s.Crashed, 1)
		c := s.Crashed[0]
		require.Equal(t, "stellar-worker-2", c.Node)
		require.Equal(t, 2, c.Count)
		require.Contains(t, c.Reason, "the drill")
		require.Contains(t, c.Stack, "worker.(*Node).loop")
		require.WithinDuration(t, time.Now(), c.At, time.Minute)
		require.Equal(t, c.Crashes, *set.Node("stellar-worker-2").Status().Crashes)
		require.Nil(t, set.Node("stellar-worker-1").Status().Crashes)
	})
}

func TestALeaseThatIsLostDuringADrainIsNoCrashOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := worker.NewApp()
		starts := counting(app, 15*time.Second)
		server := redistest.Embedded(t)
		set := supervisortest.StartWith(t, app, supervisor.Config{Workers: 1, Redis: server.Config()})
		node := set.Nodes()[0]
		_, err := node.API().Tasks.Enqueue(t.Context(), "count", 1)
		require.NoError(t, err)
		<-starts
		stopped := make(chan error, 1)
		go func() { stopped <- set.Stop() }()
		time.Sleep(time.Second)
		require.Equal(t, membership.Draining, node.State())
		c := redistest.Client(t, server.Config())
		require.NoError(t, c.FlushAll(t.Context()).Err())
		require.NoError(t, <-stopped)
		require.ErrorIs(t, node.Ended().Err, membership.ErrLeaseLost)
		require.Zero(t, set.Report().Crashes)
		require.Empty(t, set.Status().Crashed)
	})
}

func TestRedisThatIsAwayIsNoticedWithinSecondsOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := &cable{dial: redistest.Embedded(t).Dial}
		set := supervisortest.StartWith(t, nil, supervisor.Config{Workers: 2, Redis: line.config()})
		ready := func() int { n, _ := set.Ready(); return n }
		time.Sleep(20 * time.Second)
		require.Equal(t, 2, ready())
		line.set(true)
		time.Sleep(1500 * time.Millisecond)
		require.Equal(t, 2, ready(), "a moment is nothing")
		time.Sleep(1600 * time.Millisecond)
		require.Zero(t, ready())
		require.False(t, set.Status().Redis)
		line.set(false)
		time.Sleep(2 * time.Second)
		require.Equal(t, 2, ready())
		require.NoError(t, set.Stop())
		require.Zero(t, set.Report().Crashes)
		time.Sleep(5 * time.Second)
	})
}
