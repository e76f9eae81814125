package internal_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// numbered are the ids of the first n nodes.
func numbered(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("stellar-worker-%d", i+1))
	}
	return out
}

// incarnations are those of the running nodes.
func incarnations(s *supervisortest.Set) []string {
	var out []string
	for _, n := range s.Nodes() {
		if n.State() == worker.Running {
			out = append(out, n.Ended().Incarnation)
		}
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
	require.Eventually(t, is, 20*time.Second, 5*time.Millisecond, what)
}

func TestScalingUpAndDown(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg redisbus.Config) {
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
			require.ErrorIs(t, err, worker.ErrSetSize)
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

func TestARollingRestartKeepsAllButOneAndLosesNothing(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg redisbus.Config) {
		app := worker.NewApp()
		starts := counting(app, 20*time.Millisecond)
		set := supervisortest.StartWith(t, app, supervisor.Config{Workers: 4, Redis: cfg})
		before := incarnations(set)
		client := tasks.NewClient(t.Context(), redistest.Client(t, cfg), cfg.Keys(), nil)
		t.Cleanup(client.Close)
		watching, stop := context.WithCancel(t.Context())
		least, n := 4, 0
		var wg sync.WaitGroup
		wg.Go(func() {
			for redisbus.Sleep(watching, time.Millisecond) == nil {
				ready, _ := set.Ready()
				least = min(least, ready)
			}
		})
		wg.Go(func() {
			for redisbus.Sleep(watching, 2*time.Millisecond) == nil {
				if _, err := client.Enqueue(t.Context(), "count", n); err == nil {
					n++
				}
			}
		})
		var err error
		wg.Go(func() { err = set.Roll(soon(t)); stop() })
		wg.Wait()
		require.NoError(t, err)
		require.Equal(t, 3, least, "never below N-1")
		require.Equal(t, numbered(4), ids(set))
		for _, life := range incarnations(set) {
			require.NotContains(t, before, life)
		}
		o := set.Status().Operation
		require.Equal(t, worker.Operation{Number: 1, Kind: "roll", Began: o.Began, Total: 4, Done: 4, Ended: true}, *o)
		eventually(t, "all are done", func() bool { return effects(t, set) == n })
		require.Len(t, starts, n, "none was started twice")
		require.Zero(t, set.Report().Crashes)
	})
}

func TestOneOperationAtATimeAndScalingDuringIt(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg redisbus.Config) {
		app := worker.NewApp()
		hold := make(chan struct{})
		var lives atomic.Int64
		app.OnStart(func(ctx context.Context) error {
			if lives.Add(1) == 4 { // the first new life
				select {
				case <-hold:
				case <-ctx.Done():
				}
			}
			return nil
		})
		set := supervisortest.StartWith(t, app, supervisor.Config{Workers: 3, Redis: cfg})
		rolled := make(chan error, 1)
		go func() { rolled <- set.Roll(soon(t)) }()
		eventually(t, "it waits for the first", func() bool { return lives.Load() == 4 })
		err := set.Roll(t.Context())
		busy, ok := errors.AsType[*supervisor.BusyError](err)
		require.True(t, ok, err)
		require.Equal(t, "roll", busy.Kind)
		require.ErrorIs(t, set.Reload(t.Context()), worker.ErrSetBusy)
		last := set.Node("stellar-worker-2").Ended().Incarnation
		n, err := set.ScaleBy(1)
		require.NoError(t, err)
		require.Equal(t, 4, n)
		eventually(t, "the new one runs", func() bool { return set.Node("stellar-worker-4") != nil })
		fourth := set.Node("stellar-worker-4").Ended().Incarnation

		close(hold)
		require.NoError(t, <-rolled)
		require.Equal(t, numbered(4), ids(set))
		require.NotEqual(t, last, set.Node("stellar-worker-2").Ended().Incarnation)
		require.Equal(t, fourth, set.Node("stellar-worker-4").Ended().Incarnation, "what came meanwhile needs no restart")
	})
}

