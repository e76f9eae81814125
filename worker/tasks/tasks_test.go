package tasks_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/internal/runner"
	"github.com/stellarfw/stellar/worker/tasks"
)

type number struct{ N int }

func TestEveryTaskRunsOnceAndItsEffectsAreThere(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		const n = 1000
		var mu sync.Mutex
		runs := map[int]int{}
		var r tasks.Registry
		tasks.Handle(&r, tasks.Definition{Name: "add"}, func(ctx context.Context, in number) error {
			mu.Lock()
			runs[in.N]++
			mu.Unlock()
			tasks.Tx(ctx).Increment("sum", int64(in.N))
			return nil
		})
		c := newCluster(t, cfg, &r)
		news := make([]tasks.Request, n)
		for i := range news {
			news[i] = tasks.Request{Name: "add", Payload: number{i}}
		}
		receipts, err := c.tasks.EnqueueMany(t.Context(), news)
		require.NoError(t, err)
		require.Len(t, receipts, n)
		nodes := []*node{c.start(&r, 10), c.start(&r, 10), c.start(&r, 10)}
		c.eventually("all done", func() bool { return c.counts().Done == n })
		for _, node := range nodes {
			require.Zero(t, node.stop())
		}
		require.Len(t, runs, n)
		for i, times := range runs {
			require.Equal(t, 1, times, "task %d", i)
		}
		sum, err := cache.Get[int64](t.Context(), c.cache, "sum")
		require.NoError(t, err)
		require.EqualValues(t, n*(n-1)/2, sum)
		c.onlyTheWorkIsLeft()
	})
}

// onlyTheWorkIsLeft checks that ended nodes left nothing but counters behind.
func (c *cluster) onlyTheWorkIsLeft() {
	c.t.Helper()
	k := c.keys
	for _, key := range c.redis.Keys(c.t.Context(), k.Prefix()+"*").Val() {
		switch {
		case strings.HasPrefix(key, k.CachePrefix()), key == k.Prefix()+"clock":
		case strings.HasPrefix(key, k.Producer("")): // the cluster's client is still open
		case key == k.Layout(), key == k.Epoch(), key == k.Stats(), key == k.Queues(), key == k.Ready(), key == k.Tries():
		default:
			c.t.Errorf("left behind: %s", key)
		}
	}
}

func TestIdleNodeIsWokenByATask(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		ran := make(chan int)
		var r tasks.Registry
		tasks.Handle(&r, tasks.Definition{Name: "n"}, func(_ context.Context, in number) error { ran <- in.N; return nil })
		c := newCluster(t, cfg, &r)
		c.start(&r, 2)
		for i := range 20 {
			c.eventually("idle", func() bool { return c.redis.SCard(t.Context(), c.keys.Idle("default")).Val() == 1 })
			sent := time.Now()
			_, err := c.tasks.Enqueue(t.Context(), "n", number{i})
			require.NoError(t, err)
			require.Equal(t, i, receive(t, ran))
			require.Less(t, time.Since(sent), 2*time.Second, "the node was not woken: it looked by itself")
		}
	})
}

func TestFailedRunsAreTriedAgainThenDead(t *testing.T) {
	boom := errors.New("boom")
	for name, fail := range map[string]func() error{
		"error":  func() error { return boom },
		"panic":  func() error { panic(boom) },
		"goexit": func() error { runtime.Goexit(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			redistest.Each(t, func(t *testing.T, cfg link.Config) {
				attempts := make(chan int, 10)
				var r tasks.Registry
				tasks.Handle(&r, tasks.Definition{Name: "fail", MaxAttempts: 3, Backoff: time.Millisecond}, func(ctx context.Context, _ number) error {
					require.True(t, tasks.InTask(ctx))
					info := tasks.InfoOf(ctx)
					tasks.Tx(ctx).Save("never", true, 0)
					attempts <- info.Attempt
					return fail()
				})
				c := newCluster(t, cfg, &r)
				mover := c.startMover()
				c.start(&r, 1)
				receipt, err := c.tasks.Enqueue(t.Context(), "fail", number{})
				require.NoError(t, err)
				for want := 1; want <= 3; want++ {
					require.Equal(t, want, receive(t, attempts))
					mover()
				}
				_, err = c.tasks.Wait(t.Context(), receipt.ID)
				require.ErrorIs(t, err, tasks.ErrDead)
				_, err = c.cache.Load(t.Context(), "never")
				require.ErrorIs(t, err, cache.ErrNotFound, "a failed run has no effects")
				n := c.counts()
				require.Equal(t, tasks.Counts{Dead: 1, Failed: 2}, n)
			})
		})
	}
}

