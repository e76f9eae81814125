package tasks_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
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
				close(release)
				c.number(4, tasks.Options{})
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