func TestANodeThatLeavesDuringARollIsPassedOver(t *testing.T) {
	app := worker.NewApp()
	hold := make(chan struct{})
	var lives atomic.Int64
	app.OnStart(func(ctx context.Context) error {
		if lives.Add(1) == 4 {
			select {
			case <-hold:
			case <-ctx.Done():
			}
		}
		return nil
	})
	set := supervisortest.StartWith(t, app, supervisor.Config{Workers: 3})
	rolled := make(chan error, 1)
	go func() { rolled <- set.Roll(soon(t)) }()
	eventually(t, "it waits for the first", func() bool { return lives.Load() == 4 })
	require.NoError(t, set.Scale(soon(t), 2))
	close(hold)
	require.NoError(t, <-rolled)
	require.Equal(t, numbered(2), ids(set))
	require.Equal(t, 2, set.Status().Operation.Done)
	require.Equal(t, 2, set.Status().Operation.Total)
}

func TestARollStopsAtANodeThatDoesNotComeBackOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := worker.NewApp()
		var broken atomic.Bool
		app.OnStart(func(context.Context) error {
			if broken.Load() {
				return errors.New("no licence")
			}
			return nil
		})
		set := supervisortest.StartWith(t, app, supervisor.Config{Workers: 3, CrashLimit: -1})
		before := incarnations(set)
		broken.Store(true)
		err := set.Roll(t.Context())
		require.ErrorIs(t, err, supervisor.ErrNotBack)
		for _, part := range []string{"roll ended after 0 of 3 nodes", "stellar-worker-1", "within 30s", "no licence"} {
			require.ErrorContains(t, err, part)
		}
		require.Equal(t, before[1:], incarnations(set), "the others are as they were")
		require.Equal(t, err.Error(), set.Status().Operation.Error)

		err = set.Roll(t.Context())
		require.ErrorContains(t, err, "before stellar-worker-1", "it does not begin with a node missing")
		broken.Store(false)
		time.Sleep(time.Minute)
		require.NoError(t, set.Roll(t.Context()))
		require.Equal(t, numbered(3), ids(set))
	})
}

func TestARollEndsWithItsSet(t *testing.T) {
	app := worker.NewApp()
	var lives atomic.Int64
	app.OnStart(func(ctx context.Context) error {
		if lives.Add(1) > 2 {
			<-ctx.Done()
		}
		return nil
	})
	set := supervisortest.StartWith(t, app, supervisor.Config{Workers: 2})
	rolled := make(chan error, 1)
	go func() { rolled <- set.Roll(soon(t)) }()
	eventually(t, "it waits for the first", func() bool { return lives.Load() == 3 })
	require.NoError(t, set.Stop())
	require.ErrorIs(t, <-rolled, supervisor.ErrNotRunning)
}

func TestAStopWinsOverARestartThatIsUnderWay(t *testing.T) {
	app := worker.NewApp()
	started, release := make(chan struct{}, 1), make(chan struct{})
	tasks.Handle(app, tasks.Definition{Name: "long"}, func(context.Context, int) error {
		started <- struct{}{}
		<-release
		return nil
	})
	set := supervisortest.StartWith(t, app, supervisor.Config{Workers: 1})
	n := set.Nodes()[0]
	_, err := n.API().Tasks.Enqueue(t.Context(), "long", 1)
	require.NoError(t, err)
	<-started
	n.Stop(worker.ErrRestart)
	eventually(t, "it drains", func() bool { return n.State() == worker.Draining })
	n.Stop(worker.ErrStop)
	close(release)
	require.NoError(t, set.Ended(t), "its only node was stopped for good")
}