// startMover runs a mover; the returned function makes it look.
func (c *cluster) startMover() func() {
	log := redistestLog(c.t)
	if c.log != nil {
		log = zerolog.New(c.log)
	}
	m := runner.NewMover(c.redis, c.keys, log)
	m.OnCancel, m.Observer = c.cancel, c.observer
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	sub := c.redis.Subscribe(c.t.Context(), c.keys.Due(), c.keys.Look())
	_, err := sub.Receive(c.t.Context())
	require.NoError(c.t, err)
	go func() {
		for message := range sub.Channel() {
			if message.Channel == c.keys.Due() {
				m.Hint()
			} else {
				m.Look()
			}
		}
	}()
	go func() { _ = m.Serve(ctx); close(done) }()
	c.t.Cleanup(func() { cancel(); <-done; _ = sub.Close() })
	return m.Look
}

func TestADiscardedTaskIsDeadAtOnce(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		tasks.Handle(&r, tasks.Definition{Name: "discard"}, func(context.Context, number) error { return tasks.Discard(errors.New("no use")) })
		c := newCluster(t, cfg, &r)
		c.start(&r, 2)
		a, err := c.tasks.Enqueue(t.Context(), "discard", number{})
		require.NoError(t, err)
		_, err = c.tasks.Wait(t.Context(), a.ID)
		require.ErrorContains(t, err, "no use")
		require.ErrorIs(t, err, tasks.ErrDead)
	})
}

func TestAnIDIsAcceptedOnce(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		ran := make(chan string, 10)
		var r tasks.Registry
		tasks.Handle(&r, tasks.Definition{Name: "once"}, func(ctx context.Context, _ number) error {
			info := tasks.InfoOf(ctx)
			ran <- info.ID
			return nil
		})
		c := newCluster(t, cfg, &r)
		o := tasks.Options{ID: "order:17"}
		first, err := c.tasks.EnqueueWith(t.Context(), "once", number{}, o)
		require.NoError(t, err)
		require.Equal(t, tasks.Receipt{ID: "order:17"}, first)
		second, err := c.tasks.EnqueueWith(t.Context(), "once", number{}, o)
		require.NoError(t, err)
		require.True(t, second.Duplicate, "while it is queued")
		c.start(&r, 2)
		require.Equal(t, "order:17", receive(t, ran))
		_, err = c.tasks.Wait(t.Context(), "order:17")
		require.NoError(t, err)
		third, err := c.tasks.EnqueueWith(t.Context(), "once", number{}, o)
		require.NoError(t, err)
		require.True(t, third.Duplicate, "after it is done")
		require.EqualValues(t, 1, c.counts().Done)
		require.Empty(t, ran)
	})
}

func TestResultIsKeptForItsRetention(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		tasks.Handle(&r, tasks.Definition{Name: "twice", Retention: time.Hour}, func(ctx context.Context, in number) error {
			tasks.Tx(ctx).Result(2 * in.N)
			return nil
		})
		c := newCluster(t, cfg, &r)
		c.start(&r, 1)
		receipt, err := c.tasks.Enqueue(t.Context(), "twice", number{21})
		require.NoError(t, err)
		result, err := c.tasks.Wait(t.Context(), receipt.ID)
		require.NoError(t, err)
		require.JSONEq(t, "42", string(result))
		_, _, err = c.tasks.Result(t.Context(), "nobody")
		require.ErrorIs(t, err, tasks.ErrNotFound)
	})
}

