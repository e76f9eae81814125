package tasks_test

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/tasks"
)

// waiting are the ways in which a task waits. Each stores a task with the options.
var waiting = map[string]func(c *cluster, o tasks.Options) (id string){
	"delayed": func(c *cluster, o tasks.Options) string {
		o.In = time.Hour
		return c.enqueue("n", o)
	},
	"parked": func(c *cluster, o tasks.Options) string {
		id := c.enqueue("none", o)
		c.eventually("it is parked", func() bool { return c.get(id).State == tasks.Parked })
		return id
	},
	"paused": func(c *cluster, o tasks.Options) string {
		require.NoError(c.t, c.inspector.PauseQueue(c.t.Context(), "paused", true))
		o.Queue = "paused"
		return c.enqueue("n", o)
	},
	"blocked": func(c *cluster, o tasks.Options) string {
		o.After = []string{c.enqueue("n", tasks.Options{In: time.Hour})}
		return c.enqueue("n", o)
	},
	"nobody serves it": func(c *cluster, o tasks.Options) string {
		o.Queue, o.Priority = "nobody", tasks.High
		return c.enqueue("n", o)
	},
}

func TestATaskThatWaitsIsDeadAtItsDeadline(t *testing.T) {
	for name, store := range waiting {
		t.Run(name, func(t *testing.T) {
			redistest.Each(t, func(t *testing.T, cfg link.Config) {
				var r tasks.Registry
				tasks.Handle(&r, tasks.Definition{Name: "n"}, func(context.Context, any) error { return nil })
				c := newCluster(t, cfg, &r)
				c.start(&r, 1)
				c.startMover()
				now, err := c.redis.Time(t.Context()).Result()
				require.NoError(t, err)
				o := tasks.Options{Unique: "k", Deadline: now.Add(500 * time.Millisecond)}
				id := store(c, o)
				follower := c.enqueue("n", tasks.Options{After: []string{id}})
				_, err = c.tasks.Wait(t.Context(), id)
				require.ErrorIs(t, err, tasks.ErrDead)
				require.ErrorContains(t, err, "deadline")
				task := c.get(id)
				require.Equal(t, tasks.Dead, task.State)
				require.Equal(t, "deadline", task.Reason.Reason)
				require.False(t, task.Ended.Before(o.Deadline.Truncate(time.Millisecond)), "%s < %s", task.Ended, o.Deadline)
				require.Equal(t, tasks.Blocked, c.get(follower).State, "as after every dead task")
				c.enqueue("n", tasks.Options{Unique: "k", In: time.Hour})
				c.conserved()
				require.Zero(t, c.redis.Exists(t.Context(), c.keys.Deadlines()).Val())
			})
		})
	}
}

func TestDeadlinesAreToldAsTheyComeOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r tasks.Registry
		c := newCluster(t, redistest.Embedded(t).Config(), &r)
		seen := &tally{}
		c.observer = seen
		c.startMover()
		synctest.Wait()
		began := time.Now()
		for n := range 300 {
			c.enqueue("n", tasks.Options{ID: strconv.Itoa(n), Deadline: began.Add(time.Hour)})
		}
		c.enqueue("n", tasks.Options{ID: "first", Deadline: began.Add(2 * time.Second)})
		c.enqueue("n", tasks.Options{ID: "past", Deadline: began.Add(-time.Hour)})
		synctest.Wait()
		require.Equal(t, 1, seen.of("task deadline"))
		require.Equal(t, tasks.Dead, c.get("past").State)
		time.Sleep(2*time.Second + time.Millisecond)
		synctest.Wait()
		require.Equal(t, 2, seen.of("task deadline"))
		require.Equal(t, tasks.Dead, c.get("first").State)
		time.Sleep(time.Until(began.Add(time.Hour + 100*time.Millisecond)))
		synctest.Wait()
		require.Equal(t, 302, seen.of("task deadline"))
		c.conserved()
	})
}

// A task that a node has in hand is the node's: its deadline counts again when it goes back.
func TestARunningTaskIsNotTakenAtItsDeadlineOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r tasks.Registry
		ended := make(chan error, 1)
		tasks.Handle(&r, tasks.Definition{Name: "n"}, func(ctx context.Context, _ any) error {
			<-ctx.Done()
			ended <- context.Cause(ctx)
			time.Sleep(time.Minute)
			return nil
		})
		tasks.Handle(&r, tasks.Definition{Name: "waits"}, func(ctx context.Context, _ any) error { <-ctx.Done(); return nil })
		c := newCluster(t, redistest.Embedded(t).Config(), &r)
		c.startMover()
		n := c.start(&r, 1)
		id := c.enqueue("n", tasks.Options{Deadline: time.Now().Add(10 * time.Second), WantResult: true})
		require.ErrorIs(t, <-ended, tasks.ErrDeadline)
		time.Sleep(30 * time.Second)
		require.Equal(t, tasks.Active, c.get(id).State)
		time.Sleep(31 * time.Second)
		require.Equal(t, tasks.Done, c.get(id).State)
		n.stop()

		c.start(&r, 1)
		id = c.enqueue("waits", tasks.Options{Deadline: time.Now().Add(10 * time.Second)})
		time.Sleep(5 * time.Second)
		require.NoError(t, c.inspector.PauseQueue(t.Context(), "default", true))
		c.nodes[1].crash(false)
		require.Equal(t, tasks.Pending, c.get(id).State)
		time.Sleep(6 * time.Second)
		require.Equal(t, tasks.Dead, c.get(id).State)
	})
}

func TestAForeignKeyInPlaceOfTheDeadlinesIsNamed(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		c := newCluster(t, cfg, &r)
		require.NoError(t, c.redis.Set(t.Context(), c.keys.Deadlines(), "x", 0).Err())
		_, err := c.tasks.EnqueueWith(t.Context(), "n", number{}, tasks.Options{Deadline: time.Now().Add(time.Hour)})
		require.ErrorContains(t, err, c.keys.Deadlines())
		require.Zero(t, c.counts().Pending)
		c.enqueue("n", tasks.Options{})
	})
}
