package tasks_test

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/internal/queue"
	"github.com/stellarfw/stellar/worker/internal/runner"
	"github.com/stellarfw/stellar/worker/tasks"
)

// tickers runs n tickers, as n processes would, until the returned function is called.
func (c *cluster) tickers(r *tasks.Registry, n int) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	for range n {
		go func() {
			ticker := runner.NewTicker(c.redis, c.keys, r, redistestLog(c.t))
			ticker.Observer = c.observer
			_ = ticker.Serve(ctx)
			done <- struct{}{}
		}()
	}
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			for range n {
				<-done
			}
		}
	}
	c.t.Cleanup(stop)
	return stop
}

// ticking registers a task that reports its id and when it started.
func ticking(r *tasks.Registry, p tasks.Periodic) (ids chan string) {
	ids = make(chan string, 1000)
	p.Task = "tick"
	r.RegisterPeriodic(p)
	tasks.Handle(r, tasks.Definition{Name: "tick"}, func(ctx context.Context, _ any) error {
		info := tasks.InfoOf(ctx)
		ids <- info.ID
		return nil
	})
	return ids
}

func TestEveryTickRunsOnceInTheWholeClusterOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r tasks.Registry
		ids := ticking(&r, tasks.Periodic{Schedule: tasks.Every(10 * time.Second)})
		c := newCluster(t, redistest.Embedded(t).Config(), &r)
		c.start(&r, 2)
		c.start(&r, 2)
		c.tickers(&r, 5)
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		require.Len(t, ids, 6)
		seen := map[string]bool{}
		for range 6 {
			seen[<-ids] = true
		}
		require.Len(t, seen, 6)

		require.NoError(t, c.inspector.PausePeriodic(t.Context(), "tick", true))
		time.Sleep(time.Minute)
		require.Empty(t, ids, "paused")
		require.NoError(t, c.inspector.PausePeriodic(t.Context(), "tick", false))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Len(t, ids, 1, "what passed meanwhile is left out")
		require.ErrorIs(t, c.inspector.PausePeriodic(t.Context(), "none", true), tasks.ErrNotFound)

		require.NoError(t, c.redis.Del(t.Context(), c.keys.Periodic()).Err())
		time.Sleep(20 * time.Second)
		synctest.Wait()
		require.GreaterOrEqual(t, len(ids), 2, "a flush heals itself")
	})
}

func TestMissedTicksCollapseIntoOneOrNoneOnVirtualTime(t *testing.T) {
	for _, catchUp := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			var r tasks.Registry
			ids := ticking(&r, tasks.Periodic{Name: "often", Schedule: tasks.Cron("*/5 * * * *", nil), CatchUp: catchUp})
			c := newCluster(t, redistest.Embedded(t).Config(), &r)
			c.start(&r, 2)
			stop := c.tickers(&r, 1)
			time.Sleep(6 * time.Minute)
			synctest.Wait()
			require.Len(t, ids, 1)
			<-ids
			stop() // nobody ticks for a while
			time.Sleep(17 * time.Minute)
			c.tickers(&r, 3)
			time.Sleep(time.Minute)
			synctest.Wait()
			if catchUp {
				require.Len(t, ids, 1, "the last of three")
			} else {
				require.Empty(t, ids, "three minutes late")
			}
		})
	}
}

func TestATickThatWasLeftOutIsNoRunOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r tasks.Registry
		ids := ticking(&r, tasks.Periodic{Name: "often", Schedule: tasks.Cron("*/5 * * * *", nil)})
		c := newCluster(t, redistest.Embedded(t).Config(), &r)
		c.start(&r, 1)
		stored := func() string { return c.redis.HGet(t.Context(), c.keys.Periodic(), "often").Val() }
		info := func() tasks.PeriodicInfo {
			all, err := c.inspector.Periodic(t.Context())
			require.NoError(t, err)
			return all[0]
		}
		stop := c.tickers(&r, 1)
		synctest.Wait()
		require.Regexp(t, `^0\d+\|$`, stored(), "what older versions can read")
		stop() // nobody ticks for a while
		time.Sleep(17 * time.Minute)
		c.tickers(&r, 2)
		synctest.Wait()
		tick := time.Now().Truncate(5 * time.Minute)
		require.Equal(t, "0"+strconv.FormatInt(tick.UnixMilli(), 10)+"|", stored(), "it is noted")
		require.Zero(t, info().Last)
		require.True(t, info().Next.Equal(tick.Add(5*time.Minute)))
		require.Empty(t, ids)
		<-ids
		require.True(t, info().Last.Equal(tick.Add(5*time.Minute)))
		require.NoError(t, c.redis.HSet(t.Context(), c.keys.Periodic(), "often", "1800000000000|1").Err())
		require.Equal(t, time.UnixMilli(1_800_000_000_000), info().Last, "older versions do not say whether one has run")
		require.True(t, info().Paused)
	})
}