func TestTransactionAppliesAllOrNothing(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		tasks.Handle(&r, tasks.Definition{Name: "all", Retention: time.Hour}, func(ctx context.Context, in number) error {
			tx := tasks.Tx(ctx)
			tx.Save("saved", in, time.Hour)
			tx.Increment("count", 2)
			tx.Push("list", "item")
			tx.Destroy("old")
			tx.Enqueue("next", in)
			tx.Publish("happened", in)
			return nil
		})
		tasks.Handle(&r, tasks.Definition{Name: "refused", MaxAttempts: 1}, func(ctx context.Context, _ number) error {
			tx := tasks.Tx(ctx)
			tx.Save("never", 1, 0)
			tx.Increment("list", 1) // a list is no number
			return nil
		})
		tasks.Handle(&r, tasks.Definition{Name: "bad", MaxAttempts: 1}, func(ctx context.Context, _ number) error {
			tasks.Tx(ctx).Save("never", make(chan int), 0)
			return nil
		})
		c := newCluster(t, cfg, &r)
		require.NoError(t, c.cache.Save(t.Context(), "old", 1, 0))
		sub := c.redis.Subscribe(t.Context(), c.keys.Channel())
		t.Cleanup(func() { _ = sub.Close() })
		_, err := sub.Receive(t.Context())
		require.NoError(t, err)
		next := make(chan int, 1)
		tasks.Handle(&r, tasks.Definition{Name: "next"}, func(_ context.Context, in number) error { next <- in.N; return nil })
		c.start(&r, 4)

		receipt, err := c.tasks.Enqueue(t.Context(), "all", number{7})
		require.NoError(t, err)
		_, err = c.tasks.Wait(t.Context(), receipt.ID)
		require.NoError(t, err)
		saved, err := cache.Get[number](t.Context(), c.cache, "saved")
		require.NoError(t, err)
		require.Equal(t, number{7}, saved)
		count, err := cache.Get[int](t.Context(), c.cache, "count")
		require.NoError(t, err)
		require.Equal(t, 2, count)
		_, err = c.cache.Load(t.Context(), "old")
		require.ErrorIs(t, err, cache.ErrNotFound)
		require.EqualValues(t, 1, c.redis.LLen(t.Context(), c.keys.Cache("list")).Val())
		require.Equal(t, 7, receive(t, next))
		m, err := sub.ReceiveMessage(t.Context())
		require.NoError(t, err)
		require.Contains(t, m.Payload, "happened")

		for _, name := range []string{"refused", "bad"} {
			receipt, err = c.tasks.Enqueue(t.Context(), name, number{})
			require.NoError(t, err)
			_, err = c.tasks.Wait(t.Context(), receipt.ID)
			require.ErrorIs(t, err, tasks.ErrDead, name)
		}
		_, err = c.cache.Load(t.Context(), "never")
		require.ErrorIs(t, err, cache.ErrNotFound)
	})
}

func TestTaskWithoutHandlerWaitsForANodeThatHasOne(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var without, with tasks.Registry
		tasks.Handle(&without, tasks.Definition{Name: "common"}, func(context.Context, number) error { return nil })
		ran := make(chan int, 10)
		tasks.Handle(&with, tasks.Definition{Name: "rare"}, func(_ context.Context, in number) error { ran <- in.N; return nil })
		c := newCluster(t, cfg, &without)
		c.start(&without, 2)
		for i := range 3 {
			_, err := c.tasks.Enqueue(t.Context(), "rare", number{i})
			require.NoError(t, err)
		}
		c.eventually("parked", func() bool { return c.redis.LLen(t.Context(), c.keys.Parked("default", "rare")).Val() == 3 })
		require.EqualValues(t, 3, c.counts().Pending)
		c.start(&with, 2)
		seen := map[int]bool{}
		for range 3 {
			seen[receive(t, ran)] = true
		}
		require.Len(t, seen, 3)
		c.eventually("nothing parked", func() bool { return c.redis.Exists(t.Context(), c.keys.ParkedLists()).Val() == 0 })

		// And with both there, whoever claims it.
		for i := range 20 {
			_, err := c.tasks.Enqueue(t.Context(), "rare", number{i})
			require.NoError(t, err)
			require.Equal(t, i, receive(t, ran))
		}
	})
}

