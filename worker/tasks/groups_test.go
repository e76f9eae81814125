package tasks_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/tasks"
)

// starts are the tasks of groups that have begun, in their order.
type starts struct {
	mu      sync.Mutex
	ids     map[string][]string // by group
	running map[string]int
	most    map[string]int // that ran at a time
}

func (s *starts) began(i tasks.Info) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids[i.Group] = append(s.ids[i.Group], i.ID)
	s.running[i.Group]++
	s.most[i.Group] = max(s.most[i.Group], s.running[i.Group])
}

func (s *starts) ended(i tasks.Info) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running[i.Group]--
}

// order returns the tasks of a group in the order in which each began first.
func (s *starts) order(group string) (ids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range s.ids[group] {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// grouped registers a task whose runs note their starts.
func grouped(r *tasks.Registry, run func(ctx context.Context) error) *starts {
	s := &starts{ids: map[string][]string{}, running: map[string]int{}, most: map[string]int{}}
	tasks.Handle(r, tasks.Definition{Name: "grouped", Backoff: time.Millisecond}, func(ctx context.Context, _ number) error {
		s.began(tasks.InfoOf(ctx))
		defer s.ended(tasks.InfoOf(ctx))
		return run(ctx)
	})
	return s
}

// Tasks of a group begin in their order, and no more of them run at a time than may, while the
// nodes crash.
func TestTasksOfAGroupBeginInTheirOrderWhileNodesCrash(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		r.LimitQueue("default", tasks.Limits{PerGroup: 1})
		s := grouped(&r, func(ctx context.Context) error {
			select {
			case <-time.After(200 * time.Microsecond):
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
		c := newCluster(t, cfg, &r)
		_, err := c.inspector.LimitQueue(t.Context(), "default", &tasks.Limits{PerGroup: 1})
		require.NoError(t, err)
		c.start(&r, 3)
		victims := []*node{c.start(&r, 3), c.start(&r, 3)}
		expected := map[string][]string{}
		for i := range 100 {
			for _, group := range []string{"x", "y", "a/b:|^~"} {
				expected[group] = append(expected[group], c.enqueue("grouped", tasks.Options{Group: group}))
			}
			if i%20 == 10 {
				victims[0].crash(false)
				victims = append(victims[1:], c.start(&r, 3))
			}
		}
		c.eventually("all done", func() bool { return c.counts().Done == 300 })
		for group, ids := range expected {
			require.Equal(t, ids, s.order(group), "group %s", group)
			require.Equal(t, 1, s.most[group], "group %s", group)
		}
		groups, err := c.inspector.Groups(t.Context(), "default", 0)
		require.NoError(t, err)
		require.Empty(t, groups)
		for _, key := range []string{c.keys.Groups("default"), c.keys.Grouped(), c.keys.Active()} {
			require.Zero(t, c.redis.Exists(t.Context(), key).Val(), "%s is left behind", key)
		}
		c.conserved()
	})
}

// A group with many tasks delays another by no more than one round.
func TestGroupsTakeTurns(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		started, release := blocking(&r, "work")
		c := newCluster(t, cfg, &r)
		news := make([]tasks.Request, 1000)
		for i := range news {
			news[i] = tasks.Request{Name: "work", Payload: number{}, Options: tasks.Options{Group: "large"}}
		}
		_, err := c.tasks.EnqueueMany(t.Context(), news)
		require.NoError(t, err)
		one := c.enqueue("work", tasks.Options{Group: "small"})
		none := c.enqueue("work", tasks.Options{})
		last := c.list(tasks.Filter{Group: "large"})[999]
		e, err := c.inspector.Explain(t.Context(), last)
		require.NoError(t, err)
		require.Contains(t, e.Why, "999 tasks of its group go before it")
		c.start(&r, 1)
		ids := []string{}
		for range 4 {
			ids = append(ids, receive(t, started).ID)
			release <- struct{}{}
		}
		receive(t, started) // it goes on when the test has looked
		require.Contains(t, ids[:2], one, "the first round has begun when it came to an end")
		require.Contains(t, ids[:3], none)
		groups, err := c.inspector.Groups(t.Context(), "default", 1)
		require.NoError(t, err)
		require.Equal(t, "large", groups[0].Group)
		require.EqualValues(t, 997, groups[0].Pending)
		require.Equal(t, groups[0].Pending, c.queue("default").Grouped)
		cancelled, err := c.inspector.CancelAll(t.Context(), tasks.Filter{Group: "large", States: []tasks.State{tasks.Pending}}, "")
		require.NoError(t, err)
		require.Positive(t, cancelled)
		groups, err = c.inspector.Groups(t.Context(), "default", 0)
		require.NoError(t, err)
		require.LessOrEqual(t, len(groups), 1, "%v", groups)
		close(release)
		c.eventually("nothing waits", func() bool { return c.counts().Pending+c.counts().Active == 0 })
	})
}

func TestAPausedGroupWaitsAlone(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		s := grouped(&r, func(context.Context) error { return nil })
		c := newCluster(t, cfg, &r)
		used, err := c.inspector.PauseGroup(t.Context(), "default", "x", true)
		require.NoError(t, err)
		require.False(t, used)
		c.start(&r, 2)
		x, y := c.enqueue("grouped", tasks.Options{Group: "x"}), c.enqueue("grouped", tasks.Options{Group: "y"})
		c.eventually("y is done", func() bool { return c.counts().Done == 1 })
		require.Equal(t, []string{y}, s.order("y"))
		e, err := c.inspector.Explain(t.Context(), x)
		require.NoError(t, err)
		require.Contains(t, e.Why, "its group x is paused")
		used, err = c.inspector.PauseGroup(t.Context(), "default", "x", false)
		require.NoError(t, err)
		require.True(t, used)
		c.eventually("x is done", func() bool { return c.counts().Done == 2 })
		_, err = c.inspector.PauseGroup(t.Context(), "default", "", true)
		require.ErrorIs(t, err, tasks.ErrInvalid)
	})
}

