package tasks_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/tasks"
)

// call is one call of a batch's handler.
type call struct {
	in   []int
	info tasks.Info
	at   time.Time
}

// batched registers a task n that is handled in batches, whose calls it returns.
func batched(r *tasks.Registry, b tasks.Batch, end func(ctx context.Context, in []int) error) <-chan call {
	calls := make(chan call, 1000)
	tasks.HandleBatch(r, tasks.Definition{Name: "n", Backoff: time.Millisecond}, b, func(ctx context.Context, in []int) error {
		calls <- call{in, tasks.InfoOf(ctx), time.Now()}
		tasks.Tx(ctx).Increment("calls", 1)
		for _, n := range in {
			tasks.Tx(ctx).Increment("sum", int64(n))
		}
		if end == nil {
			return nil
		}
		return end(ctx, in)
	})
	return calls
}

// numbers stores tasks with the payloads 1 to n, and returns their ids.
func (c *cluster) numbers(n int) (ids []string) {
	c.t.Helper()
	requests := make([]tasks.Request, n)
	for i := range requests {
		requests[i] = tasks.Request{Name: "n", Payload: i + 1}
	}
	receipts, err := c.tasks.EnqueueMany(c.t.Context(), requests)
	require.NoError(c.t, err)
	for _, r := range receipts {
		ids = append(ids, r.ID)
	}
	return ids
}

func (c *cluster) number(payload any, o tasks.Options) string {
	c.t.Helper()
	receipt, err := c.tasks.EnqueueWith(c.t.Context(), "n", payload, o)
	require.NoError(c.t, err)
	return receipt.ID
}

// heardAll waits until the observer has heard of all runs, and checks what it heard.
func (c *cluster) heardAll(seen *tally) {
	c.t.Helper()
	c.eventually("heard", func() bool { return seen.of("claimed") == seen.of("committed") })
	c.agrees(seen)
}

func sizes(calls []call) (n []int) {
	for _, c := range calls {
		n = append(n, len(c.in))
	}
	return n
}

func all[T any](from <-chan T) (got []T) {
	for len(from) > 0 {
		got = append(got, <-from)
	}
	return got
}

func TestABatchIsAllThatWaitsUpToItsMax(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		for _, slots := range []int{1, 3} {
			t.Run(fmt.Sprint(slots), func(t *testing.T) {
				var r tasks.Registry
				calls := batched(&r, tasks.Batch{Max: 100, Wait: time.Minute}, nil)
				c := newCluster(t, cfg, &r)
				require.NoError(t, c.redis.FlushAll(t.Context()).Err())
				ids := c.numbers(1000)
				c.start(&r, slots)
				c.eventually("done", func() bool { return c.counts().Done == 1000 })
				got := all(calls)
				require.Equal(t, slices.Repeat([]int{100}, 10), sizes(got))
				require.Equal(t, 10, c.total("calls"))
				require.Equal(t, 500500, c.total("sum"))
				slices.SortFunc(got, func(a, b call) int { return a.in[0] - b.in[0] })
				require.Equal(t, "n", got[0].info.Name)
				require.Equal(t, ids[:100], membersOf(got[0].info))
				c.conserved()
			})
		}
	})
}

func membersOf(info tasks.Info) (ids []string) {
	for _, one := range info.Batch {
		ids = append(ids, one.ID)
	}
	return ids
}

func TestBatchesHaveResultsRetentionAndMiddleware(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		double := tasks.DefineResult[int, int](tasks.Definition{Name: "n", Retention: time.Hour})
		double.HandleBatch(&r, tasks.Batch{Max: 3, Wait: time.Minute}, func(ctx context.Context, in []int) (out []int, err error) {
			tasks.Tx(ctx).Increment("calls", 1)
			for _, n := range in {
				out = append(out, 2*n)
			}
			return out, tasks.BatchError{1: tasks.Discard(errDown)}.Err()
		})
		payloads := make(chan string, 10)
		r.Use(func(next tasks.Handler) tasks.Handler {
			return func(ctx context.Context, payload json.RawMessage) error {
				payloads <- fmt.Sprint(string(payload), len(tasks.InfoOf(ctx).Batch))
				if err := next(ctx, payload); err != nil {
					return fmt.Errorf("middleware: %w", err)
				}
				return nil
			}
		})
		c := newCluster(t, cfg, &r)
		ids := c.numbers(3)
		c.start(&r, 1)
		require.Equal(t, "[1,2,3]3", receive(t, payloads))
		c.eventually("done", func() bool { return c.counts().Done == 2 })
		for i, want := range map[int]int{0: 2, 2: 6} {
			got, err := double.Wait(t.Context(), c.tasks, ids[i])
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
		_, err := double.Wait(t.Context(), c.tasks, ids[1])
		require.ErrorIs(t, err, tasks.ErrDead)
		require.Equal(t, 1, c.total("calls"))
	})
}