func TestReloadStartsAllAnewAtOnce(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg redisbus.Config) {
		app := worker.NewApp()
		started, release := make(chan struct{}, 10), make(chan struct{})
		tasks.Handle(app, tasks.Definition{Name: "long"}, func(context.Context, int) error {
			started <- struct{}{}
			<-release
			return nil
		})
		set := supervisortest.StartWith(t, app, supervisor.Config{Workers: 3, Concurrency: 1, Redis: cfg})
		before := incarnations(set)
		for i := range 3 {
			_, err := set.Nodes()[0].API().Tasks.Enqueue(t.Context(), "long", i)
			require.NoError(t, err)
		}
		for range 3 {
			<-started
		}
		done := make(chan error, 1)
		go func() { done <- set.Reload(soon(t)) }()
		eventually(t, "all drain in parallel", func() bool {
			return !slices.ContainsFunc(set.Nodes(), func(n *worker.Node) bool { return n.State() != worker.Draining })
		})
		close(release)
		require.NoError(t, <-done)
		require.Equal(t, numbered(3), ids(set))
		for _, life := range incarnations(set) {
			require.NotContains(t, before, life)
		}
		require.EqualValues(t, 3, set.Report().Finished)
		require.Empty(t, started)
	})
}

func TestAQuietSetClaimsNothingAlsoAfterARestart(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg redisbus.Config) {
		app := worker.NewApp()
		starts := counting(app, 0)
		set := supervisortest.StartWith(t, app, supervisor.Config{Workers: 2, Redis: cfg})
		set.Quiet(true)
		require.NoError(t, set.Reload(soon(t)))
		require.NoError(t, set.Scale(soon(t), 3))
		ready, want := set.Ready()
		require.Equal(t, [2]int{3, 3}, [2]int{ready, want}, "quiet is ready")
		require.True(t, set.Status().Quiet)
		for i := range 5 {
			_, err := set.Nodes()[0].API().Tasks.Enqueue(t.Context(), "count", i)
			require.NoError(t, err)
		}
		pong, err := rpcregistry.Do[rpcregistry.Pong](t.Context(), set.Nodes()[0].API().RPC, "api.ping", nil, rpcregistry.Node("stellar-worker-3"))
		require.NoError(t, err)
		require.Equal(t, "stellar-worker-3", pong.Node, "it answers calls")
		require.Never(t, func() bool { return len(starts) > 0 }, 300*time.Millisecond, 10*time.Millisecond)
		set.Quiet(false)
		for range 5 {
			select {
			case <-starts:
			case <-time.After(20 * time.Second):
				t.Fatal("it does not claim again")
			}
		}
		require.False(t, set.Status().Quiet)
	})
}

func TestTheSetByCall(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg redisbus.Config) {
		app := worker.NewApp()
		set := supervisortest.StartWith(t, app, supervisor.Config{Workers: 2, Redis: cfg})
		other := supervisortest.StartWith(t, app, supervisor.Config{Workers: 1, Redis: cfg})
		api := other.Nodes()[0].API()
		do := func(method string, args any) (worker.SetStatus, error) {
			return rpcregistry.Do[worker.SetStatus](t.Context(), api.RPC, method, args, rpcregistry.Node("stellar-worker-1"))
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
		_, err = do("api.set.reload", nil)
		require.ErrorIs(t, err, worker.ErrSetBusy)
		eventually(t, "rolled", func() bool { return set.Status().Operation.Ended })
		require.Empty(t, set.Status().Operation.Error)
		_, err = do("api.set.reload", nil)
		require.NoError(t, err)
		eventually(t, "reloaded", func() bool { o := set.Status().Operation; return o.Number == 2 && o.Ended })
		s, err = do("api.set.resume", nil)
		require.NoError(t, err)
		require.False(t, s.Quiet)
		_, err = do("api.set.scale", []any{-1})
		require.ErrorIs(t, err, worker.ErrSetSize)
		_, err = do("api.set.scale", nil)
		require.ErrorIs(t, err, rpcregistry.BadArguments)
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
	require.ErrorIs(t, err, rpcregistry.Denied)
}

func TestCrashesAreRemembered(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg redisbus.Config) {
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
