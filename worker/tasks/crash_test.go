package tasks_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/internal/queue"
	"github.com/stellarfw/stellar/worker/internal/runner"
	"github.com/stellarfw/stellar/worker/tasks"
)

// blocking registers a task that reports its start and waits for its end.
func blocking(r *tasks.Registry, name string) (started chan tasks.Info, release chan struct{}) {
	started, release = make(chan tasks.Info, 100), make(chan struct{})
	tasks.Handle(r, tasks.Definition{Name: name}, func(ctx context.Context, _ number) error {
		info := tasks.InfoOf(ctx)
		started <- info
		tasks.Tx(ctx).Increment("effects", 1)
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	return started, release
}

func TestTasksOfACrashedNodeRunElsewhereAtOnce(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		started, release := blocking(&r, "block")
		c := newCluster(t, cfg, &r)
		victim := c.start(&r, 3)
		for range 3 {
			_, err := c.tasks.Enqueue(t.Context(), "block", number{})
			require.NoError(t, err)
		}
		first := map[string]int64{}
		for range 3 {
			i := receive(t, started)
			first[i.ID] = i.Fence
		}
		c.start(&r, 3)
		require.Equal(t, queue.Handed{On: 3}, victim.crash(false))
		for range 3 {
			i := receive(t, started)
			require.Contains(t, first, i.ID)
			require.Greater(t, i.Fence, first[i.ID], "a later incarnation has a larger fence")
			require.Equal(t, 1, i.Attempt, "a crash consumes no attempt")
			require.Zero(t, i.Crashes, "and counts only against suspects")
		}
		close(release)
		c.eventually("done", func() bool { return c.counts().Done == 3 })
		n, err := cache.Get[int](t.Context(), c.cache, "effects")
		require.NoError(t, err)
		require.Equal(t, 3, n)
	})
}

func TestThreeCrashesQuarantineASuspect(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		started, _ := blocking(&r, "poison")
		c := newCluster(t, cfg, &r)
		receipt, err := c.tasks.Enqueue(t.Context(), "poison", number{})
		require.NoError(t, err)
		for crash := range queue.QuarantineAfter {
			n := c.start(&r, 1)
			require.Equal(t, crash, receive(t, started).Crashes)
			h := n.crash(true)
			if crash < queue.QuarantineAfter-1 {
				require.Equal(t, queue.Handed{On: 1}, h)
			} else {
				require.Equal(t, queue.Handed{Quarantined: 1, Dead: []string{receipt.ID}}, h)
			}
		}
		_, err = c.tasks.Wait(t.Context(), receipt.ID)
		require.ErrorIs(t, err, tasks.ErrDead)
		require.ErrorContains(t, err, "crashed 3 times")
		require.EqualValues(t, 1, c.counts().Quarantined)
	})
}

func TestASuspectThatFailedAndWaitsAgainIsNotBlamed(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		tasks.Handle(&r, tasks.Definition{Name: "fails"}, func(context.Context, number) error {
			return tasks.RetryAfter(errors.New("not now"), time.Hour)
		})
		started, _ := blocking(&r, "killer")
		c := newCluster(t, cfg, &r)
		for name, queue := range map[string]string{"fails": "a", "killer": "b"} {
			c.enqueue(name, tasks.Options{ID: name, Queue: queue})
			require.NoError(t, c.redis.HSet(t.Context(), c.keys.Tries(), name, "0|2").Err(), "one crash before the last")
		}
		var lane runner.Solo // of the process that both nodes are in
		failed := c.startWith(runner.Config{Registry: &r, Concurrency: 1, Queues: []string{"a"}, Solo: &lane})
		c.eventually("failed", func() bool { return c.get("fails").State == tasks.Delayed })
		killed := c.startWith(runner.Config{Registry: &r, Concurrency: 1, Queues: []string{"b"}, Solo: &lane})
		receive(t, started)
		require.NoError(t, c.inspector.Reschedule(t.Context(), "fails", time.Time{}))
		c.eventually("it waits for the lane", func() bool { return c.get("fails").State == tasks.Delayed })
		for _, n := range []*node{failed, killed} {
			n.kill(tasks.ErrEnding)
			require.NoError(t, <-n.ended)
			require.True(t, n.runner.Await(t.Context()))
		}
		require.Zero(t, failed.settle(queue.Remains{Unknown: true}), "it ran before, and not now")
		require.Equal(t, queue.QuarantineAfter-1, c.get("fails").Crashes)
		require.Equal(t, queue.Handed{Quarantined: 1, Dead: []string{"killer"}}, killed.settle(queue.Remains{Unknown: true}))
	})
}