// A task that waits for its retry holds a strict group, whatever ends it.
func TestAStrictGroupWaitsForItsFirstTask(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		var fails sync.Map
		s := grouped(&r, func(ctx context.Context) error {
			if after, fail := fails.LoadAndDelete(tasks.InfoOf(ctx).ID); fail {
				return tasks.RetryAfter(errors.New("not yet"), after.(time.Duration))
			}
			return nil
		})
		c := newCluster(t, cfg, &r)
		_, err := c.inspector.LimitQueue(t.Context(), "default", &tasks.Limits{Strict: true})
		require.NoError(t, err)
		var ids []string
		for i := range 4 {
			id := "c" + strconv.Itoa(i)
			if i < 2 {
				fails.Store(id, []time.Duration{30 * time.Millisecond, time.Hour}[i])
			}
			ids = append(ids, c.enqueue("grouped", tasks.Options{ID: id, Group: "x"}))
		}
		c.startMover()
		c.start(&r, 4)
		c.eventually("the second waits for its retry", func() bool { return c.get(ids[1]).State == tasks.Delayed })
		require.Equal(t, ids[:2], s.order("x"))
		e, err := c.inspector.Explain(t.Context(), ids[2])
		require.NoError(t, err)
		require.Contains(t, e.Why, "its group x is strict, and c1 of it waits for its next run")
		_, err = c.inspector.Cancel(t.Context(), ids[1], "")
		require.NoError(t, err)
		c.eventually("the others are done", func() bool { return c.counts().Done == 3 })
		require.Equal(t, ids, s.order("x"))
		for _, key := range []string{c.keys.Held(), c.keys.Holders()} {
			require.Zero(t, c.redis.Exists(t.Context(), key).Val())
		}
	})
}

