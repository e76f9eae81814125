package tasks_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/internal/queue"
	"github.com/stellarfw/stellar/worker/tasks"
)

func TestCancelReachesATaskWhereverItIs(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r, without tasks.Registry
		started, release := blocking(&r, "work")
		stubborn := make(chan struct{})
		tasks.Handle(&r, tasks.Definition{Name: "stubborn"}, func(ctx context.Context, _ number) error {
			<-ctx.Done()
			close(stubborn)
			return nil // its work is done all the same
		})
		c := newCluster(t, cfg, &r)
		c.startMover()
		cancel := func(id string) bool {
			running, err := c.inspector.Cancel(t.Context(), id, "test")
			require.NoError(t, err)
			return running
		}
		pending := c.enqueue("work", tasks.Options{Priority: tasks.Low})
		delayed := c.enqueue("work", tasks.Options{In: time.Hour})
		parked := c.enqueue("unknown", tasks.Options{})
		for _, id := range []string{pending, delayed} {
			require.False(t, cancel(id))
			require.Equal(t, tasks.Cancelled, c.get(id).State)
		}
		c.start(&without, 1)
		c.eventually("parked", func() bool { return c.get(parked).State == tasks.Parked })
		require.False(t, cancel(parked))

		n := c.start(&r, 2)
		running, unmoved := c.enqueue("work", tasks.Options{}), c.enqueue("stubborn", tasks.Options{})
		receive(t, started)
		c.eventually("both run", func() bool { return n.runner.InHand() == 2 })
		require.True(t, cancel(running))
		c.eventually("cancelled", func() bool { return c.get(running).State == tasks.Cancelled })
		require.True(t, cancel(unmoved))
		receive(t, stubborn)
		c.eventually("done", func() bool { return c.counts().Done == 1 })

		// Asked, and its node dies before it hears of it.
		c.mu.Lock()
		c.nodes = nil
		c.mu.Unlock()
		orphan := c.enqueue("work", tasks.Options{})
		receive(t, started)
		require.True(t, cancel(orphan))
		require.Equal(t, queue.Handed{Cancelled: 1}, n.crash(false))
		require.Equal(t, tasks.Cancelled, c.get(orphan).State)

		close(release)
		_, err := c.inspector.Cancel(t.Context(), orphan, "again")
		require.ErrorIs(t, err, tasks.ErrState)
		_, err = c.inspector.Cancel(t.Context(), "unknown", "")
		require.ErrorIs(t, err, tasks.ErrNotFound)
		c.conserved()
		require.Zero(t, c.redis.Exists(t.Context(), c.keys.Cancelling()).Val())
		require.Len(t, c.list(tasks.Filter{States: []tasks.State{tasks.Cancelled}}), 5)
		require.NoError(t, c.inspector.Retry(t.Context(), orphan))
	})
}

// Who may not mend a task hears in which state it is, in the word of the manual.
func TestARefusalNamesTheStateOfTheTask(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		started, release := blocking(&r, "work")
		tasks.Handle(&r, tasks.Definition{Name: "kept", Retention: time.Hour}, func(context.Context, number) error { return nil })
		tasks.Handle(&r, tasks.Definition{Name: "bad", MaxAttempts: 1}, func(context.Context, number) error { return errors.New("no") })
		c := newCluster(t, cfg, &r)
		c.startMover()
		c.start(&r, 1)
		kept, dead := c.enqueue("kept", tasks.Options{}), c.enqueue("bad", tasks.Options{})
		c.eventually("dead and done", func() bool { return c.counts().Dead == 1 && c.counts().Done == 1 })
		active := c.enqueue("work", tasks.Options{})
		receive(t, started)
		require.NoError(t, c.inspector.PauseQueue(t.Context(), "held", true))
		pending, delayed := c.enqueue("work", tasks.Options{Queue: "held"}), c.enqueue("work", tasks.Options{In: time.Hour})
		blocked := c.enqueue("work", tasks.Options{After: []string{delayed}})
		forgotten := "forgotten" // its id alone is remembered
		now := float64(time.Now().Add(time.Hour).UnixMilli())
		require.NoError(t, c.redis.ZAdd(t.Context(), c.keys.Done(), redis.Z{Score: now, Member: forgotten}).Err())

		retry := func(id string) error { return c.inspector.Retry(t.Context(), id) }
		reschedule := func(id string) error { return c.inspector.RescheduleIn(t.Context(), id, time.Hour) }
		cancel := func(id string) error { _, err := c.inspector.Cancel(t.Context(), id, "test"); return err }
		for id, state := range map[string]tasks.State{
			pending: tasks.Pending, delayed: tasks.Delayed, blocked: tasks.Blocked, active: tasks.Active, kept: tasks.Done, forgotten: tasks.Done,
		} {
			require.ErrorIs(t, retry(id), tasks.ErrState)
			require.ErrorContains(t, retry(id), fmt.Sprintf("retry task %s: not possible in the task's state: it is %s", id, state))
		}
		for id, state := range map[string]tasks.State{
			pending: tasks.Pending, blocked: tasks.Blocked, active: tasks.Active, kept: tasks.Done, forgotten: tasks.Done, dead: tasks.Dead,
		} {
			require.ErrorIs(t, reschedule(id), tasks.ErrState)
			require.ErrorContains(t, reschedule(id), "it is "+string(state))
		}
		for id, state := range map[string]tasks.State{kept: tasks.Done, forgotten: tasks.Done, dead: tasks.Dead} {
			require.ErrorIs(t, cancel(id), tasks.ErrState)
			require.ErrorContains(t, cancel(id), "it is already "+string(state))
		}
		require.ErrorIs(t, c.inspector.Delete(t.Context(), active), tasks.ErrActive)
		for _, mend := range []func(string) error{retry, reschedule, cancel, func(id string) error { return c.inspector.Delete(t.Context(), id) }} {
			require.ErrorIs(t, mend("unknown"), tasks.ErrNotFound)
		}
		require.NoError(t, c.inspector.Delete(t.Context(), forgotten))
		close(release)
	})
}