func TestARunningHandlersTaskStaysUntilItReturns(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		entered, leave := make(chan struct{}, 2), make(chan struct{})
		tasks.Handle(&r, tasks.Definition{Name: "zombie"}, func(ctx context.Context, _ number) error {
			tasks.Tx(ctx).Increment("effects", 1)
			entered <- struct{}{}
			<-leave // whatever its context says
			return nil
		})
		c := newCluster(t, cfg, &r)
		victim := c.start(&r, 2)
		_, err := c.tasks.Enqueue(t.Context(), "zombie", number{})
		require.NoError(t, err)
		receive(t, entered)
		victim.kill(tasks.ErrEnding)
		require.NoError(t, <-victim.ended)
		remains := victim.runner.Remains(false)
		require.Len(t, remains.Running, 1)
		require.Equal(t, queue.Handed{Left: 1}, victim.settle(remains))
		c.start(&r, 2)
		require.EqualValues(t, 1, c.counts().Active)
		require.Empty(t, entered, "nobody else has started it")

		leave <- struct{}{}
		require.True(t, victim.runner.Await(t.Context()))
		require.Equal(t, queue.Handed{On: 1}, victim.settle(victim.runner.Remains(false)))
		receive(t, entered)
		leave <- struct{}{}
		c.eventually("done", func() bool { return c.counts().Done == 1 })
		n, err := cache.Get[int](t.Context(), c.cache, "effects")
		require.NoError(t, err)
		require.Equal(t, 1, n, "the zombie's effects were dropped")
	})
}

func TestACommitOfACondemnedIncarnationChangesNothing(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		started, release := blocking(&r, "late")
		c := newCluster(t, cfg, &r)
		paused := c.start(&r, 1)
		_, err := c.tasks.Enqueue(t.Context(), "late", number{})
		require.NoError(t, err)
		receive(t, started)

		// The node was cut off; another process took over without its knowing.
		i := paused.lease.Incarnation
		_, err = c.directory.Condemn(t.Context(), i, false, 0)
		require.NoError(t, err)
		h, err := queue.NewStore(c.redis, c.keys).TakeOver(t.Context(), i.String(), queue.Remains{Unknown: true})
		require.NoError(t, err)
		require.Equal(t, queue.Handed{On: 1}, h)
		release <- struct{}{}
		require.ErrorIs(t, receive(t, paused.ended), queue.ErrFenced)
		require.Zero(t, c.counts().Done)
		_, err = c.cache.Load(t.Context(), "effects")
		require.ErrorIs(t, err, cache.ErrNotFound)

		c.start(&r, 1)
		require.Equal(t, 1, receive(t, started).Crashes)
		release <- struct{}{}
		c.eventually("done", func() bool { return c.counts().Done == 1 })
		n, err := cache.Get[int](t.Context(), c.cache, "effects")
		require.NoError(t, err)
		require.Equal(t, 1, n)
	})
}

func TestTakeOverNeedsACondemnedIncarnation(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		c := newCluster(t, cfg, &r)
		n := c.start(&r, 1)
		_, err := queue.NewStore(c.redis, c.keys).TakeOver(t.Context(), n.lease.Incarnation.String(), queue.Remains{})
		require.ErrorContains(t, err, "LIVE")
	})
}

