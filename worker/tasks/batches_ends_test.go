package tasks_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/internal/queue"
	"github.com/stellarfw/stellar/worker/tasks"
)

// errDown is the error of a task that another system refused.
var errDown = errors.New("the other side is down")

func TestTasksOfABatchThatFailGoTheirOwnWay(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		calls := batched(&r, tasks.Batch{Max: 6, Wait: time.Millisecond}, func(_ context.Context, in []int) error {
			if len(in) < 5 {
				return nil
			}
			return fmt.Errorf("wrapped: %w", tasks.BatchError{0: errDown, 1: tasks.Discard(errDown), 2: tasks.Snooze(time.Hour), 3: tasks.RetryAfter(errDown, time.Hour), 4: nil})
		})
		c := newCluster(t, cfg, &r)
		seen := &tally{}
		c.observer = seen
		c.tasks.Observe(seen)
		ids := c.numbers(5)
		bad := c.number("no number", tasks.Options{MaxAttempts: 1})
		c.start(&r, 1)
		first := receive(t, calls)
		require.Equal(t, []int{1, 2, 3, 4, 5}, first.in)
		require.Equal(t, ids, membersOf(first.info), "without that whose payload does not fit")
		c.eventually("all have ended", func() bool { n := c.counts(); return n.Done == 1 && n.Dead == 2 && n.Delayed == 3 })
		require.Equal(t, 1, c.total("calls"), "it counts once")
		require.Equal(t, 15, c.total("sum"))
		require.ErrorContains(t, errors.New(c.get(bad).Reason.Error), "payload does not fit int")
		require.Equal(t, "discarded", c.get(ids[1]).Reason.Reason)
		require.Equal(t, []int{1, 0, 1}, []int{c.get(ids[0]).Attempts, c.get(ids[2]).Attempts, c.get(ids[3]).Attempts})
		require.Equal(t, errDown.Error(), c.get(ids[0]).History[0].Error)
		c.startMover()
		require.Equal(t, []int{1}, receive(t, calls).in)
		c.eventually("the first one is done", func() bool { return c.counts().Done == 2 })
		c.heardAll(seen)
		c.conserved()
	})
}

func TestABatchThatFailsFailsAsAWhole(t *testing.T) {
	for name, fail := range map[string]func(ctx context.Context) error{
		"error":        func(context.Context) error { return errDown },
		"panic":        func(context.Context) error { panic(errDown) },
		"joined":       func(context.Context) error { return errors.Join(tasks.BatchError{0: errDown}, errDown) },
		"out of range": func(context.Context) error { return tasks.BatchError{3: errDown} },
		"a goroutine": func(ctx context.Context) error {
			tasks.Go(ctx, func(context.Context) error { return errDown })
			return nil
		},
		"transaction":   func(ctx context.Context) error { tasks.Tx(ctx).Save("x", func() {}, 0); return nil },
		"refused":       func(ctx context.Context) error { tasks.Tx(ctx).Push("a number", 1); return nil },
		"result":        func(ctx context.Context) error { tasks.Tx(ctx).Result(1); return nil },
		"step":          func(ctx context.Context) error { return tasks.Checkpoint(ctx, 1) },
		"ignored sleep": func(ctx context.Context) error { _ = tasks.Sleep(ctx, "s", time.Hour); return nil },
		"progress":      func(ctx context.Context) error { return tasks.SetProgress(ctx, 0.5, "") },
	} {
		t.Run(name, func(t *testing.T) {
			redistest.Each(t, func(t *testing.T, cfg link.Config) {
				var r tasks.Registry
				calls := batched(&r, tasks.Batch{Max: 3, Wait: time.Minute}, func(ctx context.Context, _ []int) error { return fail(ctx) })
				c := newCluster(t, cfg, &r)
				seen := &tally{}
				c.observer = seen
				c.tasks.Observe(seen)
				require.NoError(t, c.cache.Save(t.Context(), "a number", 1, 0))
				ids := c.numbers(3)
				c.start(&r, 1)
				require.Len(t, receive(t, calls).in, 3)
				c.eventually("all wait for another attempt", func() bool { return c.counts().Delayed == 3 })
				require.Zero(t, c.total("sum"))
				for _, id := range ids {
					task := c.get(id)
					require.Equal(t, 1, task.Attempts)
					require.NotEmpty(t, task.History[0].Error)
				}
				c.heardAll(seen)
			})
		})
	}
}

