package tasks_test

import (
	"context"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/tasks"
)

// doubling registers a task of which nothing is kept when it is done.
func doubling(r *tasks.Registry) {
	tasks.HandleResult(r, tasks.Definition{Name: "double"}, func(_ context.Context, in number) (number, error) {
		return number{2 * in.N}, nil
	})
}

// ended returns the ids of tasks whose end Redis remembers, and of those that somebody waits for.
func (c *cluster) ended() (remembered, waiting int64) {
	c.t.Helper()
	remembered, err := c.redis.ZCard(c.t.Context(), c.keys.Done()).Result()
	require.NoError(c.t, err)
	waiting, err = c.redis.HLen(c.t.Context(), c.keys.Waiting()).Result()
	require.NoError(c.t, err)
	return remembered, waiting
}

func TestEnqueueAndWaitMissesNoEndHoweverSoonItComes(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		doubling(&r)
		c := newCluster(t, cfg, &r)
		c.start(&r, 10)
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				result, err := c.tasks.EnqueueAndWait(t.Context(), "double", number{i}, tasks.Options{})
				if err != nil || string(result) != `{"N":`+strconv.Itoa(2*i)+`}` {
					t.Errorf("%d: %s, %v", i, result, err)
				}
			})
		}
		wg.Wait()
		_, waiting := c.ended()
		require.Zero(t, waiting)
	})
}

func TestAnAnnouncedWaitIsKeptAlthoughRepliesAreLost(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		doubling(&r)
		proxy := &lossy{Config: cfg}
		c := newCluster(t, cfg, &r)
		c.start(&r, 10)
		client := tasks.NewClient(t.Context(), redistest.Client(t, proxy.config(t)), c.keys, &r)
		defer client.Close()
		proxy.every.Store(5)
		for i := range 20 {
			receipt, err := client.EnqueueWith(t.Context(), "double", number{i}, tasks.Options{Await: true})
			require.NoError(t, err)
			result, err := c.tasks.Wait(t.Context(), receipt.ID)
			require.NoError(t, err)
			require.JSONEq(t, `{"N":`+strconv.Itoa(2*i)+`}`, string(result))
		}
		require.NotZero(t, proxy.lost.Load())
		proxy.every.Store(0)
	})
}

func TestAnAnnouncedWaitFindsATaskThatHasEndedBefore(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		doubling(&r)
		c := newCluster(t, cfg, &r)
		plain := c.enqueue("double", tasks.Options{})
		awaited := []string{
			c.enqueue("double", tasks.Options{Await: true}),
			c.enqueue("double", tasks.Options{Await: true, ID: "chosen"}),
			c.enqueue("double", tasks.Options{Await: true, Unique: "key"}),
			c.enqueue("double", tasks.Options{ID: "id"}),
			c.enqueue("double", tasks.Options{Unique: "unique"}),
		}
		for at, o := range map[int]tasks.Options{
			3: {Await: true, ID: "id"}, 4: {Await: true, Unique: "unique"},
		} {
			receipt, err := c.tasks.EnqueueWith(t.Context(), "double", number{}, o)
			require.NoError(t, err)
			require.Equal(t, tasks.Receipt{ID: awaited[at], Duplicate: true}, receipt)
		}
		_, err := c.tasks.EnqueueWith(t.Context(), "double", number{}, tasks.Options{Await: true, ID: "chosen"})
		require.NoError(t, err)
		c.start(&r, 4)
		c.eventually("done", func() bool { return c.counts().Done == 6 })
		for _, id := range awaited {
			result, err := c.tasks.Wait(t.Context(), id)
			require.NoError(t, err)
			require.JSONEq(t, `{"N":0}`, string(result))
		}
		_, err = c.tasks.Wait(t.Context(), plain)
		require.ErrorIs(t, err, tasks.ErrNotFound)
		require.EqualError(t, err, "task not found: "+plain+": done and forgotten, or never stored: use EnqueueAndWait, WantResult or Retention")
		_, err = c.tasks.EnqueueWith(t.Context(), "double", number{}, tasks.Options{Await: true, ID: "chosen"})
		require.NoError(t, err)
		remembered, waiting := c.ended()
		require.Equal(t, []int64{5, 0}, []int64{remembered, waiting})
	})
}

func TestWaitSaysHowATaskEndedThatItsEnqueueCancelled(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		c := newCluster(t, cfg, &tasks.Registry{})
		first := c.enqueue("double", tasks.Options{})
		_, err := c.inspector.Cancel(t.Context(), first, "no")
		require.NoError(t, err)
		_, err = c.tasks.EnqueueAndWait(t.Context(), "double", number{}, tasks.Options{After: []string{first}})
		require.ErrorIs(t, err, tasks.ErrCancelled)
		_, waiting := c.ended()
		require.Zero(t, waiting)
	})
}
