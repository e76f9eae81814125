package tasks_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/internal/runner"
	"github.com/stellarfw/stellar/worker/tasks"
)

func (c *cluster) queue(name string) tasks.Queue {
	c.t.Helper()
	queues, err := c.inspector.Queues(c.t.Context())
	require.NoError(c.t, err)
	for _, q := range queues {
		if q.Name == name {
			return q
		}
	}
	c.t.Fatalf("no queue %s in %v", name, queues)
	return tasks.Queue{}
}

func TestAPausedQueueGivesNothingAndGoesOn(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		started, release := blocking(&r, "work")
		c := newCluster(t, cfg, &r)
		c.start(&r, 1)
		c.enqueue("work", tasks.Options{})
		receive(t, started)
		require.NoError(t, c.inspector.PauseQueue(t.Context(), "default", true))
		waiting := c.enqueue("work", tasks.Options{})
		release <- struct{}{}
		c.eventually("done", func() bool { return c.counts().Done == 1 })
		e, err := c.inspector.Explain(t.Context(), waiting)
		require.NoError(t, err)
		require.Contains(t, e.Why, "the queue default is paused")
		require.True(t, c.queue("default").Paused)
		require.Empty(t, started)
		require.NoError(t, c.inspector.PauseQueue(t.Context(), "default", false))
		require.Equal(t, waiting, receive(t, started).ID)
		release <- struct{}{}
	})
}

func TestAQueueRunsAtMostSoManyTasksInTheWholeCluster(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		started, release := blocking(&r, "work")
		c := newCluster(t, cfg, &r)
		limits := tasks.Limits{Concurrency: 3}
		got, err := c.inspector.LimitQueue(t.Context(), "default", &limits)
		require.NoError(t, err)
		require.Equal(t, limits, got)
		a, b := c.start(&r, 4), c.start(&r, 4)
		const n = 20
		for range n {
			c.enqueue("work", tasks.Options{})
		}
		for range 3 {
			receive(t, started)
		}
		last := c.list(tasks.Filter{States: []tasks.State{tasks.Pending}})[n-4]
		e, err := c.inspector.Explain(t.Context(), last)
		require.NoError(t, err)
		require.Contains(t, e.Why, "the queue default runs at most 3 tasks at a time, and 3 run")
		for range n - 3 {
			require.Empty(t, started)
			// Not InHand: a run leaves its node's hand only when the answer to its commit has come.
			require.EqualValues(t, 3, c.queue("default").Active)
			release <- struct{}{}
			receive(t, started)
		}
		a.crash(false)
		b.crash(false)
		require.Zero(t, c.queue("default").Active, "those of crashed nodes do not count any more")
		_, err = c.inspector.LimitQueue(t.Context(), "default", nil)
		require.NoError(t, err)
		c.start(&r, 4)
		for range 3 {
			receive(t, started)
		}
		close(release)
		c.eventually("done", func() bool { return c.counts().Done == n })
	})
}

func TestAFullQueueRefusesAndTakesMoreWhenItHasRoom(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		quick(&r)
		r.LimitQueue("default", tasks.Limits{Tasks: 10})
		c := newCluster(t, cfg, &r)
		c.tickers(&r, 2)
		c.eventually("limited by the program", func() bool {
			return c.redis.HGet(t.Context(), c.keys.Settings(), "default").Val() != ""
		})
		news := make([]tasks.Request, 12)
		for i := range news {
			news[i] = tasks.Request{Name: "quick", Payload: number{}}
		}
		news[0].In = time.Hour // it counts as well
		receipts, err := c.tasks.EnqueueMany(t.Context(), news)
		require.ErrorIs(t, err, tasks.ErrQueueFull)
		require.Len(t, receipts, 12)
		require.NotEmpty(t, receipts[9].ID)
		require.Empty(t, receipts[10].ID)
		_, err = c.tasks.EnqueueWith(t.Context(), "quick", number{}, tasks.Options{ID: "mine"})
		require.ErrorIs(t, err, tasks.ErrQueueFull)
		_, err = c.inspector.Explain(t.Context(), "mine")
		require.ErrorIs(t, err, tasks.ErrNotFound)
		require.ErrorContains(t, err, "full is the queue default with 10 of 10 tasks")
		_, err = c.tasks.EnqueueWith(t.Context(), "quick", number{}, tasks.Options{Queue: "other"})
		require.NoError(t, err)
		n := c.start(&r, 2)
		c.eventually("done", func() bool { return c.counts().Done == 9 })
		n.stop()

		// An operator's word wins; a new bound on bytes weighs what is there.
		size := int64(len("quick|default|") + 11 + len("|{\"w\":3600000}\n{\"N\":0}"))
		_, err = c.inspector.LimitQueue(t.Context(), "default", &tasks.Limits{Bytes: 1000})
		require.NoError(t, err)
		require.Equal(t, size, c.queue("default").Bytes)
		_, err = c.tasks.Enqueue(t.Context(), "quick", strings.Repeat("x", 1000))
		require.ErrorIs(t, err, tasks.ErrQueueFull)
		_, err = c.inspector.Explain(t.Context(), "mine")
		require.NotContains(t, err.Error(), "full", "it has room for a smaller one")
		for range 20 {
			_, err = c.tasks.Enqueue(t.Context(), "quick", number{})
			require.NoError(t, err)
		}
		c.start(&r, 2)
		c.eventually("done", func() bool { return c.counts().Done == 29 })
		require.Equal(t, size, c.queue("default").Bytes, "what is done weighs nothing")
		c.conserved()
	})
}

