package tasks_test

import (
	"context"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/tasks"
)

func TestAUniqueKeyIsTakenUntilItsTaskEnds(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		started, release := blocking(&r, "work")
		tasks.Handle(&r, tasks.Definition{Name: "fails", MaxAttempts: 1}, func(context.Context, number) error { panic("no") })
		c := newCluster(t, cfg, &r)
		unique := tasks.Options{Unique: "user <ada@example.org>"}
		first := c.enqueue("work", unique)
		duplicate := func() tasks.Receipt {
			receipt, err := c.tasks.EnqueueWith(t.Context(), "work", number{}, unique)
			require.NoError(t, err)
			return receipt
		}
		require.Equal(t, tasks.Receipt{ID: first, Duplicate: true}, duplicate(), "while it waits")
		n := c.start(&r, 1)
		receive(t, started)
		require.True(t, duplicate().Duplicate, "while it runs")
		n.crash(false)
		require.True(t, duplicate().Duplicate, "while it was handed on")
		c.start(&r, 1)
		receive(t, started)
		release <- struct{}{}
		c.eventually("done", func() bool { return c.counts().Done == 1 })
		second := c.enqueue("work", unique)
		receive(t, started)
		release <- struct{}{}
		c.eventually("done", func() bool { return c.counts().Done == 2 })

		dead := c.enqueue("fails", unique)
		c.eventually("dead", func() bool { return c.counts().Dead == 1 })
		third := c.enqueue("work", unique)
		require.ErrorContains(t, c.inspector.Retry(t.Context(), dead), "unique key")
		e, err := c.inspector.Explain(t.Context(), dead)
		require.NoError(t, err)
		require.Contains(t, e.Why, third+" has its unique key "+unique.Unique+": it cannot be retried before that has ended")
		receive(t, started)
		release <- struct{}{}
		c.eventually("done", func() bool { return c.counts().Done == 3 })
		require.NoError(t, c.inspector.Retry(t.Context(), dead))
		require.Len(t, map[string]bool{first: true, second: true, third: true, dead: true}, 4)
		c.eventually("dead again", func() bool { return c.counts().Dead == 1 })
		c.conserved()
		require.Zero(t, c.redis.Exists(t.Context(), c.keys.Unique()).Val(), "a key is left")
	})
}

func TestAUniqueKeyForATimeOutlivesItsTaskOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r tasks.Registry
		quick(&r)
		c := newCluster(t, redistest.Embedded(t).Config(), &r)
		c.startMover()
		c.start(&r, 1)
		o := tasks.Options{Unique: "k", UniqueFor: time.Minute}
		c.enqueue("quick", o)
		synctest.Wait()
		require.EqualValues(t, 1, c.counts().Done)
		time.Sleep(59 * time.Second)
		receipt, err := c.tasks.EnqueueWith(t.Context(), "quick", number{}, o)
		require.NoError(t, err)
		require.True(t, receipt.Duplicate)
		time.Sleep(time.Second)
		c.enqueue("quick", o)
		time.Sleep(2 * time.Minute)
		require.Zero(t, c.redis.Exists(t.Context(), c.keys.Unique(), c.keys.UniqueUntil()).Val(), "a key is left")
	})
}

func TestUrgentTasksGoFirstAndPatientOnesLast(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		ran := make(chan string, 10)
		var r tasks.Registry
		tasks.Handle(&r, tasks.Definition{Name: "n"}, func(ctx context.Context, _ number) error {
			info := tasks.InfoOf(ctx)
			ran <- info.ID
			return nil
		})
		c := newCluster(t, cfg, &r)
		for _, o := range []tasks.Options{
			{ID: "low", Priority: tasks.Low}, {ID: "normal"}, {ID: "high-1", Priority: tasks.High}, {ID: "high-2", Priority: tasks.High}, {ID: "normal-2"},
		} {
			c.enqueue("n", o)
		}
		require.Equal(t, tasks.High, c.get("high-1").Priority)
		require.EqualValues(t, 4, *c.get("low").Position)
		require.Equal(t, []string{"high-1", "high-2", "normal", "normal-2", "low"}, c.list(tasks.Filter{States: []tasks.State{tasks.Pending}}))
		c.start(&r, 1)
		for _, id := range []string{"high-1", "high-2", "normal", "normal-2", "low"} {
			require.Equal(t, id, receive(t, ran))
		}
	})
}