func TestSchedules(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	var r tasks.Registry
	for _, bad := range []tasks.Schedule{
		tasks.Every(0), tasks.Every(time.Millisecond), tasks.Every(time.Second + 1), tasks.Cron("", nil), tasks.Cron("61 * * * *", nil),
		tasks.Cron("TZ=", nil), tasks.Cron("@every 1s", nil), {}, tasks.Cron("0 0 30 2 *", nil), tasks.Cron("0 0 31 4,6,9,11 *", berlin),
	} {
		before := r.Err()
		r.RegisterPeriodic(tasks.Periodic{Task: "x", Schedule: bad})
		require.NotEqual(t, before, r.Err(), bad.String())
	}
	require.ErrorContains(t, tasks.Cron("0 0 30 2 *", nil).Err(), "it never comes: no year has such a day")
	for _, rare := range []string{"0 0 29 2 *", "59 23 31 12 *", "0 0 30 2 1", "0 0 31 2,3 *"} {
		require.NoError(t, tasks.Cron(rare, berlin).Err(), rare)
	}
	r = tasks.Registry{}
	r.RegisterPeriodic(tasks.Periodic{Task: "x", Schedule: tasks.Cron("30 2 * * *", berlin)})
	require.NoError(t, r.Err())
	r.RegisterPeriodic(tasks.Periodic{Task: "x", Schedule: tasks.Every(time.Hour)})
	require.ErrorContains(t, r.Err(), "registered twice")
}

func TestAPeriodicTaskIsKnownPausedRunAndRemovedByOthersOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r tasks.Registry
		ids := ticking(&r, tasks.Periodic{Name: "p", Schedule: tasks.Every(10 * time.Minute), Payload: 1})
		c := newCluster(t, redistest.Embedded(t).Config(), &r)
		c.start(&r, 1)
		stop := c.tickers(&r, 1)
		other := tasks.NewClient(t.Context(), c.redis, c.keys, &tasks.Registry{})
		defer other.Close()
		synctest.Wait()
		info := func() []tasks.PeriodicInfo {
			all, err := c.inspector.Periodic(t.Context())
			require.NoError(t, err)
			return all
		}
		require.Len(t, info(), 1)
		require.Equal(t, "every 10m0s", info()[0].Schedule.String())
		require.Zero(t, info()[0].Next.Unix()%600)
		require.Zero(t, info()[0].Last, "it has not run")
		require.NoError(t, c.inspector.PausePeriodic(t.Context(), "p", true))
		require.True(t, info()[0].Paused)
		time.Sleep(15 * time.Minute)
		require.Empty(t, ids)
		receipt, err := other.RunPeriodic(t.Context(), "p")
		require.NoError(t, err)
		require.Equal(t, receipt.ID, <-ids, "also while it is paused")
		require.Zero(t, info()[0].Last, "the tick meanwhile was left out, and this was none")
		require.NoError(t, c.inspector.PausePeriodic(t.Context(), "p", false))
		time.Sleep(10 * time.Minute)
		require.NotEqual(t, receipt.ID, <-ids)
		require.Equal(t, 10*time.Minute, info()[0].Next.Sub(info()[0].Last))
		require.NoError(t, c.redis.FlushAll(t.Context()).Err())
		time.Sleep(10 * time.Second)
		require.Len(t, info(), 1, "its processes write it again")
		stop()
		require.NoError(t, c.inspector.RemovePeriodic(t.Context(), "p"))
		require.Empty(t, info())
		_, err = other.RunPeriodic(t.Context(), "p")
		require.ErrorIs(t, err, tasks.ErrNotFound)
	})
}

