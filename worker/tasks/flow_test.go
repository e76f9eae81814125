package tasks_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/tasks"
)

func TestThenRunsWhenItsTaskIsDoneAndJoinsWhenAllAre(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		ran := make(chan string, 100)
		var r tasks.Registry
		tasks.Handle(&r, tasks.Definition{Name: "n"}, func(ctx context.Context, _ number) error {
			info := tasks.InfoOf(ctx)
			ran <- info.ID
			return nil
		})
		c := newCluster(t, cfg, &r)
		receipts, err := c.tasks.EnqueueMany(t.Context(), []tasks.Request{
			{Name: "n", Options: tasks.Options{ID: "a"}, Then: []tasks.Request{
				{Name: "n", Options: tasks.Options{Priority: tasks.High}, Then: []tasks.Request{{Name: "n"}}},
			}},
			{Name: "n", Options: tasks.Options{ID: "b", After: []string{"a.then.1.then.1", "forgotten-long-ago"}}},
			{Name: "n", Options: tasks.Options{ID: "join", After: []string{"a", "b", "a.then.1"}}},
		})
		require.NoError(t, err)
		require.Len(t, receipts, 5)
		require.EqualValues(t, 4, c.counts().Blocked)
		require.Equal(t, 3, c.get("join").Blocking)
		e, err := c.inspector.Explain(t.Context(), "join")
		require.NoError(t, err)
		require.Contains(t, e.Why, "b is blocked")
		n := c.start(&r, 2)
		for _, id := range []string{"a", "a.then.1", "a.then.1.then.1", "b", "join"} {
			require.Equal(t, id, receive(t, ran))
		}
		c.eventually("done", func() bool { return c.counts().Done == 5 })
		late := c.enqueue("n", tasks.Options{After: []string{"a", "join"}})
		require.Equal(t, late, receive(t, ran), "those it follows are done and remembered")
		n.stop()
		c.conserved()
		require.Zero(t, c.redis.Exists(t.Context(), c.keys.Blocked(), c.keys.Followers()).Val())
	})
}

func TestWhatFollowsADeadTaskWaitsAndWhatFollowsACancelledOneIsCancelled(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		fail := make(chan bool, 10)
		tasks.Handle(&r, tasks.Definition{Name: "n", MaxAttempts: 1}, func(context.Context, number) error {
			if <-fail {
				return context.Canceled
			}
			return nil
		})
		c := newCluster(t, cfg, &r)
		first := c.enqueue("n", tasks.Options{})
		second := c.enqueue("n", tasks.Options{After: []string{first}})
		fail <- true
		c.start(&r, 1)
		c.eventually("dead", func() bool { return c.get(first).State == tasks.Dead })
		require.Equal(t, tasks.Blocked, c.get(second).State)
		fail <- false
		fail <- false
		require.NoError(t, c.inspector.Retry(t.Context(), first))
		c.eventually("both done", func() bool { return c.counts().Done == 2 })

		third := c.enqueue("n", tasks.Options{Queue: "nobody"})
		fourth := c.enqueue("n", tasks.Options{After: []string{third}})
		fifth := c.enqueue("n", tasks.Options{After: []string{fourth}})
		_, err := c.inspector.Cancel(t.Context(), third, "changed my mind")
		require.NoError(t, err)
		for _, id := range []string{third, fourth, fifth} {
			require.Equal(t, tasks.Cancelled, c.get(id).State)
		}
		require.Contains(t, c.get(fifth).Reason.Error, fourth)
		sixth := c.enqueue("n", tasks.Options{After: []string{fifth}})
		require.Equal(t, tasks.Cancelled, c.get(sixth).State, "it can never run")
		c.conserved()
	})
}

func TestThousandsFollowOneTask(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		tasks.Handle(&r, tasks.Definition{Name: "n"}, func(context.Context, number) error { return nil })
		c := newCluster(t, cfg, &r)
		first := c.enqueue("n", tasks.Options{})
		follow := make([]tasks.Request, 3000)
		for i := range follow {
			follow[i] = tasks.Request{Name: "n", Options: tasks.Options{After: []string{first}}}
		}
		_, err := c.tasks.EnqueueMany(t.Context(), follow)
		require.NoError(t, err)
		require.EqualValues(t, len(follow), c.counts().Blocked)
		for field, text := range c.redis.HGetAll(t.Context(), c.keys.Followers()).Val() {
			require.Less(t, len(text), 5000, "%s: adding one more must not copy them all", field)
		}
		c.start(&r, 10)
		c.eventually("all done", func() bool { return c.counts().Done == int64(len(follow))+1 })
		require.Zero(t, c.redis.Exists(t.Context(), c.keys.Followers(), c.keys.Blocked()).Val())
		c.conserved()
	})
}

func TestWhatFollowsATaskThatIsNotStoredIsNotStoredEither(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		c := newCluster(t, cfg, &r)
		then := func(n int) (some []tasks.Request) {
			for range n {
				some = append(some, tasks.Request{Name: "n", Options: tasks.Options{Queue: "other"}, Then: []tasks.Request{{Name: "n"}}})
			}
			return some
		}
		holder := c.enqueue("n", tasks.Options{Unique: "k"})
		receipts, err := c.tasks.EnqueueMany(t.Context(), []tasks.Request{
			{Name: "n", Options: tasks.Options{Unique: "k"}, Then: then(600)}, {Name: "n"},
		})
		require.NoError(t, err)
		require.Len(t, receipts, 1202)
		for _, receipt := range receipts[:1201] {
			require.Equal(t, tasks.Receipt{ID: holder, Duplicate: true}, receipt)
		}
		require.False(t, receipts[1201].Duplicate)

		_, err = c.inspector.LimitQueue(t.Context(), "q", &tasks.Limits{Tasks: 1})
		require.NoError(t, err)
		c.enqueue("n", tasks.Options{Queue: "q"})
		receipts, err = c.tasks.EnqueueMany(t.Context(), []tasks.Request{
			{Name: "n", Options: tasks.Options{ID: "full", Queue: "q"}, Then: then(1)},
		})
		require.ErrorIs(t, err, tasks.ErrQueueFull)
		require.Equal(t, make([]tasks.Receipt, 3), receipts)
		require.Zero(t, c.counts().Blocked)
		require.EqualValues(t, 3, c.counts().Pending)

		// Later there is room: both are accepted, once.
		_, err = c.inspector.LimitQueue(t.Context(), "q", nil)
		require.NoError(t, err)
		for _, again := range []bool{false, true} {
			receipts, err = c.tasks.EnqueueMany(t.Context(), []tasks.Request{
				{Name: "n", Options: tasks.Options{ID: "full", Queue: "q"}, Then: then(1)},
			})
			require.NoError(t, err)
			for _, receipt := range receipts {
				require.Equal(t, again, receipt.Duplicate, receipt.ID)
			}
		}
		require.EqualValues(t, 2, c.counts().Blocked)
		c.conserved()
	})
}
