package tasks_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/tasks"
)

// Tasks whose handlers asked for a rest, one after the other, run again in their order.
func TestThrottledTasksKeepTheirOrder(t *testing.T) {
	for _, group := range []string{"", "x"} {
		t.Run("group "+group, func(t *testing.T) {
			redistest.Each(t, func(t *testing.T, cfg link.Config) {
				const many = 5
				var r tasks.Registry
				began, asks := make(chan int, 2*many), [many]chan struct{}{}
				for i := range asks {
					asks[i] = make(chan struct{})
				}
				var second atomic.Bool
				tasks.Handle(&r, tasks.Definition{Name: "ask"}, func(_ context.Context, n number) error {
					began <- n.N
					if second.Load() {
						return nil
					}
					<-asks[n.N]
					return tasks.Throttle(time.Hour)
				})
				c := newCluster(t, cfg, &r)
				c.startMover()
				c.start(&r, many)
				for n := range many {
					_, err := c.tasks.EnqueueWith(t.Context(), "ask", number{n}, tasks.Options{Group: group})
					require.NoError(t, err)
					require.Equal(t, n, receive(t, began))
				}
				for n := range many {
					close(asks[n])
					c.eventually("they come back", func() bool { return c.counts().Pending == int64(n+1) })
				}
				second.Store(true)
				_, err := c.inspector.LimitQueue(t.Context(), tasks.DefaultQueue, &tasks.Limits{Concurrency: 1})
				require.NoError(t, err)
				if group == "" {
					err = c.inspector.PauseQueue(t.Context(), tasks.DefaultQueue, false)
				} else {
					_, err = c.inspector.PauseGroup(t.Context(), tasks.DefaultQueue, group, false)
				}
				require.NoError(t, err)
				for n := range many {
					require.Equal(t, n, receive(t, began))
				}
				c.eventually("all done", func() bool { return c.counts().Done == many })
				require.Zero(t, c.redis.Exists(t.Context(), c.keys.Returned()).Val())
				c.conserved()
			})
		})
	}
}

// A node that crashes hands tasks of a group on in their order, whatever their ids are.
func TestATakeOverKeepsTheOrderOfAGroup(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		const many = 70
		var r tasks.Registry
		started, release := blocking(&r, "work")
		c := newCluster(t, cfg, &r)
		news := make([]tasks.Request, many)
		for i := range news {
			news[i] = tasks.Request{Name: "work", Payload: number{}, Options: tasks.Options{Group: "x"}}
		}
		_, err := c.tasks.EnqueueMany(t.Context(), news)
		require.NoError(t, err)
		n := c.start(&r, many)
		ids := map[string]bool{}
		for range many {
			ids[receive(t, started).ID] = true
		}
		require.Len(t, ids, many)
		n.crash(false)
		close(release)
		_, err = c.inspector.LimitQueue(t.Context(), tasks.DefaultQueue, &tasks.Limits{PerGroup: 1})
		require.NoError(t, err)
		waiting := c.list(tasks.Filter{Group: "x"})
		require.Len(t, waiting, many)
		for i := 1; i < many; i++ {
			a, b := waiting[i-1], waiting[i]
			require.True(t, len(a) < len(b) || len(a) == len(b) && a < b, "%s stands before %s", a, b)
		}
	})
}

// A suspect that has to wait for another holds its group.
func TestASuspectKeepsItsPlaceInItsGroup(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		started, release := blocking(&r, "long")
		c := newCluster(t, cfg, &r)
		c.suspect("long", tasks.Options{ID: "first"})
		c.startMover()
		c.start(&r, 5)
		require.Equal(t, "first", receive(t, started).ID)
		c.suspect("long", tasks.Options{ID: "suspect", Group: "x"})
		c.eventually("it is turned away", func() bool { return c.counts().Delayed == 1 })
		next := c.enqueue("long", tasks.Options{Group: "x"})
		other := c.enqueue("long", tasks.Options{Group: "y"})
		require.Equal(t, other, receive(t, started).ID)
		e, err := c.inspector.Explain(t.Context(), next)
		require.NoError(t, err)
		require.Contains(t, fmt.Sprint(e.Why), "waits for suspect, which has to run alone")
		release <- struct{}{}
		release <- struct{}{}
		// The group goes on when the suspect has begun, and that is before its handler tells of it.
		require.ElementsMatch(t, []string{"suspect", next}, []string{receive(t, started).ID, receive(t, started).ID})
		close(release)
		c.eventually("all done", func() bool { return c.counts().Done == 4 })
		for _, key := range []string{c.keys.Held(), c.keys.Holders(), c.keys.Returned()} {
			require.Zero(t, c.redis.Exists(t.Context(), key).Val(), "%s is left behind", key)
		}
		c.conserved()
	})
}