func TestADeadlineEndsATaskBeforeDuringAndBetweenItsRunsOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r tasks.Registry
		ran := make(chan string, 10)
		tasks.Handle(&r, tasks.Definition{Name: "slow", Backoff: time.Second}, func(ctx context.Context, _ number) error {
			info := tasks.InfoOf(ctx)
			ran <- info.ID
			<-ctx.Done()
			require.ErrorIs(t, context.Cause(ctx), tasks.ErrDeadline)
			return context.Cause(ctx)
		})
		tasks.Handle(&r, tasks.Definition{Name: "fails", Backoff: time.Hour}, func(ctx context.Context, _ number) error {
			info := tasks.InfoOf(ctx)
			ran <- info.ID
			return context.Canceled
		})
		c := newCluster(t, redistest.Embedded(t).Config(), &r)
		c.startMover()
		in := func(d time.Duration) time.Time { return time.Now().Add(d) }
		before := c.enqueue("slow", tasks.Options{Deadline: in(time.Minute)})
		time.Sleep(2 * time.Minute)
		require.WithinDuration(t, time.Now().Add(-time.Minute), c.get(before).Ended, time.Millisecond, "without a node, too")
		c.start(&r, 4)
		during := c.enqueue("slow", tasks.Options{Deadline: in(time.Minute)})
		between := c.enqueue("fails", tasks.Options{Deadline: in(10 * time.Minute)})
		began := time.Now()
		time.Sleep(59 * time.Second)
		require.Equal(t, tasks.Active, c.get(during).State)
		time.Sleep(2 * time.Second)
		require.ElementsMatch(t, []string{during, between}, []string{<-ran, <-ran})
		require.Empty(t, ran, "one began after its deadline")
		for _, id := range []string{before, during, between} {
			task := c.get(id)
			require.Equal(t, tasks.Dead, task.State, id)
			require.Equal(t, "deadline", task.Reason.Reason, id)
			require.WithinRange(t, task.Ended, began.Add(-time.Minute-time.Second), began.Add(62*time.Second))
		}
		c.conserved()
	})
}

func TestATasksOwnBackoffWinsOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r tasks.Registry
		starts := make(chan time.Time, 10)
		tasks.Handle(&r, tasks.Definition{Name: "fails", Backoff: time.Hour}, func(context.Context, number) error {
			starts <- time.Now()
			return context.Canceled
		})
		c := newCluster(t, redistest.Embedded(t).Config(), &r)
		c.startMover()
		c.start(&r, 1)
		c.enqueue("fails", tasks.Options{Backoff: 2 * time.Second, MaxBackoff: 2 * time.Second, MaxAttempts: 3})
		first, second, third := <-starts, <-starts, <-starts
		for _, pause := range []time.Duration{second.Sub(first), third.Sub(second)} {
			require.GreaterOrEqual(t, pause, time.Second)
			require.LessOrEqual(t, pause, 2*time.Second+10*time.Millisecond)
		}
		synctest.Wait()
		require.EqualValues(t, 1, c.counts().Dead)
	})
}