func TestLostRepliesRunNoBatchTwice(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		const n = 300
		var r tasks.Registry
		dial := dialer(cfg)
		cable := &redistest.Cable{To: func(ctx context.Context) (net.Conn, error) { return dial(ctx) }}
		calls := batched(&r, tasks.Batch{Max: 10, Wait: 2 * time.Millisecond}, func(ctx context.Context, _ []int) error {
			tasks.Tx(ctx).EnqueueWith("followup", strings.Repeat("x", 10_000), tasks.Options{AnyName: true, Queue: "elsewhere"})
			cable.LoseAnswers(1)
			return nil
		})
		c := newCluster(t, link.Config{Dial: cable.Dial}, &r)
		c.numbers(n)
		c.start(&r, 2)
		c.eventually("done", func() bool {
			counts, err := c.inspector.Counts(t.Context())
			return err == nil && counts.Done == n
		})
		cable.LoseAnswers(0)
		require.Equal(t, n*(n+1)/2, c.total("sum"))
		require.Equal(t, len(calls), c.total("calls"))
		require.Len(t, c.list(tasks.Filter{Queue: "elsewhere"}), len(calls))
	})
}

func TestBatchesThatCannotBeAreRefused(t *testing.T) {
	for name, b := range map[string]tasks.Batch{"max": {Max: tasks.MaxBatch + 1}, "negative": {Max: -1}, "wait": {Wait: -1}, "long": {Wait: tasks.MaxBatchWait + 1}} {
		t.Run(name, func(t *testing.T) {
			var r tasks.Registry
			batched(&r, b, nil)
			require.ErrorIs(t, r.Err(), tasks.ErrInvalid)
		})
	}
	var r tasks.Registry
	tasks.HandleBatch[int](&r, tasks.Definition{Name: "n"}, tasks.Batch{}, nil)
	require.ErrorContains(t, r.Err(), "nil handler")
	require.NoError(t, tasks.BatchError{}.Err())
	require.NoError(t, tasks.BatchError{0: nil}.Err())
	require.EqualError(t, tasks.BatchError{0: errDown, 9: errDown, 3: nil}.Err(), "2 of the batch failed: task 0: the other side is down; task 9: the other side is down")
	require.ErrorIs(t, tasks.BatchError{4: errDown}.Err(), errDown)
}

func TestABatchTakesOnePlaceOfItsQueuesLimit(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		const n, places = 600, 2
		var r tasks.Registry
		var running, most atomic.Int64
		calls := batched(&r, tasks.Batch{Max: 50, Wait: 20 * time.Millisecond}, func(context.Context, []int) error {
			now := running.Add(1)
			defer running.Add(-1)
			for {
				if seen := most.Load(); now <= seen || most.CompareAndSwap(seen, now) {
					break
				}
			}
			time.Sleep(2 * time.Millisecond)
			return nil
		})
		r.LimitQueue(tasks.DefaultQueue, tasks.Limits{Concurrency: places})
		c := newCluster(t, cfg, &r)
		_, err := c.inspector.LimitQueue(t.Context(), tasks.DefaultQueue, &tasks.Limits{Concurrency: places})
		require.NoError(t, err)
		c.startMover()
		c.numbers(n)
		for range 3 {
			c.start(&r, 4)
		}
		c.eventually("done", func() bool { return c.counts().Done == n })
		require.LessOrEqual(t, most.Load(), int64(places))
		require.Equal(t, slices.Repeat([]int{50}, n/50), sizes(all(calls)))
		c.eventually("nothing is left", func() bool { return c.redis.HLen(t.Context(), c.keys.Active()).Val() == 0 })
	})
}