func TestARollbackOfRedisEndsTheIncarnation(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		started, release := blocking(&r, "block")
		c := newCluster(t, cfg, &r)
		n := c.start(&r, 2)
		for range 2 {
			_, err := c.tasks.Enqueue(t.Context(), "block", number{})
			require.NoError(t, err)
			receive(t, started)
		}
		release <- struct{}{}
		c.eventually("one done", func() bool { return c.counts().Done == 1 })
		// As a restart from an older file would leave it.
		stream := c.keys.Stream(n.lease.Incarnation.String())
		require.NoError(t, c.redis.HDel(t.Context(), stream, "commit").Err())
		release <- struct{}{}
		require.NoError(t, c.redis.HSet(t.Context(), stream, "commit", 0).Err())
		require.ErrorIs(t, receive(t, n.ended), queue.ErrRolledBack)
	})
}

func TestLostRepliesChangeNothing(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		proxy := &lossy{Config: cfg}
		var runs atomic.Int64
		var r tasks.Registry
		tasks.Handle(&r, tasks.Definition{Name: "add"}, func(ctx context.Context, in number) error {
			runs.Add(1)
			tasks.Tx(ctx).Increment("sum", int64(in.N))
			return nil
		})
		c := newCluster(t, proxy.config(t), &r)
		c.startMover() // wakes whom a lost message should have woken
		nodes := []*node{c.start(&r, 4), c.start(&r, 4)}
		const n = 60
		proxy.every.Store(7)
		for i := range n {
			_, err := c.tasks.Enqueue(t.Context(), "add", number{i})
			require.NoError(t, err)
		}
		require.NotZero(t, proxy.lost.Load())
		c.eventually("all done", func() bool {
			done, err := c.inspector.Counts(t.Context())
			return err == nil && done.Done == n
		})
		proxy.every.Store(0)
		for _, node := range nodes {
			require.Zero(t, node.stop())
		}
		require.EqualValues(t, n, runs.Load(), "no claim gave a task twice, no enqueue stored one twice")
		sum, err := cache.Get[int](t.Context(), c.cache, "sum")
		require.NoError(t, err)
		require.Equal(t, n*(n-1)/2, sum)
	})
}

func TestDelayedTasksAreNeverEarlyOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := redistest.Embedded(t)
		started := make(chan time.Time, 10)
		var r tasks.Registry
		tasks.Handle(&r, tasks.Definition{Name: "later", MaxAttempts: 3, Backoff: time.Minute}, func(context.Context, number) error {
			started <- time.Now()
			return errors.New("again")
		})
		c := newCluster(t, server.Config(), &r)
		c.startMover()
		c.start(&r, 1)
		begin := time.Now()
		_, err := c.tasks.EnqueueIn(t.Context(), time.Hour, "later", number{})
		require.NoError(t, err)
		require.EqualValues(t, 1, c.counts().Delayed)

		first := <-started
		require.GreaterOrEqual(t, first.Sub(begin), time.Hour)
		require.Less(t, first.Sub(begin), time.Hour+10*time.Millisecond)
		second := <-started
		require.GreaterOrEqual(t, second.Sub(first), 30*time.Second)
		require.Less(t, second.Sub(first), time.Minute+10*time.Millisecond)
		third := <-started
		require.GreaterOrEqual(t, third.Sub(second), time.Minute)
		require.Less(t, third.Sub(second), 2*time.Minute+10*time.Millisecond)
		synctest.Wait()
		require.EqualValues(t, 1, c.counts().Dead)
	})
}

