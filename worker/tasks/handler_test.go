package tasks_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/internal/queue"
	"github.com/stellarfw/stellar/worker/tasks"
)

func TestSnoozeIsNoAttemptAndRetryAfterDecidesThePauseOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type start struct {
			at      time.Time
			attempt int
		}
		starts := make(chan start, 10)
		var r tasks.Registry
		var n atomic.Int64
		tasks.Handle(&r, tasks.Definition{Name: "x", MaxAttempts: 2, Backoff: time.Hour}, func(ctx context.Context, _ number) error {
			info := tasks.InfoOf(ctx)
			starts <- start{time.Now(), info.Attempt}
			switch n.Add(1) {
			case 1, 2:
				return tasks.Snooze(10 * time.Second)
			default:
				return tasks.RetryAfter(errors.New("429"), 3*time.Second)
			}
		})
		c := newCluster(t, redistest.Embedded(t).Config(), &r)
		var log notes
		c.log = &log
		c.startMover()
		c.start(&r, 1)
		_, err := c.tasks.Enqueue(t.Context(), "x", number{})
		require.NoError(t, err)
		first, second, third, fourth := <-starts, <-starts, <-starts, <-starts
		require.InDelta(t, 10, second.at.Sub(first.at).Seconds(), 0.1)
		require.InDelta(t, 10, third.at.Sub(second.at).Seconds(), 0.1)
		require.InDelta(t, 3, fourth.at.Sub(third.at).Seconds(), 0.1)
		require.Equal(t, []int{1, 1, 1, 2}, []int{first.attempt, second.attempt, third.attempt, fourth.attempt})
		synctest.Wait()
		require.Equal(t, tasks.Counts{Dead: 1, Failed: 1}, c.counts())
		require.Len(t, log.about("task failed"), 2, "who asks for another time has not failed")
	})
}

func TestErrorsThatDecideWhatFollowsWrapTheirCause(t *testing.T) {
	cause := errors.New("429")
	require.ErrorIs(t, tasks.RetryAfter(cause, time.Second), cause)
	require.ErrorIs(t, tasks.Discard(cause), cause)
	require.ErrorIs(t, tasks.Snooze(time.Second), tasks.ErrSnoozed)
}

func TestMiddlewareWrapsEveryHandlerInOrder(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		said := make(chan string, 10)
		var r tasks.Registry
		tasks.Handle(&r, tasks.Definition{Name: "x"}, func(context.Context, number) error { said <- "handler"; return nil })
		for _, name := range []string{"outer", "inner"} {
			r.Use(func(next tasks.Handler) tasks.Handler {
				return func(ctx context.Context, p json.RawMessage) error {
					said <- name + " " + tasks.InfoOf(ctx).Name
					return next(ctx, p)
				}
			})
		}
		c := newCluster(t, cfg, &r)
		c.start(&r, 1)
		_, err := c.tasks.Enqueue(t.Context(), "x", number{})
		require.NoError(t, err)
		for _, want := range []string{"outer x", "inner x", "handler"} {
			require.Equal(t, want, receive(t, said))
		}
	})
}

func TestChildGoroutinesBelongToTheTask(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		tasks.Handle(&r, tasks.Definition{Name: "adds", Retention: time.Hour}, func(ctx context.Context, in number) error {
			for range in.N {
				tasks.Go(ctx, func(ctx context.Context) error { tasks.Tx(ctx).Increment("children", 1); return nil })
			}
			return nil
		})
		tasks.Handle(&r, tasks.Definition{Name: "panics", MaxAttempts: 1}, func(ctx context.Context, _ number) error {
			tasks.Go(ctx, func(context.Context) error { panic("in a child") })
			tasks.Tx(ctx).Increment("children", 100)
			return nil
		})
		c := newCluster(t, cfg, &r)
		c.start(&r, 2)
		a, err := c.tasks.Enqueue(t.Context(), "adds", number{5})
		require.NoError(t, err)
		b, err := c.tasks.Enqueue(t.Context(), "panics", number{})
		require.NoError(t, err)
		_, err = c.tasks.Wait(t.Context(), a.ID)
		require.NoError(t, err)
		_, err = c.tasks.Wait(t.Context(), b.ID)
		require.ErrorIs(t, err, tasks.ErrDead)
		require.ErrorContains(t, err, "in a child")
		n, err := cache.Get[int](t.Context(), c.cache, "children")
		require.NoError(t, err)
		require.Equal(t, 5, n)
	})
}

