package internal_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/builtin"
	"github.com/stellarfw/stellar/worker/membership"
	"github.com/stellarfw/stellar/worker/tasks"
)

// incarnations are those of the running nodes.
func incarnations(s *supervisortest.Set) []string {
	var out []string
	for _, n := range s.Nodes() {
		if n.State() == membership.Running {
			out = append(out, n.Ended().Incarnation)
		}
	}
	return out
}

func TestARollingRestartKeepsAllButOneAndLosesNothing(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		app := worker.NewApp()
		starts := counting(app, 20*time.Millisecond)
		set := supervisortest.StartWith(t, app, supervisor.Config{Workers: 4, Redis: cfg})
		before := incarnations(set)
		client := tasks.NewClient(t.Context(), redistest.Client(t, cfg), cfg.Keys(), &tasks.Registry{})
		t.Cleanup(client.Close)
		watching, stop := context.WithCancel(t.Context())
		least, n := 4, 0
		var wg sync.WaitGroup
		wg.Go(func() {
			for link.Sleep(watching, time.Millisecond) == nil {
				ready, _ := set.Ready()
				least = min(least, ready)
			}
		})
		wg.Go(func() {
			for link.Sleep(watching, 2*time.Millisecond) == nil {
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
		require.Equal(t, builtin.Operation{Number: 1, Kind: "roll", Began: o.Began, Total: 4, Done: 4, Ended: true}, *o)
		eventually(t, "all are done", func() bool { return effects(t, set) == n })
		require.Len(t, starts, n, "none was started twice")
		require.Zero(t, set.Report().Crashes)
	})
}

func TestOneOperationAtATimeAndScalingDuringIt(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
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
		require.ErrorIs(t, set.Reload(t.Context()), builtin.ErrSetBusy)
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
	eventually(t, "it drains", func() bool { return n.State() == membership.Draining })
	n.Stop(worker.ErrStop)
	close(release)
	require.NoError(t, set.Ended(t), "its only node was stopped for good")
}

func TestReloadStartsAllAnewAtOnce(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
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
			return !slices.ContainsFunc(set.Nodes(), func(n *worker.Node) bool { return n.State() != membership.Draining })
		})
		close(release)
		require.NoError(t, <-done)
		require.Equal(t, numbered(3), ids(set))
		for _, life := range incarnations(set) {
			require.NotContains(t, before, life)
		}
		require.EqualValues(t, 3, set.Report().Done)
		require.Empty(t, started)
	})
}