func TestADeadTaskKeepsItsHistoryAndComesBack(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		succeed := make(chan bool, 20)
		tasks.Handle(&r, tasks.Definition{Name: "n", MaxAttempts: 2, Backoff: time.Millisecond, Retention: time.Hour}, func(context.Context, number) error {
			if <-succeed {
				return nil
			}
			return errors.New("boom\nin two lines")
		})
		c := newCluster(t, cfg, &r)
		c.startMover()
		c.start(&r, 1)
		id := c.enqueue("n", tasks.Options{})
		succeed <- false
		succeed <- false
		c.eventually("dead", func() bool { return c.get(id).State == tasks.Dead })
		dead := c.get(id)
		require.Equal(t, "failed", dead.Reason.Reason)
		require.Equal(t, 2, dead.Attempts)
		require.Equal(t, []string{"failed", "dead"}, events(dead))
		require.Equal(t, "boom\nin two lines", dead.History[0].Error)
		require.NotEmpty(t, dead.History[0].Node)
		require.ErrorContains(t, func() error { _, err := c.tasks.Wait(t.Context(), id); return err }(), "boom")

		succeed <- true
		for _, f := range []tasks.Filter{{}, {Limit: 100}} { // never filled in: it must not hit everything
			_, err := c.inspector.CancelAll(t.Context(), f, "test")
			require.ErrorIs(t, err, tasks.ErrInvalid)
			_, err = c.inspector.DeleteAll(t.Context(), f)
			require.ErrorIs(t, err, tasks.ErrInvalid)
			_, err = c.inspector.RetryAll(t.Context(), f)
			require.ErrorIs(t, err, tasks.ErrInvalid)
		}
		require.Equal(t, tasks.Dead, c.get(id).State)
		n, err := c.inspector.RetryAll(t.Context(), tasks.Filter{Name: "n", Text: "boom"})
		require.NoError(t, err)
		require.Equal(t, 1, n)
		c.eventually("done", func() bool { return c.get(id).State == tasks.Done })
		require.Equal(t, []string{"failed", "dead", "retried", "done"}, events(c.get(id)))
		require.Equal(t, `{"N":0}`, string(c.get(id).Payload), "it is kept with its result")
		require.Zero(t, c.get(id).Attempts)
		ended := c.get(id).Ended
		require.Equal(t, []string{id}, c.list(tasks.Filter{States: []tasks.State{tasks.Done}, Since: ended, Until: ended.Add(time.Millisecond)}))
		require.Empty(t, c.list(tasks.Filter{States: []tasks.State{tasks.Done}, Since: ended.Add(time.Millisecond)}))
		require.ErrorIs(t, c.inspector.Retry(t.Context(), id), tasks.ErrState)
		require.NoError(t, c.inspector.Delete(t.Context(), id))
		_, err = c.inspector.Get(t.Context(), id)
		require.ErrorIs(t, err, tasks.ErrNotFound)
		require.Zero(t, c.redis.Exists(t.Context(), c.keys.Tasks(), c.keys.History(), c.keys.Tries(), c.keys.Reasons(), c.keys.Done(), c.keys.Kept(), c.keys.Results()).Val())
	})
}