func TestWaitIsToldOfEveryKindOfEnd(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		started, release := blocking(&r, "plain")
		tasks.Handle(&r, tasks.Definition{Name: "result"}, func(ctx context.Context, _ number) error {
			tasks.Tx(ctx).Result("it")
			return nil
		})
		tasks.Handle(&r, tasks.Definition{Name: "fails", MaxAttempts: 1}, func(context.Context, number) error { return context.Canceled })
		c := newCluster(t, cfg, &r)
		type end struct {
			result json.RawMessage
			err    error
		}
		wait := func(id string) chan end {
			ended := make(chan end, 1)
			go func() {
				result, err := c.tasks.Wait(t.Context(), id)
				ended <- end{result, err}
			}()
			c.eventually("waited for", func() bool { return c.redis.HExists(t.Context(), c.keys.Waiting(), id).Val() })
			return ended
		}
		plain, result, fails := c.enqueue("plain", tasks.Options{}), c.enqueue("result", tasks.Options{}), c.enqueue("fails", tasks.Options{})
		cancelled := c.enqueue("plain", tasks.Options{In: time.Hour})
		ends := map[string]chan end{plain: wait(plain), result: wait(result), fails: wait(fails), cancelled: wait(cancelled)}
		_, err := c.inspector.Cancel(t.Context(), cancelled, "not needed")
		require.NoError(t, err)
		c.start(&r, 3)
		receive(t, started)
		release <- struct{}{}
		began := time.Now()
		require.Equal(t, end{}, receive(t, ends[plain]))
		require.Equal(t, end{result: json.RawMessage(`"it"`)}, receive(t, ends[result]), "although nothing keeps it")
		require.ErrorIs(t, receive(t, ends[fails]).err, tasks.ErrDead)
		ended := receive(t, ends[cancelled])
		require.ErrorIs(t, ended.err, tasks.ErrCancelled)
		require.ErrorContains(t, ended.err, "not needed")
		require.Less(t, time.Since(began), redisbus.MaxNap, "they looked for themselves")
		require.Zero(t, c.redis.Exists(t.Context(), c.keys.Waiting()).Val())
		_, err = c.tasks.Wait(t.Context(), "unknown")
		require.ErrorIs(t, err, tasks.ErrNotFound)
	})
}

func TestBadOptionsStoreNothingAndSayWhatToDo(t *testing.T) {
	c := newCluster(t, redistest.Embedded(t).Config(), &tasks.Registry{})
	for want, o := range map[string]tasks.Options{
		"In or At":      {In: 1, At: time.Now()},
		"Priority":      {Priority: 2},
		"UniqueFor":     {UniqueFor: time.Second},
		"bytes of UTF":  {Unique: strings.Repeat("x", 201)},
		"cannot be neg": {Backoff: -1},
		"itself":        {ID: "a", After: []string{"a"}},
		"After":         {After: []string{"no spaces"}},
		"at most 1000":  {After: make([]string, 1001)},
	} {
		_, err := c.tasks.EnqueueWith(t.Context(), "x", number{}, o)
		require.ErrorContains(t, err, want)
	}
	_, err := c.tasks.EnqueueMany(t.Context(), []tasks.Request{{Name: "x"}, {Name: "x", Then: []tasks.Request{{Name: "no spaces"}}}})
	require.ErrorIs(t, err, tasks.ErrName)
	require.Empty(t, c.redis.Keys(t.Context(), "*tasks").Val())
}

func TestTheLongestDelayIsNotNow(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		c := newCluster(t, cfg, &r)
		forever := time.Duration(math.MaxInt64)
		id := c.enqueue("n", tasks.Options{In: forever, Unique: "k", UniqueFor: forever})
		require.Equal(t, tasks.Delayed, c.get(id).State)
		require.Greater(t, time.Until(c.get(id).Due), forever-time.Hour)
		require.NoError(t, c.inspector.RescheduleIn(t.Context(), id, forever))
		require.Equal(t, tasks.Delayed, c.get(id).State)
		require.NoError(t, c.inspector.Delete(t.Context(), id))
		receipt, err := c.tasks.EnqueueWith(t.Context(), "n", number{}, tasks.Options{Unique: "k"})
		require.NoError(t, err)
		require.True(t, receipt.Duplicate, "the key is taken for ever")
	})
}
