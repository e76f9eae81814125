package tasks_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
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

// total returns a counter in the cache.
func (c *cluster) total(name string) int {
	c.t.Helper()
	n, err := cache.Get[int](c.t.Context(), c.cache, name)
	if errors.Is(err, cache.ErrNotFound) {
		return 0
	}
	require.NoError(c.t, err)
	return n
}

// stepKeys returns the keys that hold steps.
func (c *cluster) stepKeys() []string {
	c.t.Helper()
	keys, err := c.redis.Keys(c.t.Context(), c.keys.StepBytes()+"*").Result()
	require.NoError(c.t, err)
	return keys
}

func once[T any](calls *atomic.Int64, value T) func(context.Context) (T, error) {
	return func(ctx context.Context) (T, error) {
		calls.Add(1)
		tasks.Tx(ctx).Increment("inside", 1)
		return value, nil
	}
}

// However often the handler runs, and wherever it ends, each step runs once and every effect
// counts once.
func TestWhatIsBeforeBetweenAndInStepsCountsOnce(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		var first, second, runs atomic.Int64
		reached := make(chan int64, 10)
		tasks.Handle(&r, tasks.Definition{Name: "t", Backoff: time.Millisecond}, func(ctx context.Context, _ number) error {
			n := runs.Add(1)
			pause := func(run int64) error {
				if n == run {
					reached <- run
					<-ctx.Done()
				}
				return ctx.Err()
			}
			tasks.Tx(ctx).Increment("before", 1)
			if err := pause(1); err != nil {
				return err
			}
			text, err := tasks.Step(ctx, "first", once(&first, "a"))
			if err != nil {
				return err
			}
			tasks.Tx(ctx).Increment("between", 1)
			tasks.Tx(ctx).EnqueueWith("t2", number{}, tasks.Options{AnyName: true, Queue: "elsewhere"})
			if err := pause(2); err != nil {
				return err
			}
			if n == 3 {
				return errors.New("after the first step")
			}
			count, err := tasks.Step(ctx, "second", once(&second, len(text)))
			if err != nil {
				return err
			}
			tasks.Tx(ctx).Increment("after", 1)
			if err := pause(4); err != nil {
				return err
			}
			if text != "a" || count != 1 {
				return fmt.Errorf("results %q, %d", text, count)
			}
			return nil
		})
		c, heard := newCluster(t, cfg, &r), &tally{}
		c.tasks.Observe(heard)
		c.startMover()
		n := c.start(&r, 1)
		c.enqueue("t", tasks.Options{})
		for _, run := range []int64{1, 2} {
			require.Equal(t, run, receive(t, reached))
			n.crash(false)
			n = c.start(&r, 1)
		}
		require.EqualValues(t, 4, receive(t, reached))
		require.Len(t, c.stepKeys(), 2)
		n.crash(false)
		c.start(&r, 1)
		c.eventually("done", func() bool { return c.counts().Done == 1 })
		require.EqualValues(t, 5, runs.Load())
		require.EqualValues(t, 1, first.Load())
		require.EqualValues(t, 1, second.Load())
		require.Equal(t, []int{2, 4, 0}, []int{heard.of("step run"), heard.of("step skipped"), heard.of("step failed")})
		require.Equal(t, []int{1, 2, 1, 1}, []int{c.total("before"), c.total("inside"), c.total("between"), c.total("after")})
		require.Len(t, c.list(tasks.Filter{Queue: "elsewhere"}), 1)
		require.Empty(t, c.stepKeys(), "they end with the task")
	})
}

func TestACheckpointIsWhereATaskGoesOn(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		var runs, rows atomic.Int64
		reached := make(chan struct{}, 10)
		tasks.Handle(&r, tasks.Definition{Name: "t"}, func(ctx context.Context, _ number) error {
			stop := int(runs.Add(1)) * 3
			tasks.Tx(ctx).Increment("began", 1) // dropped where a state is found
			var at struct{ Row int }
			if _, err := tasks.Restore(ctx, &at); err != nil {
				return err
			}
			for ; at.Row < 10; at.Row++ {
				if at.Row == stop {
					reached <- struct{}{}
					<-ctx.Done()
					return ctx.Err()
				}
				rows.Add(1)
				tasks.Tx(ctx).Increment("rows", 1)
				next := at
				next.Row++
				if err := tasks.Checkpoint(ctx, next); err != nil {
					return err
				}
			}
			return nil
		})
		c := newCluster(t, cfg, &r)
		n := c.start(&r, 1)
		c.enqueue("t", tasks.Options{})
		for range 3 {
			receive(t, reached)
			n.crash(false)
			n = c.start(&r, 1)
		}
		c.eventually("done", func() bool { return c.counts().Done == 1 })
		require.EqualValues(t, 10, rows.Load())
		require.Equal(t, 10, c.total("rows"))
		require.Equal(t, 1, c.total("began"))
		require.Empty(t, c.stepKeys())
	})
}