func events(t tasks.Task) []string {
	var what []string
	for _, e := range t.History {
		what = append(what, e.What)
	}
	return what
}

func TestDeleteTakesEverythingButRunningTasks(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		started, release := blocking(&r, "work")
		c := newCluster(t, cfg, &r)
		c.start(&r, 1)
		running := c.enqueue("work", tasks.Options{})
		receive(t, started)
		require.ErrorIs(t, c.inspector.Delete(t.Context(), running), tasks.ErrActive)
		for range 600 {
			c.enqueue("work", tasks.Options{})
		}
		c.enqueue("work", tasks.Options{In: time.Hour})
		c.enqueue("work", tasks.Options{Priority: tasks.High})
		n, err := c.inspector.DeleteAll(t.Context(), tasks.Filter{States: []tasks.State{tasks.Pending}, Limit: 100})
		require.NoError(t, err)
		require.Equal(t, 100, n)
		n, err = c.inspector.DeleteQueue(t.Context(), "default")
		require.NoError(t, err)
		require.Equal(t, 502, n)
		require.Equal(t, []string{running}, c.list(tasks.Filter{}))
		release <- struct{}{}
		c.eventually("done", func() bool { return c.counts().Done == 1 })
		c.conserved()
		n, err = c.inspector.DeleteQueue(t.Context(), "default")
		require.NoError(t, err)
		require.Zero(t, n)
		queues, err := c.inspector.Queues(t.Context())
		require.NoError(t, err)
		require.Empty(t, queues)
	})
}

func TestADelayedTasksTimeCanBeChangedOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r tasks.Registry
		ran := make(chan time.Time, 1)
		tasks.Handle(&r, tasks.Definition{Name: "n"}, func(context.Context, number) error { ran <- time.Now(); return nil })
		c := newCluster(t, redistest.Embedded(t).Config(), &r)
		c.startMover()
		c.start(&r, 1)
		id, began := c.enqueue("n", tasks.Options{In: 10 * time.Minute}), time.Now()
		require.NoError(t, c.inspector.RescheduleIn(t.Context(), id, 20*time.Minute))
		time.Sleep(15 * time.Minute)
		require.Empty(t, ran)
		at := began.Add(17 * time.Minute)
		require.NoError(t, c.inspector.Reschedule(t.Context(), id, at))
		require.InDelta(t, 0, (<-ran).Sub(at).Milliseconds(), 5)
		synctest.Wait()
		require.ErrorIs(t, c.inspector.Reschedule(t.Context(), id, at), tasks.ErrNotFound)
		now := c.enqueue("n", tasks.Options{In: time.Hour})
		require.NoError(t, c.inspector.Reschedule(t.Context(), now, time.Time{}))
		<-ran
	})
}

func TestOldAndTooManyDeadTasksAreForgottenOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r tasks.Registry
		tasks.Handle(&r, tasks.Definition{Name: "n", MaxAttempts: 1}, func(context.Context, number) error { return context.Canceled })
		c := newCluster(t, redistest.Embedded(t).Config(), &r)
		c.startMover()
		c.start(&r, 1)
		old := c.enqueue("n", tasks.Options{})
		follower := c.enqueue("n", tasks.Options{After: []string{old}})
		synctest.Wait()
		// As if it had died almost that long ago.
		died := time.Now().Add(time.Minute - tasks.KeepDeadFor)
		require.NoError(t, c.redis.ZAdd(t.Context(), c.keys.Dead(), redis.Z{Score: float64(died.UnixMilli()), Member: old}).Err())
		time.Sleep(50 * time.Second)
		require.Equal(t, tasks.Dead, c.get(old).State)
		time.Sleep(20 * time.Second)
		_, err := c.inspector.Get(t.Context(), old)
		require.ErrorIs(t, err, tasks.ErrNotFound)
		require.Equal(t, tasks.Cancelled, c.get(follower).State, "what was to follow it never can")
		c.conserved()

		// As if ten thousand had died before.
		id := c.enqueue("n", tasks.Options{})
		synctest.Wait()
		require.Equal(t, tasks.Dead, c.get(id).State)
		for i := range tasks.KeepDead {
			require.NoError(t, c.redis.ZAdd(t.Context(), c.keys.Dead(), redis.Z{Score: float64(time.Now().UnixMilli() + 1 + int64(i)), Member: i}).Err())
		}
		time.Sleep(10 * time.Second)
		require.EqualValues(t, tasks.KeepDead, c.redis.ZCard(t.Context(), c.keys.Dead()).Val())
		_, err = c.inspector.Get(t.Context(), id)
		require.ErrorIs(t, err, tasks.ErrNotFound, "the oldest goes first")
	})
}
