package worker_test

import (
	"context"
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
	"github.com/stellarfw/stellar/worker/tasks"
	"github.com/stellarfw/stellar/worker/timeline"
)

// kindsOf counts events by kind.
func kindsOf(events []timeline.Event) map[timeline.Kind]int {
	counts := map[timeline.Kind]int{}
	for _, e := range events {
		counts[e.Kind] += e.Count
	}
	return counts
}

// The timeline tells of what nodes went through and operators did, once each, and who it was.
func TestTheTimelineTellsWhatHappened(t *testing.T) {
	redistest.Each(t, func(t *testing.T, at link.Config) {
		client := connect(t, worker.ClientConfig{Redis: at, By: "ada@desk"})
		running := make(chan struct{})
		app := worker.NewApp()
		tasks.Handle(app, tasks.Definition{Name: "hold"}, func(ctx context.Context, _ int) error {
			running <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		})
		set := supervisortest.StartWith(t, app, supervisor.Config{
			Workers: 1, Redis: at, Program: "shop", Version: "v1", Backoff: time.Millisecond, MaxBackoff: time.Millisecond,
			Drain: time.Millisecond,
		})
		_, err := client.Tasks.Enqueue(t.Context(), "hold", 1)
		require.NoError(t, err)
		<-running
		set.Nodes()[0].Crash("drill")
		<-running // on its next life
		call := func(method string, args any) {
			t.Helper()
			_, err := client.RPC.DoCluster(t.Context(), method, args, rpcregistry.All())
			require.NoError(t, err)
		}
		call("api.set.quiet", nil)
		call("api.set.resume", nil)
		call("api.tasks.pauseQueue", map[string]string{"queue": "mail"})
		call("api.set.mark", map[string]string{"text": "sale"})
		require.NoError(t, client.Inspector.PauseQueue(t.Context(), "mail", false))
		_, err = client.Inspector.LimitQueue(t.Context(), "mail", &tasks.Limits{Tasks: 7})
		require.NoError(t, err)
		require.NoError(t, set.Stop())

		next := supervisortest.StartWith(t, worker.NewApp(), supervisor.Config{Workers: 2, Redis: at, Program: "shop", Version: "v2"})
		require.NoError(t, next.Stop())

		events, err := client.Timeline.List(t.Context(), timeline.Filter{})
		require.NoError(t, err)
		require.Equal(t, map[timeline.Kind]int{
			timeline.Join: 4, timeline.Crash: 1, timeline.TakeOver: 2, timeline.Quiet: 1, timeline.Resume: 2, timeline.Pause: 1,
			timeline.Limit: 1, timeline.Mark: 1, timeline.Leave: 3, timeline.Deploy: 1,
		}, kindsOf(events))
		for _, e := range events {
			switch e.Kind {
			case timeline.Quiet, timeline.Resume, timeline.Pause, timeline.Limit, timeline.Mark:
				require.Equal(t, "ada@desk", e.By, e.Kind)
			case timeline.Crash:
				require.Equal(t, []string{"stellar-worker-1"}, e.Nodes)
				require.Contains(t, e.Text, "drill")
				require.Contains(t, e.Stack, "goroutine")
			case timeline.TakeOver:
				require.Equal(t, 1, e.Tasks)
			case timeline.Deploy:
				require.Equal(t, "shop v2, after v1", e.Text)
			default: // that there is one is all it tells
			}
		}
	})
}

// Redis away is one event, with how long that was; the nodes that lost their leases meanwhile are told, too.
func TestTheTimelineTellsOfAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, road := throughRoad(redistest.Embedded(t).Config())
		set := supervisortest.StartWith(t, worker.NewApp(), supervisor.Config{Workers: 2, Redis: cfg})
		road.closed.Store(true)
		road.mu.Lock()
		for _, conn := range road.conns {
			_ = conn.Close()
		}
		road.mu.Unlock()
		time.Sleep(time.Minute)
		road.closed.Store(false)
		time.Sleep(30 * time.Second)
		require.NoError(t, set.AwaitReady(t.Context()))
		client := connect(t, worker.ClientConfig{Redis: cfg})
		events, err := client.Timeline.List(t.Context(), timeline.Filter{Kinds: []timeline.Kind{timeline.Redis}})
		require.NoError(t, err)
		require.Len(t, events, 1, "%v", events)
		require.InDelta(t, time.Minute.Milliseconds(), events[0].Took, 5000)
		require.True(t, strings.HasPrefix(events[0].Words(), "Redis was away"), events[0].Words())
		lost, err := client.Timeline.List(t.Context(), timeline.Filter{Kinds: []timeline.Kind{timeline.LeaseLost}})
		require.NoError(t, err)
		require.Equal(t, 2, kindsOf(lost)[timeline.LeaseLost])
		require.Less(t, lost[0].At.Sub(events[0].At), 20*time.Second, "when it happened, not when Redis was back")
		require.NoError(t, set.Stop())
	})
}