func TestAPeriodicTaskWhoseQueueIsSomethingElseHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r tasks.Registry
		tasks.Handle(&r, tasks.Definition{Name: "broken", Queue: "broken"}, func(context.Context, any) error { return nil })
		r.RegisterPeriodic(tasks.Periodic{Task: "broken", Schedule: tasks.Every(10 * time.Second)})
		ids := ticking(&r, tasks.Periodic{Schedule: tasks.Every(10 * time.Second)})
		c := newCluster(t, redistest.Embedded(t).Config(), &r)
		require.NoError(t, c.redis.Set(t.Context(), c.keys.Queue("broken"), "x", 0).Err())
		c.start(&r, 1)
		stop := c.tickers(&r, 1)
		<-ids
		<-ids
		require.NoError(t, c.redis.Del(t.Context(), c.keys.Queue("broken")).Err())
		time.Sleep(20 * time.Second)
		require.NotZero(t, c.queue("broken").Ever.Done, "it goes on when it is mended")
		stop()
	})
}

func TestAPeriodicTaskIsSetChangedAndRemovedAtRunTimeOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r tasks.Registry
		ran := make(chan tasks.Info, 100)
		tasks.Handle(&r, tasks.Definition{Name: "n", Queue: "q"}, func(ctx context.Context, _ any) error { ran <- tasks.InfoOf(ctx); return nil })
		c := newCluster(t, redistest.Embedded(t).Config(), &r)
		c.start(&r, 2)
		c.tickers(&r, 3)
		set := func(s tasks.Schedule) error {
			return c.tasks.SetPeriodic(t.Context(), tasks.Periodic{Name: "p", Task: "n", Schedule: s, Payload: "x"})
		}
		require.NoError(t, set(tasks.Every(10*time.Second)))
		all, err := c.inspector.Periodic(t.Context())
		require.NoError(t, err)
		require.Len(t, all, 1)
		require.True(t, all[0].Set)
		require.Equal(t, "q", all[0].Queue)
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		require.Len(t, ran, 6)
		info := <-ran
		require.Equal(t, `"x"`, string(info.Payload))
		require.Equal(t, "p:"+strconv.FormatInt(info.Tick.UnixMilli(), 10), info.ID)
		require.NoError(t, set(tasks.Every(time.Hour)))
		for len(ran) > 0 {
			<-ran
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Empty(t, ran, "it was changed")
		past, err := c.inspector.PeriodicHistory(t.Context(), "p")
		require.NoError(t, err)
		require.Len(t, past, 6)
		for i, p := range past {
			require.Equal(t, "enqueued", p.What)
			require.LessOrEqual(t, p.Late, int64(5000), "%d", i)
			require.Equal(t, p.At.Sub(p.Tick).Milliseconds(), p.Late)
		}
		require.NoError(t, c.inspector.RemovePeriodic(t.Context(), "p"))
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		require.Empty(t, ran, "it was removed")
		_, err = c.inspector.PeriodicHistory(t.Context(), "p")
		require.ErrorIs(t, err, tasks.ErrNotFound)
	})
}

func TestAProgramsOwnPeriodicTaskWinsOverOneThatWasSetOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var plain, own tasks.Registry
		ids := ticking(&own, tasks.Periodic{Name: "p", Schedule: tasks.Every(time.Hour)})
		tasks.Handle(&plain, tasks.Definition{Name: "n"}, func(context.Context, any) error { return nil })
		c := newCluster(t, redistest.Embedded(t).Config(), &plain)
		c.start(&own, 2)
		c.tickers(&plain, 1)
		info := func() tasks.PeriodicInfo {
			all, err := c.inspector.Periodic(t.Context())
			require.NoError(t, err)
			require.Len(t, all, 1)
			return all[0]
		}
		p := tasks.Periodic{Name: "p", Task: "n", Schedule: tasks.Every(10 * time.Second)}
		require.NoError(t, c.tasks.SetPeriodic(t.Context(), p))
		stop := c.tickers(&own, 2)
		time.Sleep(time.Minute)
		require.Equal(t, "tick", info().Task)
		require.True(t, info().Overruled)
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Len(t, ids, 1)
		before := c.counts().Pending
		time.Sleep(time.Minute)
		require.Equal(t, before, c.counts().Pending)
		require.ErrorIs(t, c.tasks.SetPeriodic(t.Context(), p), tasks.ErrRegistered)
		stop()
		err := c.tasks.SetPeriodic(t.Context(), p)
		require.ErrorIs(t, err, tasks.ErrRegistered)
		_, at, says := strings.Cut(err.Error(), "the name is free at ")
		require.True(t, says, err)
		free, err := time.Parse(time.RFC3339, at)
		require.NoError(t, err)
		time.Sleep(time.Until(free.Add(2 * time.Second)))
		require.NoError(t, c.tasks.SetPeriodic(t.Context(), p))
		time.Sleep(2 * time.Minute)
		require.Equal(t, "n", info().Task, "the program has ended")
		require.False(t, info().Overruled)
		require.False(t, info().Orphaned)
	})
}