// A node that claims ahead of its slots does not do so where tasks have to begin when they are claimed.
func TestTasksOfGroupsAreNotClaimedAhead(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		quick(&r)
		started, release := blocking(&r, "work")
		c := newCluster(t, cfg, &r)
		c.start(&r, 2)
		for range 500 { // so short that it claims ahead
			c.enqueue("quick", tasks.Options{})
		}
		c.eventually("done", func() bool { return c.counts().Done == 500 })
		for range 10 {
			c.enqueue("work", tasks.Options{Group: "x"})
		}
		receive(t, started)
		receive(t, started)
		require.EqualValues(t, 2, c.queue("default").Active)
		close(release)
		c.eventually("done", func() bool { return c.counts().Done == 510 })
	})
}

func TestBadGroupsAndLimits(t *testing.T) {
	synctestless(t, func(c *cluster) {
		for _, o := range []tasks.Options{{Group: string(make([]byte, 201))}, {Group: "\xff"}} {
			_, err := c.tasks.EnqueueWith(t.Context(), "quick", number{}, o)
			require.ErrorIs(t, err, tasks.ErrInvalid)
			require.ErrorContains(t, err, "use at most 200 bytes of UTF-8")
		}
		for want, l := range map[string]tasks.Limits{
			"cannot be negative":         {PerGroup: -1},
			"one task at a time":         {PerGroup: 2, Strict: true},
			"a rate of -1 tasks":         {Rate: tasks.Rate{Tasks: -1, Per: time.Second}},
			"a rate of 0 tasks":          {Rate: tasks.Rate{Per: time.Second}},
			"use a time of 1ms":          {GroupRate: tasks.Rate{Tasks: 1}},
			"a burst of -1":              {Rate: tasks.Rate{Tasks: 1, Per: time.Second, Burst: -1}},
			"2000000000 tasks: use 1 to": {Rate: tasks.Rate{Tasks: 2e9, Per: time.Second}},
		} {
			_, err := c.inspector.LimitQueue(t.Context(), "default", &l)
			require.ErrorIs(t, err, tasks.ErrInvalid)
			require.ErrorContains(t, err, want)
		}
	})
}

// A claim goes round 500 groups at once at most.
func TestANodeWithManySlotsServesManyGroups(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		const n = 1200
		var r tasks.Registry
		started, release := blocking(&r, "long")
		c := newCluster(t, cfg, &r)
		requests := make([]tasks.Request, n)
		for i := range requests {
			requests[i] = tasks.Request{Name: "long", Payload: number{i}, Options: tasks.Options{Group: fmt.Sprint(i)}}
		}
		_, err := c.tasks.EnqueueMany(t.Context(), requests)
		require.NoError(t, err)
		c.start(&r, n)
		for range n {
			receive(t, started)
		}
		close(release)
		c.eventually("done", func() bool { return c.counts().Done == n })
	})
}

func TestADeletedQueueForgetsThatItsGroupsRestOrArePaused(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		var throttled atomic.Bool
		ran := make(chan string, 9)
		tasks.Handle(&r, tasks.Definition{Name: "w"}, func(ctx context.Context, _ number) error {
			if !throttled.Swap(true) {
				return tasks.Throttle(time.Hour)
			}
			ran <- tasks.InfoOf(ctx).Group
			return nil
		})
		c := newCluster(t, cfg, &r)
		c.startMover()
		c.start(&r, 1)
		c.enqueue("w", tasks.Options{Group: "rests"})
		c.eventually("throttled", func() bool {
			groups, err := c.inspector.Groups(t.Context(), tasks.DefaultQueue, 0)
			return err == nil && len(groups) == 1 && !groups[0].RestsUntil.IsZero()
		})
		_, err := c.inspector.PauseGroup(t.Context(), tasks.DefaultQueue, "paused", true)
		require.NoError(t, err)
		_, err = c.inspector.DeleteQueue(t.Context(), tasks.DefaultQueue)
		require.NoError(t, err)
		for _, group := range []string{"rests", "paused"} {
			c.enqueue("w", tasks.Options{Group: group})
			require.Equal(t, group, receive(t, ran))
		}
	})
}