func TestABatchOfWhichOneWasCancelledCommitsNothing(t *testing.T) {
	for name, stops := range map[string]bool{"the handler goes on": false, "the handler stops": true} {
		t.Run(name, func(t *testing.T) {
			redistest.Each(t, func(t *testing.T, cfg link.Config) {
				var r tasks.Registry
				var runs atomic.Int64
				goOn := make(chan struct{})
				calls := batched(&r, tasks.Batch{Max: 4, Wait: 10 * time.Millisecond}, func(ctx context.Context, _ []int) error {
					if runs.Add(1) > 1 {
						return nil
					}
					<-goOn
					if <-ctx.Done(); stops {
						return context.Cause(ctx)
					}
					return tasks.BatchError{0: errDown}
				})
				c := newCluster(t, cfg, &r)
				seen := &tally{}
				c.observer = seen
				c.tasks.Observe(seen)
				c.startMover()
				ids := c.numbers(4)
				c.start(&r, 1)
				receive(t, calls)
				_, err := c.inspector.Cancel(t.Context(), ids[2], "")
				require.NoError(t, err)
				close(goOn)
				c.eventually("the others are done", func() bool { n := c.counts(); return n.Done == 3 && n.Cancelled == 1 })
				require.Equal(t, 7, c.total("sum"))
				require.Equal(t, ids[2], c.list(tasks.Filter{States: []tasks.State{tasks.Cancelled}})[0])
				ever, err := c.inspector.Queues(t.Context())
				require.NoError(t, err)
				failed := int64(0)
				if !stops {
					failed = 1
				}
				require.Equal(t, failed, ever[0].Ever.Failed, "those that only went back with it count nothing")
				c.heardAll(seen)
				c.conserved()
			})
		})
	}
}

// The others of a batch are not to blame for the deadline of one.
func TestABatchEndsAtItsEarliestDeadlineOnVirtualTime(t *testing.T) {
	for name, o := range map[string]tasks.Options{"deadline": {Deadline: time.Time{}.Add(time.Hour)}, "timeout": {Timeout: time.Minute}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var r tasks.Registry
				var runs atomic.Int64
				calls := batched(&r, tasks.Batch{Max: 3}, func(ctx context.Context, _ []int) error {
					if runs.Add(1) > 1 {
						return nil
					}
					<-ctx.Done()
					return context.Cause(ctx)
				})
				c := newCluster(t, redistest.Embedded(t).Config(), &r)
				c.startMover()
				if !o.Deadline.IsZero() {
					o.Deadline = time.Now().Add(time.Minute)
				}
				ids := []string{c.number(1, tasks.Options{Timeout: time.Hour}), c.number(2, o), c.number(3, tasks.Options{Deadline: time.Now().Add(time.Hour)})}
				began := time.Now()
				c.start(&r, 1)
				require.Len(t, receive(t, calls).in, 3)
				time.Sleep(2*time.Minute - time.Since(began))
				synctest.Wait()
				require.GreaterOrEqual(t, c.counts().Done, int64(2))
				if o.Timeout > 0 {
					require.EqualValues(t, 3, c.counts().Failed)
					return
				}
				require.Equal(t, tasks.Dead, c.get(ids[1]).State)
				require.Equal(t, "deadline", c.get(ids[1]).Reason.Reason)
				require.Zero(t, c.counts().Failed)
			})
		})
	}
}

func TestABatchThatRanInACrashIsSuspectAndSuspectsRunAlone(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		var crashes atomic.Bool
		crashes.Store(true)
		calls := batched(&r, tasks.Batch{Max: 3, Wait: 5 * time.Millisecond}, func(ctx context.Context, _ []int) error {
			if crashes.Load() {
				<-ctx.Done()
			}
			return nil
		})
		c := newCluster(t, cfg, &r)
		ids := c.numbers(3)
		for i := range queue.QuarantineAfter - 1 {
			n := c.start(&r, 1)
			require.Len(t, receive(t, calls).in, 3)
			require.Equal(t, 3, n.crash(true).On)
			require.Equal(t, i+1, c.get(ids[0]).Crashes)
		}
		crashes.Store(false)
		c.startMover()
		c.start(&r, 3)
		c.eventually("done", func() bool { return c.counts().Done == 3 })
		require.Equal(t, []int{1, 1, 1}, sizes(all(calls)))
		require.Equal(t, 6, c.total("sum"))
	})
}

func TestALateCommitOfABatchCountsNothing(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		var runs atomic.Int64
		goOn := make(chan struct{})
		calls := batched(&r, tasks.Batch{Max: 3, Wait: time.Minute}, func(context.Context, []int) error {
			if runs.Add(1) == 1 {
				<-goOn
			}
			return nil
		})
		c := newCluster(t, cfg, &r)
		c.numbers(3)
		n := c.start(&r, 1)
		receive(t, calls)
		n.kill(tasks.ErrEnding)
		require.NoError(t, <-n.ended)
		require.Equal(t, 3, n.settle(queue.Remains{}).On)
		c.start(&r, 1)
		receive(t, calls)
		close(goOn)
		c.eventually("done", func() bool { return c.counts().Done == 3 })
		require.Equal(t, 6, c.total("sum"))
		c.conserved()
	})
}
