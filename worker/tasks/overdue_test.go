package tasks_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/internal/runner"
	"github.com/stellarfw/stellar/worker/tasks"
)

// deafHandler is a handler that ignores its context. A stack must show its name.
func deafHandler(ctx context.Context, started chan<- struct{}, release <-chan struct{}) error {
	if tasks.InfoOf(ctx).Attempt == 1 {
		return context.Canceled
	}
	started <- struct{}{}
	<-release
	return nil
}

func TestAHandlerPastItsTimeoutIsSeen(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		held, started := make(chan struct{}), make(chan struct{}, 2)
		release := sync.OnceFunc(func() { close(held) })
		tasks.Handle(&r, tasks.Definition{Name: "deaf", Backoff: time.Millisecond}, func(ctx context.Context, _ number) error {
			return deafHandler(ctx, started, held)
		})
		c := newCluster(t, cfg, &r)
		var seen tally
		var log notes
		c.observer, c.log = &seen, &log
		c.startMover()
		n := c.startWith(runner.Config{Registry: &r, Concurrency: 2, Grace: 100 * time.Millisecond})
		t.Cleanup(release) // the node waits for its handlers, also after a failure
		timed := c.enqueue("deaf", tasks.Options{Timeout: time.Millisecond, MaxAttempts: 5})
		receive(t, started)
		c.eventually("it is said", func() bool { return len(log.about("goes on although its context has ended", timed)) == 1 })
		line := log.about("goes on although its context has ended")[0]
		require.Contains(t, line, "task timeout of 1ms")
		require.Contains(t, line, `"attempt":2`)
		require.Contains(t, line, "tasks_test.deafHandler", "the stack of the handler")
		require.Equal(t, 1, n.runner.Overdue())

		cancelled := c.enqueue("deaf", tasks.Options{})
		receive(t, started)
		_, err := c.inspector.Cancel(t.Context(), cancelled, "test")
		require.NoError(t, err)
		c.eventually("it is said of a cancelled task", func() bool { return len(log.about("goes on although", cancelled, "task was cancelled")) == 1 })
		require.NotContains(t, log.about("goes on although", cancelled)[0], "stack", "stacks are long: one a minute for each name")
		require.Equal(t, 2, n.runner.Overdue())
		require.Equal(t, 2, seen.of("overdue"))
		require.Equal(t, "attempt 2", c.get(cancelled).Run.String()[:9])
		require.NoError(t, runner.NewPublisher(c.redis, c.keys, &r, "v1", redistestLog(t)).Publish(t.Context()))
		require.Contains(t, c.get(cancelled).Run.String(), "attempt 2 of 25, since ", "as its definition says")

		task := c.get(timed)
		require.Equal(t, tasks.Run{Since: task.Run.Since, Attempt: 2, MaxAttempts: 5, Timeout: 1}, *task.Run)
		require.WithinDuration(t, task.Enqueued, task.Run.Since, time.Minute)
		require.Contains(t, task.Run.String(), "attempt 2 of 5, since "+task.Run.Since.UTC().Format(time.RFC3339)+", timeout 1ms")
		require.Eventually(t, func() bool {
			e, err := c.inspector.Explain(t.Context(), timed)
			require.NoError(t, err)
			return strings.Contains(fmt.Sprint(e.Why), "its handler should have returned ")
		}, time.Minute, 20*time.Millisecond)

		release()
		c.eventually("both have ended", func() bool { return n.runner.Overdue() == 0 && c.counts().Done == 2 })
		c.eventually("it is said of both", func() bool { return len(log.about("the handler that was overdue has returned")) == 2 })
	})
}

func TestAHandlerThatReturnsInTimeIsNotOverdue(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		tasks.Handle(&r, tasks.Definition{Name: "obeys", Timeout: time.Millisecond, MaxAttempts: 1}, func(ctx context.Context, _ number) error {
			<-ctx.Done()
			return context.Cause(ctx)
		})
		c := newCluster(t, cfg, &r)
		var log notes
		c.log = &log
		n := c.startWith(runner.Config{Registry: &r, Concurrency: 1, Grace: time.Hour})
		id := c.enqueue("obeys", tasks.Options{})
		c.eventually("dead", func() bool { return c.get(id).State == tasks.Dead })
		require.Zero(t, n.runner.Overdue())
		require.Empty(t, log.about("goes on although"))
	})
}
