package tasks_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/tasks"
)

func TestABatchBeginsWhenItsWaitIsOverOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r tasks.Registry
		calls := batched(&r, tasks.Batch{Max: 5, Wait: 2 * time.Second}, nil)
		started, release := blocking(&r, "long")
		c := newCluster(t, redistest.Embedded(t).Config(), &r)
		c.start(&r, 1)
		synctest.Wait()
		for i := range 3 {
			c.number(i, tasks.Options{})
			time.Sleep(500 * time.Millisecond)
		}
		c.enqueue("long", tasks.Options{})
		require.NotEmpty(t, receive(t, started).ID, "what is gathered takes no slot")
		require.Empty(t, calls)
		release <- struct{}{}
		time.Sleep(499 * time.Millisecond)
		require.Empty(t, calls)
		time.Sleep(2 * time.Millisecond)
		require.Equal(t, []int{0, 1, 2}, receive(t, calls).in)
		for i := range 12 {
			c.number(i, tasks.Options{})
		}
		synctest.Wait()
		require.Equal(t, []int{5, 5}, sizes(all(calls)), "full ones do not wait")
		time.Sleep(2*time.Second + time.Millisecond)
		require.Equal(t, []int{2}, sizes(all(calls)))
		close(release)
	})
}

func TestABatchWithoutAWaitHasWhatIsThere(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		calls := batched(&r, tasks.Batch{}, nil)
		c := newCluster(t, cfg, &r)
		c.numbers(250)
		c.start(&r, 1)
		c.eventually("done", func() bool { return c.counts().Done == 250 })
		require.Equal(t, []int{100, 100, 50}, sizes(all(calls)))
		c.number(1, tasks.Options{})
		require.Len(t, receive(t, calls).in, 1)
	})
}

// A batch in a queue whose places are taken is told of no task; it looks when its time is over.
func TestABatchHasAllThatCameWithinItsWaitOnVirtualTime(t *testing.T) {
	for _, places := range []int{0, 1} {
		t.Run(fmt.Sprint(places), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var r tasks.Registry
				calls := batched(&r, tasks.Batch{Max: 50, Wait: time.Second}, nil)
				c := newCluster(t, redistest.Embedded(t).Config(), &r)
				_, err := c.inspector.LimitQueue(t.Context(), tasks.DefaultQueue, &tasks.Limits{Concurrency: places})
				require.NoError(t, err)
				c.start(&r, 2)
				synctest.Wait()
				for i := range 10 {
					c.number(i, tasks.Options{})
					time.Sleep(99 * time.Millisecond)
				}
				time.Sleep(11 * time.Millisecond)
				synctest.Wait()
				require.Equal(t, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, receive(t, calls).in)
			})
		})
	}
}

func TestABatchIsBoundedInBytes(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		lengths := make(chan int, 100)
		tasks.HandleBatch(&r, tasks.Definition{Name: "n"}, tasks.Batch{Max: 500, Wait: 100 * time.Millisecond}, func(_ context.Context, in []string) error {
			lengths <- len(in)
			return nil
		})
		c := newCluster(t, cfg, &r)
		for range 25 {
			c.number(strings.Repeat("x", 100<<10), tasks.Options{})
		}
		c.start(&r, 2)
		c.eventually("done", func() bool { return c.counts().Done == 25 })
		got := all(lengths)
		slices.Sort(got)
		require.Equal(t, []int{3, 11, 11}, got)
	})
}

func TestACancelledTaskLeavesTheBatchThatIsGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r tasks.Registry
		calls := batched(&r, tasks.Batch{Max: 4, Wait: time.Minute}, nil)
		c := newCluster(t, redistest.Embedded(t).Config(), &r)
		c.startMover()
		c.start(&r, 1)
		ids := c.numbers(3)
		synctest.Wait()
		require.EqualValues(t, 3, c.counts().Active)
		_, err := c.inspector.Cancel(t.Context(), ids[1], "")
		require.NoError(t, err)
		synctest.Wait()
		require.Equal(t, tasks.Cancelled, c.get(ids[1]).State)
		time.Sleep(time.Minute + time.Millisecond)
		require.Equal(t, []int{1, 3}, receive(t, calls).in)
	})
}

func TestWhatANodeHasGatheredGoesBackWithoutCounts(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, n *node){
		"drain": func(t *testing.T, n *node) { require.Zero(t, n.stop()) },
		"crash": func(t *testing.T, n *node) { require.Equal(t, 3, n.crash(true).On) },
		"quiet": func(_ *testing.T, n *node) { n.runner.Quiet(true) },
		"busy":  nil,
	} {
		t.Run(name, func(t *testing.T) {
			redistest.Each(t, func(t *testing.T, cfg link.Config) {
				var r tasks.Registry
				wait := time.Hour
				if name == "busy" {
					wait = time.Second // the second long task takes the last place within it
				}
				calls := batched(&r, tasks.Batch{Max: 4, Wait: wait}, nil)
				started, release := blocking(&r, "long")
				c := newCluster(t, cfg, &r)
				n := c.start(&r, 2)
				if name == "busy" {
					c.enqueue("long", tasks.Options{})
					receive(t, started)
				}
				ids := c.numbers(3)
				if name == "busy" {
					c.enqueue("long", tasks.Options{})
					receive(t, started)
				} else {
					c.eventually("gathered", func() bool { return c.counts().Active == 3 })
					end(t, n)
				}
				c.eventually("they wait again", func() bool { return c.counts().Pending == 3 })
				require.ElementsMatch(t, ids, c.list(tasks.Filter{States: []tasks.State{tasks.Pending}}))
				require.Empty(t, calls)
				task := c.get(ids[0])
				require.Equal(t, []int{0, 0}, []int{task.Attempts, task.Crashes})
				c.number(4, tasks.Options{})
				close(release)
				if name != "busy" {
					c.start(&r, 1)
				}
				if got := receive(t, calls).in; name == "crash" {
					require.ElementsMatch(t, []int{1, 2, 3, 4}, got)
				} else {
					require.Equal(t, []int{1, 2, 3, 4}, got)
				}
				c.conserved()
			})
		})
	}
}