func TestBadInputIsRefusedBeforeAnythingIsStored(t *testing.T) {
	cfg := redistest.Embedded(t).Config()
	var r tasks.Registry
	c := newCluster(t, cfg, &r)
	for name, call := range map[string]func() error{
		"task name": func() error { _, err := c.tasks.Enqueue(t.Context(), "no spaces", 1); return err },
		"newline":   func() error { _, err := c.tasks.Enqueue(t.Context(), "a\nb", 1); return err },
		"queue": func() error {
			_, err := c.tasks.EnqueueWith(t.Context(), "a", 1, tasks.Options{Queue: "a|b"})
			return err
		},
		"id":      func() error { _, err := c.tasks.EnqueueWith(t.Context(), "a", 1, tasks.Options{ID: "{}"}); return err },
		"payload": func() error { _, err := c.tasks.Enqueue(t.Context(), "a", make(chan int)); return err },
		"raw":     func() error { _, err := c.tasks.Enqueue(t.Context(), "a", json.RawMessage(`{`)); return err },
		"size": func() error {
			_, err := c.tasks.Enqueue(t.Context(), "a", strings.Repeat("x", tasks.MaxPayload))
			return err
		},
		"both times": func() error {
			_, err := c.tasks.EnqueueWith(t.Context(), "a", 1, tasks.Options{In: 1, At: time.Now()})
			return err
		},
		"negative": func() error {
			_, err := c.tasks.EnqueueWith(t.Context(), "a", 1, tasks.Options{MaxAttempts: -1})
			return err
		},
	} {
		require.Error(t, call(), name)
	}
	require.Zero(t, c.redis.DBSize(t.Context()).Val())

	tasks.Handle(&r, tasks.Definition{Name: "ok"}, func(context.Context, number) error { return nil })
	tasks.Handle(&r, tasks.Definition{Name: "ok"}, func(context.Context, number) error { return nil })
	tasks.Handle(&r, tasks.Definition{Name: "", MaxAttempts: -1}, func(context.Context, number) error { return nil })
	require.ErrorContains(t, r.Err(), "registered twice")
	require.ErrorContains(t, r.Err(), "negative")
}

func TestPayloadBytesAreUntouched(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		got := make(chan json.RawMessage, 1)
		var r tasks.Registry
		r.RegisterTask(tasks.Definition{Name: "raw"}, func(_ context.Context, p json.RawMessage) error { got <- p; return nil })
		c := newCluster(t, cfg, &r)
		c.start(&r, 1)
		for _, payload := range []string{`{"a" : 1.0, "a":2,` + "\n" + `"<&>":" "}`, `12345678901234567890.10`, `"` + strings.Repeat("x", 1<<20) + `"`} {
			_, err := c.tasks.Enqueue(t.Context(), "raw", json.RawMessage(payload))
			require.NoError(t, err)
			require.Equal(t, payload, string(receive(t, got)))
		}
	})
}

func TestOutsideATaskIsAMistakeInTheProgram(t *testing.T) {
	for name, call := range map[string]func(ctx context.Context){
		"Tx":          func(ctx context.Context) { tasks.Tx(ctx) },
		"InfoOf":      func(ctx context.Context) { tasks.InfoOf(ctx) },
		"Go":          func(ctx context.Context) { tasks.Go(ctx, func(context.Context) error { return nil }) },
		"SetProgress": func(ctx context.Context) { _ = tasks.SetProgress(ctx, 1, "") },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				err, _ := recover().(error)
				require.ErrorIs(t, err, tasks.ErrNoTask)
				require.ErrorContains(t, err, "tasks."+name+": not in a task: use the context that the handler was given")
			}()
			call(t.Context())
		})
	}
	require.False(t, tasks.InTask(t.Context()))
}

func ExampleHandle() {
	var app tasks.Registry
	type welcome struct{ To string }
	tasks.Handle(&app, tasks.Definition{Name: "email.welcome", Queue: "mail", MaxAttempts: 5},
		func(ctx context.Context, in welcome) error {
			tx := tasks.Tx(ctx) // commits with the task, exactly once, or not at all
			tx.Save("welcomed:"+in.To, true, time.Hour)
			tx.Enqueue("email.followup", in)
			return nil
		})
	fmt.Println(app.Names(), app.Queues(), app.Err())
	// Output: [email.welcome] [default mail] <nil>
}
