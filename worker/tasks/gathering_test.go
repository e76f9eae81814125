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
	"github.com/stellarfw/stellar/worker/tasks"
)

// A batch whose time is over while all slots are blocked goes back; it waits no second time then, and
// nothing that stood behind it begins before it.
func TestABatchRunsInItsTurnOnABusyNodeOnVirtualTime(t *testing.T) {
	for _, wait := range []time.Duration{0, 300 * time.Millisecond, 1700 * time.Millisecond} {
		for _, length := range []time.Duration{100 * time.Millisecond, 777 * time.Millisecond} {
			t.Run(fmt.Sprint(wait, " ", length), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var r tasks.Registry
					calls := batched(&r, tasks.Batch{Max: 10, Wait: wait}, nil)
					tasks.Handle(&r, tasks.Definition{Name: "long"}, func(context.Context, number) error { time.Sleep(length); return nil })
					c := newCluster(t, redistest.Embedded(t).Config(), &r)
					began := time.Now()
					const before, slots = 20, 2
					for i := range before + 200 {
						if i == before {
							c.numbers(5)
						}
						c.enqueue("long", tasks.Options{})
					}
					c.start(&r, slots)
					it := receive(t, calls)
					require.Len(t, it.in, 5)
					require.LessOrEqual(t, it.at.Sub(began), before/slots*length+wait+3*length, "its turn, its wait, and until a slot is free")
				})
			})
		}
	}
}

func TestATaskThatIsLateLeavesTheBatchThatIsGatheredOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r tasks.Registry
		calls := batched(&r, tasks.Batch{Max: 5, Wait: time.Hour}, nil)
		c := newCluster(t, redistest.Embedded(t).Config(), &r)
		c.start(&r, 1)
		synctest.Wait()
		c.number(1, tasks.Options{})
		late := c.number(2, tasks.Options{Deadline: time.Now().Add(time.Minute)})
		c.number(3, tasks.Options{Deadline: time.Now().Add(2 * time.Hour)})
		time.Sleep(time.Minute + 10*time.Millisecond)
		synctest.Wait()
		require.Equal(t, tasks.Dead, c.get(late).State)
		require.Equal(t, "deadline", c.get(late).Reason.Reason)
		time.Sleep(time.Hour)
		require.Equal(t, []int{1, 3}, receive(t, calls).in)
		synctest.Wait()
		require.EqualValues(t, 2, c.counts().Done)
	})
}

func TestABatchThatHasTheOnlyPlaceIsFilledOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r tasks.Registry
		calls := batched(&r, tasks.Batch{Max: 10, Wait: time.Minute}, nil)
		c := newCluster(t, redistest.Embedded(t).Config(), &r)
		_, err := c.inspector.LimitQueue(t.Context(), tasks.DefaultQueue, &tasks.Limits{Concurrency: 1})
		require.NoError(t, err)
		for range 3 {
			c.start(&r, 4)
		}
		synctest.Wait()
		c.number(1, tasks.Options{})
		time.Sleep(time.Second)
		c.numbers(19)
		time.Sleep(time.Second)
		require.Equal(t, []int{10, 10}, sizes(all(calls)), "it is full long before its time is over")
	})
}

func TestBatchesOfRatedAndGroupedQueues(t *testing.T) {
	for name, l := range map[string]tasks.Limits{
		"rated": {Concurrency: 1, Rate: tasks.Rate{Tasks: 1000, Per: time.Second, Burst: 200}}, "grouped": {Concurrency: 1, PerGroup: 5},
	} {
		t.Run(name, func(t *testing.T) {
			redistest.Each(t, func(t *testing.T, cfg link.Config) {
				var r tasks.Registry
				calls := batched(&r, tasks.Batch{Max: 20, Wait: 100 * time.Millisecond}, nil)
				c := newCluster(t, cfg, &r)
				_, err := c.inspector.LimitQueue(t.Context(), tasks.DefaultQueue, &l)
				require.NoError(t, err)
				c.startMover()
				const n = 200
				requests := make([]tasks.Request, n)
				for i := range requests {
					requests[i] = tasks.Request{Name: "n", Payload: i}
					if name == "grouped" {
						requests[i].Options.Group = fmt.Sprint("g", i%10)
					}
				}
				_, err = c.tasks.EnqueueMany(t.Context(), requests)
				require.NoError(t, err)
				for range 2 {
					c.start(&r, 2) // fewer slots than a batch has tasks
				}
				c.eventually("done", func() bool { return c.counts().Done == n })
				for _, it := range all(calls) {
					require.Len(t, it.in, 20)
					of := map[int]int{}
					for _, i := range it.in {
						of[i%10]++
					}
					for _, some := range of {
						require.True(t, name != "grouped" || some <= l.PerGroup)
					}
				}
				c.eventually("nothing is left", func() bool { return c.redis.HLen(t.Context(), c.keys.Active()).Val() == 0 })
			})
		})
	}
}

func TestExplainCountsABatchAsOneTaskOfItsQueuesLimit(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		began, over := make(chan struct{}, 9), make(chan struct{})
		batched(&r, tasks.Batch{Max: 10}, func(context.Context, []int) error { began <- struct{}{}; <-over; return nil })
		started, release := blocking(&r, "long")
		c := newCluster(t, cfg, &r)
		_, err := c.inspector.LimitQueue(t.Context(), tasks.DefaultQueue, &tasks.Limits{Concurrency: 2})
		require.NoError(t, err)
		c.numbers(10)
		c.start(&r, 1)
		receive(t, began)
		why := func() string {
			e, err := c.inspector.Explain(t.Context(), c.enqueue("long", tasks.Options{}))
			require.NoError(t, err)
			return strings.Join(e.Why, "; ")
		}
		require.NotContains(t, why(), "at a time")
		c.start(&r, 1)
		receive(t, started)
		require.Contains(t, why(), "the queue default runs at most 2 tasks at a time, and 2 run")
		close(over)
		close(release)
	})
}