// A name is free as soon as the last program that registers it has ended, however it ended.
func TestTheNameOfAPeriodicTaskIsFreeWhenItsProgramsHaveEnded(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var own tasks.Registry
		tasks.Handle(&own, tasks.Definition{Name: "n"}, func(context.Context, any) error { return nil })
		own.RegisterPeriodic(tasks.Periodic{Name: "p", Task: "n", Schedule: tasks.Every(time.Hour)})
		c := newCluster(t, cfg, &own)
		set := func() error {
			return c.tasks.SetPeriodic(t.Context(), tasks.Periodic{Name: "p", Task: "n", Schedule: tasks.Every(time.Minute)})
		}
		info := func() tasks.PeriodicInfo {
			all, err := c.inspector.Periodic(t.Context())
			require.NoError(t, err)
			require.Len(t, all, 1)
			return all[0]
		}
		var ends []func()
		for _, id := range []string{"a", "b"} {
			sub := c.redis.Subscribe(t.Context(), c.keys.Program(id)) // as the host's bus does
			_, err := sub.Receive(t.Context())
			require.NoError(t, err)
			ticker := runner.NewTicker(c.redis, c.keys, &own, redistestLog(t))
			ticker.Listens(id)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { defer close(done); _ = ticker.Serve(ctx) }()
			ends = append(ends, func() { cancel(); <-done; _ = sub.Close() })
			require.Eventually(t, func() bool { return c.redis.HExists(t.Context(), c.keys.Programs(), id).Val() }, 10*time.Second, time.Millisecond)
		}
		require.ErrorIs(t, set(), tasks.ErrRegistered)
		ends[0]()
		require.ErrorIs(t, set(), tasks.ErrRegistered, "the other one runs")
		ends[1]()
		require.Eventually(t, func() bool { return set() == nil }, 10*time.Second, time.Millisecond, "Redis notices that the connection is closed")
		require.True(t, info().Set)
		require.False(t, info().Overruled)
		require.False(t, info().Orphaned)

		stale := strconv.FormatInt(time.Now().Add(-time.Hour).UnixMilli(), 10) + "|p"
		require.NoError(t, c.redis.HSet(t.Context(), c.keys.Programs(), "crashed", stale).Err())
		require.NoError(t, queue.NewStore(c.redis, c.keys).ForgetPrograms(t.Context(), time.Now()))
		require.ElementsMatch(t, []string{"a", "b"}, c.redis.HKeys(t.Context(), c.keys.Programs()).Val())
	})
}

func TestWhatCannotBeAPeriodicTaskIsNotSet(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		c := newCluster(t, cfg, &tasks.Registry{})
		strict := tasks.NewClient(t.Context(), c.redis, c.keys, nil)
		defer strict.Close()
		set := func(p tasks.Periodic) error { return strict.SetPeriodic(t.Context(), p) }
		require.ErrorIs(t, set(tasks.Periodic{Task: "n", Schedule: tasks.Every(time.Minute)}), tasks.ErrUndefined)
		require.ErrorIs(t, set(tasks.Periodic{Task: "n"}), tasks.ErrInvalid)
		require.ErrorIs(t, set(tasks.Periodic{Task: "a b", Schedule: tasks.Every(time.Minute)}), tasks.ErrInvalid)
		require.ErrorIs(t, set(tasks.Periodic{Task: "n", Schedule: tasks.Cron("* *", nil)}), tasks.ErrInvalid)
		all, err := c.inspector.Periodic(t.Context())
		require.NoError(t, err)
		require.Empty(t, all)
	})
}