func TestASleepTakesNoSlotAndGoesOnInTimeOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r tasks.Registry
		at := make(chan time.Time, 10)
		tasks.Handle(&r, tasks.Definition{Name: "t", MaxAttempts: 1}, func(ctx context.Context, _ number) error {
			at <- time.Now()
			tasks.Tx(ctx).Increment("effects", 1)
			if err := tasks.Sleep(ctx, "cool down", time.Hour); err != nil {
				return fmt.Errorf("wrapped: %w", err)
			}
			tasks.Tx(ctx).Increment("effects", 1)
			return tasks.Sleep(ctx, "none", -time.Hour) // until a time that has passed
		})
		tasks.Handle(&r, tasks.Definition{Name: "restless", MaxAttempts: 1}, func(ctx context.Context, _ number) error {
			_ = tasks.Sleep(ctx, "s", time.Hour)
			return nil
		})
		c := newCluster(t, redistest.Embedded(t).Config(), &r)
		c.startMover()
		c.start(&r, 1)
		c.enqueue("t", tasks.Options{})
		first := <-at
		time.Sleep(time.Minute)
		require.Equal(t, 1, c.total("effects"), "they are committed when it falls asleep")
		restless := c.enqueue("restless", tasks.Options{}) // on the only slot
		time.Sleep(time.Minute)
		dead := c.get(restless)
		require.Equal(t, tasks.Dead, dead.State)
		require.Contains(t, dead.Reason.Error, "return its error")
		second := <-at
		require.InDelta(t, time.Hour.Seconds(), second.Sub(first).Seconds(), 0.1)
		synctest.Wait()
		require.Empty(t, at, "a sleep of no time does not end the run")
		require.Equal(t, 2, c.total("effects"))
		require.EqualValues(t, 1, c.counts().Done)
		require.NoError(t, c.inspector.Delete(t.Context(), restless))
		require.Empty(t, c.stepKeys())
	})
}

func TestAStepOfARunThatWasTakenOverIsRefused(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		var runs atomic.Int64
		started, goOn, late := make(chan struct{}, 10), make(chan struct{}), make(chan error, 10)
		tasks.Handle(&r, tasks.Definition{Name: "t"}, func(ctx context.Context, _ number) error {
			first := runs.Add(1) == 1
			started <- struct{}{}
			<-goOn
			tasks.Tx(ctx).Increment("effects", 1)
			_, err := tasks.Step(context.WithoutCancel(ctx), "s", func(context.Context) (bool, error) { return first, nil })
			if first {
				late <- err
				late <- tasks.Checkpoint(context.WithoutCancel(ctx), 1)
			}
			return err
		})
		c := newCluster(t, cfg, &r)
		c.enqueue("t", tasks.Options{})
		zombie := c.start(&r, 1)
		receive(t, started)
		zombie.kill(tasks.ErrEnding)
		require.NoError(t, <-zombie.ended)
		require.Equal(t, 1, zombie.settle(queue.Remains{}).On)
		c.start(&r, 1)
		receive(t, started)
		close(goOn)
		require.ErrorIs(t, receive(t, late), tasks.ErrFenced)
		require.ErrorIs(t, receive(t, late), tasks.ErrFenced)
		c.eventually("done", func() bool { return c.counts().Done == 1 })
		require.Equal(t, 1, c.total("effects"))
		require.Empty(t, c.stepKeys())
	})
}

func TestLostRepliesRunNoStepsEffectsTwice(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		const steps = 30
		var r tasks.Registry
		dial := dialer(cfg)
		cable := &redistest.Cable{To: func(ctx context.Context) (net.Conn, error) { return dial(ctx) }}
		tasks.Handle(&r, tasks.Definition{Name: "t"}, func(ctx context.Context, _ number) error {
			for i := range steps {
				n, err := tasks.Step(ctx, fmt.Sprint(i), func(ctx context.Context) (int, error) {
					tasks.Tx(ctx).Increment("effects", 1)
					tasks.Tx(ctx).EnqueueWith("followup", strings.Repeat("x", 1+i%2*10_000), tasks.Options{AnyName: true, Queue: "elsewhere"})
					cable.LoseAnswers(1 + i%2)
					return i, nil
				})
				if err != nil || n != i {
					return fmt.Errorf("step %d: %d, %w", i, n, err)
				}
			}
			for i := range steps {
				tasks.Tx(ctx).Increment("effects", 1)
				cable.LoseAnswers(1 + i%2)
				if err := tasks.Checkpoint(ctx, i); err != nil {
					return err
				}
			}
			cable.LoseAnswers(0)
			return nil
		})
		c := newCluster(t, link.Config{Dial: cable.Dial}, &r)
		c.start(&r, 1)
		c.enqueue("t", tasks.Options{})
		c.eventually("done", func() bool {
			n, err := c.inspector.Counts(t.Context())
			return err == nil && n.Done == 1
		})
		require.Equal(t, 2*steps, c.total("effects"))
		require.Len(t, c.list(tasks.Filter{Queue: "elsewhere"}), steps)
	})
}