func TestProgressIsSeenByOthersAndOnlyTheHoldersCounts(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		said, release := make(chan error, 10), make(chan struct{})
		var r tasks.Registry
		tasks.Handle(&r, tasks.Definition{Name: "x"}, func(ctx context.Context, _ number) error {
			said <- tasks.SetProgress(ctx, 0.25, "a quarter")
			<-release
			said <- tasks.SetProgress(context.WithoutCancel(ctx), 0.5, "half")
			said <- tasks.SetProgress(ctx, 2, "")
			return nil
		})
		c := newCluster(t, cfg, &r)
		n := c.start(&r, 1)
		id := c.enqueue("x", tasks.Options{})
		require.NoError(t, receive(t, said))
		require.Equal(t, &tasks.Progress{Fraction: 0.25, Note: "a quarter"}, c.get(id).Progress)
		require.Equal(t, n.lease.Incarnation.String(), c.get(id).Node)
		n.kill(tasks.ErrEnding)
		require.NoError(t, <-n.ended)
		require.Equal(t, queue.Handed{On: 1}, n.settle(queue.Remains{Suspects: []string{id}}))
		release <- struct{}{}
		require.ErrorIs(t, receive(t, said), tasks.ErrFenced, "its task was handed on")
		require.ErrorContains(t, receive(t, said), "from 0 to 1")
		close(release)
		c.start(&r, 1)
		c.eventually("done", func() bool { return c.counts().Done == 1 })
		require.Zero(t, c.redis.Exists(t.Context(), c.keys.Progress()).Val())
	})
}

// cancelling is an error that is read once its run has ended.
type cancelling struct{ cancel func() }

func (c cancelling) Error() string {
	c.cancel()
	return "failed"
}

func TestACancellationThatComesAsTheRunEndsFindsNothing(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		nodes := make(chan *node, 1)
		tasks.Handle(&r, tasks.Definition{Name: "x", MaxAttempts: 1}, func(ctx context.Context, _ number) error {
			info := tasks.InfoOf(ctx)
			n := <-nodes
			return cancelling{func() { n.runner.Cancel(info.ID) }}
		})
		c := newCluster(t, cfg, &r)
		nodes <- c.start(&r, 1)
		c.enqueue("x", tasks.Options{})
		c.eventually("dead", func() bool { return c.counts().Dead == 1 })
	})
}

func TestAHandlerReturnsItsResult(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		kept := tasks.Definition{Name: "double", Retention: time.Minute, MaxAttempts: 1}
		tasks.HandleResult(&r, kept, func(_ context.Context, in number) (number, error) {
			if in.N < 0 {
				return number{1}, errors.New("negative")
			}
			return number{2 * in.N}, nil
		})
		tasks.Handle(&r, tasks.Definition{Name: "none", Retention: time.Minute}, func(context.Context, number) error { return nil })
		c := newCluster(t, cfg, &r)
		c.start(&r, 1)
		wait := func(name string, n int) (number, error) {
			receipt, err := c.tasks.Enqueue(t.Context(), name, number{n})
			require.NoError(t, err)
			return tasks.WaitFor[number](t.Context(), c.tasks, receipt.ID)
		}
		got, err := wait("double", 21)
		require.NoError(t, err)
		require.Equal(t, number{42}, got)
		got, err = wait("double", -1)
		require.ErrorIs(t, err, tasks.ErrDead)
		require.Zero(t, got)
		got, err = wait("none", 1)
		require.NoError(t, err)
		require.Zero(t, got, "its handler set none")
	})
}