func TestWeightsShareTheNodesBetweenQueues(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		var order []string
		ran := make(chan struct{}, 1000)
		tasks.Handle(&r, tasks.Definition{Name: "n"}, func(ctx context.Context, _ number) error {
			info := tasks.InfoOf(ctx)
			order = append(order, info.Queue)
			ran <- struct{}{}
			time.Sleep(3 * time.Millisecond) // longer than what is claimed ahead for
			return nil
		})
		c := newCluster(t, cfg, &r)
		for range 300 {
			c.enqueue("n", tasks.Options{Queue: "often"})
			c.enqueue("n", tasks.Options{Queue: "seldom"})
		}
		n := c.startWith(runner.Config{Registry: &r, Concurrency: 1, Queues: []string{"seldom", "often"}, Weights: map[string]int{"often": 9, "seldom": 1}})
		for range 200 {
			receive(t, ran)
		}
		n.stop()
		often := 0
		for _, q := range order[:200] {
			if q == "often" {
				often++
			}
		}
		// 180 of 200 are expected, with a standard deviation of 4.2; ten of these.
		require.InDelta(t, 180, often, 42)
	})
}

func TestStatsSayHowFastAQueueIs(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		tasks.Handle(&r, tasks.Definition{Name: "n"}, func(context.Context, number) error { time.Sleep(5 * time.Millisecond); return nil })
		c := newCluster(t, cfg, &r)
		for range 10 {
			c.enqueue("n", tasks.Options{})
		}
		c.eventually("old", func() bool { return c.queue("default").Oldest > 5*time.Millisecond })
		c.start(&r, 1)
		c.eventually("done", func() bool { return c.queue("default").Ever.Done == 10 })
		// The figures are those of the last full minute: make of this one the last.
		speed := strings.Fields(c.redis.HGet(t.Context(), c.keys.Stats(), "default|speed").Val())
		require.Len(t, speed, 9)
		minute := c.redis.Time(t.Context()).Val().Unix()/60 - 1
		require.NoError(t, c.redis.HSet(t.Context(), c.keys.Stats(), "default|speed", fmt.Sprint(minute, " ", strings.Join(speed[1:], " "))).Err())
		q := c.queue("default")
		if speed[1] == "10" { // all in the same minute
			require.InDelta(t, 10.0/60, q.Throughput, 0.001)
			require.Greater(t, q.Wait, 20*time.Millisecond, "each waits for those before it")
		}
		require.GreaterOrEqual(t, q.Run, 5*time.Millisecond)
	})
}

func TestAQuietNodeLeavesWakesToOthers(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		started, release := blocking(&r, "work")
		close(release)
		c := newCluster(t, cfg, &r)
		quiet := c.start(&r, 1)
		idle := func(n int64) {
			c.eventually("idle", func() bool { return c.redis.SCard(t.Context(), c.keys.Idle("default")).Val() == n })
		}
		idle(1)
		quiet.runner.Quiet(true)
		idle(0)
		c.start(&r, 1)
		idle(1)
		for range 3 {
			c.enqueue("work", tasks.Options{})
			receive(t, started)
			idle(1)
		}
		require.Zero(t, quiet.runner.InHand())
		quiet.runner.Quiet(false)
		idle(2)
	})
}

func TestANodeThatGoesQuietWhileItsSlotsAreBusyClaimsNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r tasks.Registry
		started, release := blocking(&r, "work")
		c := newCluster(t, redistest.Embedded(t).Config(), &r)
		n := c.start(&r, 1)
		c.enqueue("work", tasks.Options{})
		<-started
		waiting := c.enqueue("work", tasks.Options{})
		n.runner.Quiet(true)
		release <- struct{}{}
		time.Sleep(time.Second)
		require.EqualValues(t, 1, c.counts().Done)
		require.Equal(t, tasks.Pending, c.get(waiting).State)
		n.runner.Quiet(false)
		<-started
		close(release)
		time.Sleep(time.Second)
		require.EqualValues(t, 2, c.counts().Done)
	})
}

func TestParkedTasksRunWhenThereIsRoomForThem(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r, without tasks.Registry
		tasks.Handle(&r, tasks.Definition{Name: "x"}, func(context.Context, number) error { return nil })
		c := newCluster(t, cfg, &r)
		c.start(&without, 2)
		for range 5 {
			c.enqueue("x", tasks.Options{})
		}
		c.eventually("parked", func() bool { return c.queue("default").Parked == 5 })
		require.NoError(t, c.inspector.PauseQueue(t.Context(), "default", true))
		c.start(&r, 5)
		c.eventually("idle", func() bool { return c.redis.SCard(t.Context(), c.keys.Idle("default")).Val() == 2 })
		_, err := c.inspector.LimitQueue(t.Context(), "default", &tasks.Limits{Concurrency: 1})
		require.NoError(t, err)
		require.NoError(t, c.inspector.PauseQueue(t.Context(), "default", false))
		c.eventually("one after the other", func() bool { return c.counts().Done == 5 })
	})
}

func TestAnIdleSetOfAnotherTypeHoldsUpNothing(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		tasks.Handle(&r, tasks.Definition{Name: "x"}, func(context.Context, number) error { return nil })
		c := newCluster(t, cfg, &r)
		require.NoError(t, c.redis.Set(t.Context(), c.keys.Idle("default"), "x", 0).Err())
		c.enqueue("x", tasks.Options{})
		c.start(&r, 1)
		c.eventually("done", func() bool { return c.counts().Done == 1 })
	})
}