func TestAllButEnqueuesGoesOnAtMaxMemory(t *testing.T) {
	var r tasks.Registry
	started, release := blocking(&r, "block")
	c := newCluster(t, redistest.Start(t).Config(), &r)
	c.startMover()
	for _, id := range []string{"cancelled", "deleted"} {
		c.enqueue("block", tasks.Options{ID: id, Queue: "other"})
	}
	c.enqueue("block", tasks.Options{ID: "soon", Queue: "other", In: time.Hour})
	for range 5 {
		_, err := c.tasks.Enqueue(t.Context(), "block", number{})
		require.NoError(t, err)
	}
	require.NoError(t, c.redis.ConfigSet(t.Context(), "maxmemory", "1").Err())
	_, err := c.tasks.Enqueue(t.Context(), "block", number{})
	require.ErrorIs(t, err, link.ErrFull)
	_, err = c.inspector.Cancel(t.Context(), "cancelled", "too much")
	require.NoError(t, err)
	waited := make(chan error, 1)
	go func() { _, err := c.tasks.Wait(t.Context(), "deleted"); waited <- err }()
	c.eventually("waited for", func() bool { return c.redis.HExists(t.Context(), c.keys.Waiting(), "deleted").Val() })
	require.NoError(t, c.inspector.Delete(t.Context(), "deleted"))
	require.ErrorIs(t, receive(t, waited), tasks.ErrNotFound)
	require.NoError(t, c.inspector.Reschedule(t.Context(), "soon", time.Time{}))
	require.NoError(t, c.inspector.PauseQueue(t.Context(), "other", true))
	require.NoError(t, c.inspector.Retry(t.Context(), "cancelled"))
	require.EqualValues(t, 2, c.queue("other").Pending)
	_, err = c.inspector.LimitQueue(t.Context(), "other", &tasks.Limits{Tasks: 1})
	require.NoError(t, err)
	n, err := c.inspector.DeleteQueue(t.Context(), "other")
	require.NoError(t, err)
	require.Equal(t, 2, n)

	victim := c.start(&r, 2)
	receive(t, started)
	receive(t, started)
	other := c.start(&r, 2)
	receive(t, started)
	receive(t, started)
	require.Equal(t, queue.Handed{On: 2}, victim.crash(false))
	close(release)
	c.eventually("all done", func() bool { return c.counts().Done == 5 })
	require.Zero(t, other.stop())
}

func TestKeysOfTheWrongTypeAreNamedAndTheOthersGoOn(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		ran := make(chan int, 1)
		var r tasks.Registry
		tasks.Handle(&r, tasks.Definition{Name: "a", Queue: "broken"}, func(context.Context, number) error { return nil })
		tasks.Handle(&r, tasks.Definition{Name: "b", Queue: "sound"}, func(_ context.Context, in number) error { ran <- in.N; return nil })
		c := newCluster(t, cfg, &r)
		require.NoError(t, c.redis.Set(t.Context(), c.keys.Queue("broken"), "x", 0).Err())
		_, err := c.tasks.Enqueue(t.Context(), "a", number{})
		require.ErrorContains(t, err, c.keys.Queue("broken"))
		require.ErrorContains(t, err, "rename or delete")
		_, err = c.tasks.Enqueue(t.Context(), "b", number{3})
		require.NoError(t, err)
		c.start(&r, 1)
		require.Equal(t, 3, receive(t, ran))
	})
}

func TestALostWakeIsMadeUpForOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ran := make(chan int, 1)
		var r tasks.Registry
		tasks.Handle(&r, tasks.Definition{Name: "n"}, func(_ context.Context, in number) error { ran <- in.N; return nil })
		c := newCluster(t, redistest.Embedded(t).Config(), &r)
		c.startMover()
		c.start(&r, 1)
		synctest.Wait()
		// As if the node that was woken had died before it claimed: the task is
		// there, and nobody was told.
		idle := c.redis.SMembers(t.Context(), c.keys.Idle("default")).Val()
		require.Len(t, idle, 1)
		require.NoError(t, c.redis.Del(t.Context(), c.keys.Idle("default")).Err())
		_, err := c.tasks.Enqueue(t.Context(), "n", number{7})
		require.NoError(t, err)
		require.NoError(t, c.redis.SAdd(t.Context(), c.keys.Idle("default"), idle[0]).Err())
		began := time.Now()
		require.Equal(t, 7, <-ran)
		require.LessOrEqual(t, time.Since(began), 6*time.Second)
	})
}
