package tasks_test

import (
	"context"
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

// why is what a task waits for, in words.
func (c *cluster) why(id string) string {
	c.t.Helper()
	e, err := c.inspector.Explain(c.t.Context(), id)
	require.NoError(c.t, err)
	return strings.Join(e.Why, "\n")
}

// saysQuiet waits until a task is said to wait for these quiet nodes.
func (c *cluster) saysQuiet(id, nodes string) {
	c.t.Helper()
	says := "every node that serves the queue default is quiet (" + nodes + "): none claims before \"stellar resume\""
	c.eventually(says, func() bool { return strings.Contains(c.why(id), says) })
}

func TestATaskThatWaitsForQuietNodesOnlySaysSo(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		started, release := blocking(&r, "work")
		c := newCluster(t, cfg, &r)
		first := c.start(&r, 1)
		c.startWith(runner.Config{Registry: &r, Concurrency: 1, Queues: []string{"other"}})
		c.enqueue("work", tasks.Options{})
		receive(t, started)
		waiting := c.enqueue("work", tasks.Options{})
		const next = "it is next: the node that serves its queue and is not quiet claims it when it has a free slot"
		require.Equal(t, next, c.why(waiting))
		first.runner.Quiet(true)
		c.saysQuiet(waiting, "w-1")

		second := c.start(&r, 1)
		require.Equal(t, waiting, receive(t, started).ID)
		waiting = c.enqueue("work", tasks.Options{})
		require.Equal(t, next, c.why(waiting), "one of two is quiet")
		second.runner.Quiet(true)
		c.saysQuiet(waiting, "w-1, w-3")

		first.runner.Quiet(false) // its slot is busy: it claims nothing yet
		c.eventually("claims again", func() bool { return c.why(waiting) == next })
		release <- struct{}{}
		release <- struct{}{}
		require.Equal(t, waiting, receive(t, started).ID)
		release <- struct{}{}
		stream := c.keys.Stream(second.lease.Incarnation.String())
		require.Equal(t, "1", c.redis.HGet(t.Context(), stream, "quiet").Val())
		second.stop()
		require.Zero(t, c.redis.Exists(t.Context(), stream).Val(), "nothing is left of it")
	})
}

func TestAParkedTaskMayBeWaitingForQuietNodes(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var with, without tasks.Registry
		quick(&with)
		c := newCluster(t, cfg, &with)
		able := c.start(&with, 1)
		able.runner.Quiet(true)
		c.eventually("quiet", func() bool {
			return c.redis.HExists(t.Context(), c.keys.Stream(able.lease.Incarnation.String()), "quiet").Val()
		})
		c.start(&without, 1)
		id := c.enqueue("quick", tasks.Options{})
		c.eventually("parked", func() bool { return c.queue("default").Parked == 1 })
		require.Contains(t, c.why(id), "no node that serves the queue default and looked at it handles tasks named quick")
		require.Contains(t, c.why(id), "nodes that serve the queue are quiet and may handle it: w-1")
		able.runner.Quiet(false)
		c.eventually("done", func() bool { return c.counts().Done == 1 })
	})
}

func TestQuietIsNotedWhenRedisIsBackOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := redistest.Embedded(t)
		var r tasks.Registry
		tasks.Handle(&r, tasks.Definition{Name: "work"}, func(ctx context.Context, _ number) error { <-ctx.Done(); return ctx.Err() })
		c := newCluster(t, server.Config(), &r)
		n := c.start(&r, 1)
		c.enqueue("work", tasks.Options{})
		synctest.Wait()
		waiting := c.enqueue("work", tasks.Options{})
		for _, quiet := range []bool{true, false} {
			server.Break("LOADING Redis is loading the dataset in memory")
			n.runner.Quiet(quiet)
			time.Sleep(4 * time.Second)
			server.Break("")
			time.Sleep(3 * time.Second)
			require.Equal(t, quiet, strings.Contains(c.why(waiting), "is quiet (w-1)"), c.why(waiting))
		}
	})
}
