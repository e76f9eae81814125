package tasks_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/internal/runner"
	"github.com/stellarfw/stellar/worker/tasks"
)

// lateness runs tasks that are due in a moment and tells how late each of them is.
func lateness(c *cluster, r *tasks.Registry) (enqueue func(queue string), late <-chan time.Duration) {
	ran := make(chan time.Duration, 1000)
	tasks.Handle(r, tasks.Definition{Name: "late"}, func(_ context.Context, due time.Time) error {
		ran <- time.Since(due)
		return nil
	})
	return func(queue string) {
		due := time.Now().Add(100 * time.Millisecond)
		_, err := c.tasks.EnqueueWith(c.t.Context(), "late", due, tasks.Options{Queue: queue, At: due})
		require.NoError(c.t, err)
	}, ran
}

func TestAnotherMoverTakesThePlaceOfOneThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r tasks.Registry
		c := newCluster(t, redistest.Embedded(t).Config(), &r)
		enqueue, late := lateness(c, &r)
		c.startWith(runner.Config{Registry: &r, Concurrency: 10, Queues: manyQueues(100)})
		for range 4 {
			c.startMover()
		}
		promise := func(until time.Duration) {
			text := fmt.Sprintf("%d|a process that has died", time.Now().Add(until).UnixMilli())
			require.NoError(t, c.redis.Set(t.Context(), c.keys.Mover(), text, 0).Err())
		}
		time.Sleep(10 * time.Second)
		enqueue("q1")
		require.Less(t, <-late, 5*time.Millisecond)
		for i, until := range []time.Duration{6 * time.Second, time.Second, time.Hour} {
			time.Sleep(time.Duration(i) * 700 * time.Millisecond)
			promise(until)
			enqueue("q2")
			require.Less(t, <-late, 1500*time.Millisecond)
			enqueue("q1")
			require.Less(t, <-late, 5*time.Millisecond, "the next is responsible")
		}
	})
}

func TestAMoverThatEndsHandsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r tasks.Registry
		c := newCluster(t, redistest.Embedded(t).Config(), &r)
		enqueue, late := lateness(c, &r)
		c.start(&r, 10)
		first := runner.NewMover(c.redis, c.keys, redistestLog(t))
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { _ = first.Serve(ctx); close(ended) }()
		synctest.Wait()
		for range 3 {
			c.startMover()
		}
		synctest.Wait()
		mine := c.redis.Get(t.Context(), c.keys.Mover()).Val()
		time.Sleep(2 * time.Second)
		enqueue("default")
		time.Sleep(50 * time.Millisecond)
		stop()
		<-ended
		require.Less(t, <-late, 5*time.Millisecond)
		require.NotEqual(t, mine, c.redis.Get(t.Context(), c.keys.Mover()).Val())
	})
}

// counting is a hook that counts scripts.
type counting struct{ n *atomic.Int64 }

func (counting) DialHook(next redis.DialHook) redis.DialHook { return next }

func (counting) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (c counting) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if strings.HasPrefix(cmd.Name(), "eval") {
			c.n.Add(1)
		}
		return next(ctx, cmd)
	}
}

func TestADelayedTaskIsLookedForByOneMover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r tasks.Registry
		c := newCluster(t, redistest.Embedded(t).Config(), &r)
		enqueue, late := lateness(c, &r)
		c.start(&r, 10)
		var scripts atomic.Int64
		plain := c.redis
		c.redis = redistest.Client(t, c.cfg)
		c.redis.AddHook(counting{&scripts})
		for range 16 {
			c.startMover()
		}
		c.redis = plain
		time.Sleep(10 * time.Second)
		scripts.Store(0)
		const n = 500
		for range n {
			enqueue("default")
			time.Sleep(4 * time.Millisecond)
		}
		for range n {
			require.Less(t, <-late, 8*time.Millisecond)
		}
		require.Less(t, scripts.Load(), int64(n*5/4), "of 16 movers")
		time.Sleep(10 * time.Second)
		scripts.Store(0)
		time.Sleep(time.Minute)
		require.LessOrEqual(t, scripts.Load(), int64(13+15*12), "at rest each looks every 5 s")
	})
}
