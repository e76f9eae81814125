package tasks_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/tasks"
)

func TestASequenceIsEnqueuedInItsOrderAndInBoundedMemory(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		c := newCluster(t, cfg, &tasks.Registry{})
		const many = 7001
		taken := 0
		sequence := func(yield func(tasks.Request) bool) {
			for taken < many {
				taken++
				if !yield(tasks.Request{Name: "n", Payload: taken, Options: tasks.Options{ID: fmt.Sprint("i", taken)}}) {
					return
				}
			}
		}
		n := 0
		for receipt, err := range c.tasks.EnqueueSeq(t.Context(), sequence) {
			require.NoError(t, err)
			n++
			require.Equal(t, fmt.Sprint("i", n), receipt.ID)
			require.LessOrEqual(t, taken-n, 2000)
		}
		require.Equal(t, many, n)
		require.EqualValues(t, many, c.counts().Pending)

		taken = 0
		for _, err := range c.tasks.EnqueueSeq(t.Context(), sequence) {
			require.NoError(t, err)
			break
		}
		require.Equal(t, 2000, taken, "no more was wanted")
	})
}

func TestASequenceEndsAtItsFirstError(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		c := newCluster(t, cfg, &tasks.Registry{})
		enqueue := func(payloads ...any) (stored int, last error) {
			sequence := func(yield func(tasks.Request) bool) {
				for _, p := range payloads {
					if !yield(tasks.Request{Name: "n", Payload: p, Options: tasks.Options{Queue: "q"}}) {
						return
					}
				}
			}
			for receipt, err := range c.tasks.EnqueueSeq(t.Context(), sequence) {
				require.NoError(t, last, "it was the last")
				if last = err; receipt.ID != "" {
					stored++
				}
			}
			return stored, last
		}
		stored, err := enqueue()
		require.NoError(t, err)
		require.Zero(t, stored)
		stored, err = enqueue(1, 2, make(chan int), 3)
		require.ErrorContains(t, err, "payload")
		require.Equal(t, 2, stored, "those before it are stored")
		_, err = c.inspector.LimitQueue(t.Context(), "q", &tasks.Limits{Tasks: 4})
		require.NoError(t, err)
		stored, err = enqueue(1, 2, 3)
		require.ErrorIs(t, err, tasks.ErrQueueFull)
		require.Equal(t, 2, stored)
		require.EqualValues(t, 4, c.counts().Pending)
	})
}

func TestManyTasksAreAwaitedAtOnce(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		tasks.HandleResult(&r, tasks.Definition{Name: "n", MaxAttempts: 1}, func(_ context.Context, in int) (int, error) {
			if in == 13 {
				return 0, errors.New("no luck")
			}
			return 2 * in, nil
		})
		c := newCluster(t, cfg, &r)
		var ids []string
		for i := range 30 {
			receipt, err := c.tasks.EnqueueWith(t.Context(), "n", i, tasks.Options{ID: fmt.Sprint(i), Await: true})
			require.NoError(t, err)
			ids = append(ids, receipt.ID)
		}
		c.start(&r, 4)
		var ended []string
		for e := range c.tasks.WaitMany(t.Context(), append(ids, "nope")) {
			ended = append(ended, e.ID)
			switch e.ID {
			case "nope":
				require.ErrorIs(t, e.Err, tasks.ErrNotFound)
			case "13":
				require.ErrorIs(t, e.Err, tasks.ErrDead)
			default:
				require.NoError(t, e.Err)
				var i int
				_, err := fmt.Sscan(e.ID, &i)
				require.NoError(t, err)
				require.Equal(t, fmt.Sprint(2*i), string(e.Result))
			}
		}
		require.ElementsMatch(t, append(slices.Clone(ids), "nope"), ended)
		sum := 0
		for e := range tasks.WaitManyFor[int](t.Context(), c.tasks, append(ids, "nope")) {
			require.Equal(t, e.ID == "nope" || e.ID == "13", e.Err != nil)
			sum += e.Result
		}
		require.Equal(t, len(ids)*(len(ids)-1)-2*13, sum)
		for e := range tasks.WaitManyFor[bool](t.Context(), c.tasks, ids[:1]) {
			require.ErrorContains(t, e.Err, "result of 0 does not fit", "it is a number")
		}

		late := c.enqueue("n", tasks.Options{In: time.Hour})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		for e := range c.tasks.WaitMany(ctx, []string{late}) {
			require.ErrorIs(t, e.Err, context.DeadlineExceeded)
		}
		for range c.tasks.WaitMany(t.Context(), []string{late, ids[0]}) {
			break // it does not wait for the late one
		}
	})
}

// Whatever is wrong with a task, those before it are stored, and no task passes the middleware twice.
func TestASequenceStoresWhatComesBeforeATaskThatIsRefused(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		for _, wrapped := range []bool{false, true} {
			var r tasks.Registry
			quick(&r)
			passed := map[string]int{}
			if wrapped {
				r.UseEnqueue(func(next tasks.EnqueueFunc) tasks.EnqueueFunc {
					return func(ctx context.Context, all []tasks.Outgoing) ([]tasks.Receipt, error) {
						for i := range all {
							passed[all[i].Meta["n"]]++
							if all[i].Meta["spoil"] != "" {
								all[i].Queue = "a b"
							}
						}
						return next(ctx, all)
					}
				})
			}
			c := newCluster(t, cfg, &r)
			bads := []tasks.Request{
				{Name: "quick", Payload: number{}, Options: tasks.Options{Group: strings.Repeat("x", 300)}},
				{Name: "quick", Payload: make(chan int)},
				{Name: "quick", Payload: number{}, Then: []tasks.Request{{Name: "quick", Payload: number{}, Options: tasks.Options{Queue: "a b"}}}},
			}
			if wrapped {
				bads = append(bads, tasks.Request{Name: "quick", Payload: number{}, Options: tasks.Options{Meta: map[string]string{"spoil": "it"}}})
			}
			for n, bad := range bads {
				var all []tasks.Request
				for i := range 7 {
					all = append(all, tasks.Request{Name: "quick", Payload: number{}, Options: tasks.Options{Meta: map[string]string{"n": fmt.Sprint(n, "-", i)}}})
				}
				all[5] = bad
				before := c.counts().Pending
				var receipts int64
				var last error
				for _, err := range c.tasks.EnqueueSeq(t.Context(), slices.Values(all)) {
					if last = err; err == nil {
						receipts++
					}
				}
				require.Error(t, last)
				require.EqualValues(t, 5, receipts)
				require.Equal(t, before+5, c.counts().Pending)
			}
			delete(passed, "") // of those that are refused
			for task, times := range passed {
				require.Equal(t, 1, times, "the middleware gets %s once", task)
			}
		}
	})
}

// A caller that leaves the loop by a panic leaves nothing behind either: goleak tells.
func TestAPanicEndsTheWaitForManyTasks(t *testing.T) {
	var r tasks.Registry
	quick(&r)
	c := newCluster(t, redistest.Embedded(t).Config(), &r)
	var ids []string
	for range 10 {
		ids = append(ids, c.enqueue("quick", tasks.Options{}))
	}
	c.start(&r, 4)
	require.Panics(t, func() {
		for e := range c.tasks.WaitMany(t.Context(), ids) {
			panic(e.ID)
		}
	})
}
