package tasks_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/internal/queue"
	"github.com/stellarfw/stellar/worker/tasks"
)

// quick registers a task that does nothing.
func quick(r *tasks.Registry) {
	tasks.Handle(r, tasks.Definition{Name: "quick"}, func(context.Context, number) error { return nil })
}

func (c *cluster) enqueueQuick(n int) {
	c.t.Helper()
	news := make([]tasks.Request, n)
	for i := range news {
		news[i] = tasks.Request{Name: "quick", Payload: number{}}
	}
	_, err := c.tasks.EnqueueMany(c.t.Context(), news)
	require.NoError(c.t, err)
}

// fastThenBlocked returns a node whose one slot has run 2,000 quick tasks, so
// that it claims ahead, and is blocked now, with 100 more claimed.
func (c *cluster) fastThenBlocked(r *tasks.Registry, started <-chan tasks.Info) *node {
	c.t.Helper()
	n := c.start(r, 1)
	c.enqueueQuick(2000)
	c.eventually("warm", func() bool { return c.counts().Done == 2000 })
	_, err := c.tasks.Enqueue(c.t.Context(), "block", number{})
	require.NoError(c.t, err)
	receive(c.t, started)
	c.enqueueQuick(100)
	return n
}

func TestTasksClaimedAheadDoNotWaitBehindABlockedSlot(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		started, release := blocking(&r, "block")
		quick(&r)
		c := newCluster(t, cfg, &r)
		c.fastThenBlocked(&r, started)
		c.start(&r, 4)
		c.eventually("the others run elsewhere", func() bool { return c.counts().Done == 2100 })
		close(release)
	})
}

func TestADrainingNodeGivesBackWhatItHasNotStarted(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		started, release := blocking(&r, "block")
		quick(&r)
		c := newCluster(t, cfg, &r)
		n := c.fastThenBlocked(&r, started)
		n.drain()
		c.start(&r, 4)
		c.eventually("the others run elsewhere", func() bool { return c.counts().Done == 2100 })
		close(release)
		require.Zero(t, n.stop())
	})
}

func TestADrainingNodePassesItsWakeOn(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		started, release := blocking(&r, "block")
		close(release)
		c := newCluster(t, cfg, &r)
		woken, other := c.start(&r, 1), c.start(&r, 1)
		idle := c.keys.Idle("default")
		c.eventually("both idle", func() bool { return c.redis.SCard(t.Context(), idle).Val() == 2 })
		// As if the first had been woken for the task just now, and had not claimed yet.
		require.NoError(t, c.redis.Del(t.Context(), idle).Err())
		c.enqueue("block", tasks.Options{})
		require.NoError(t, c.redis.SAdd(t.Context(), idle, other.lease.Incarnation.String()).Err())
		woken.drain()
		require.NoError(t, receive(t, woken.ended))
		receive(t, started)
		c.eventually("only the other is idle", func() bool {
			return slices.Equal(c.redis.SMembers(t.Context(), idle).Val(), []string{other.lease.Incarnation.String()})
		})
	})
}

type nilError struct{ text string }

func (e *nilError) Error() string { return e.text }

func TestAnErrorThatPanicsIsItsHandlersPanic(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		tasks.Handle(&r, tasks.Definition{Name: "oops", MaxAttempts: 1}, func(context.Context, number) error {
			var e *nilError // nil, and yet an error
			return e
		})
		c := newCluster(t, cfg, &r)
		c.start(&r, 1)
		receipt, err := c.tasks.Enqueue(t.Context(), "oops", number{})
		require.NoError(t, err)
		_, err = c.tasks.Wait(t.Context(), receipt.ID)
		require.ErrorContains(t, err, "panicked")
	})
}

func TestBystandersOfProcessDeathsAreNotQuarantined(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		killers, _ := blocking(&r, "killer")
		bystanders := make(chan struct{}, 100)
		tasks.Handle(&r, tasks.Definition{Name: "bystander"}, func(ctx context.Context, _ number) error {
			if info := tasks.InfoOf(ctx); info.Crashes == queue.QuarantineAfter-1 {
				return nil
			}
			bystanders <- struct{}{}
			<-ctx.Done()
			return context.Cause(ctx)
		})
		c := newCluster(t, cfg, &r)
		for range 9 {
			_, err := c.tasks.Enqueue(t.Context(), "bystander", number{})
			require.NoError(t, err)
		}
		_, err := c.tasks.Enqueue(t.Context(), "killer", number{})
		require.NoError(t, err)
		for death := range queue.QuarantineAfter {
			n := c.start(&r, 10)
			receive(t, killers)
			for range 9 {
				if death < queue.QuarantineAfter-1 {
					receive(t, bystanders)
				}
			}
			n.kill(tasks.ErrEnding)
			require.NoError(t, <-n.ended)
			require.True(t, n.runner.Await(t.Context()))
			n.settle(queue.Remains{Unknown: true}) // as after SIGKILL
		}
		c.start(&r, 10)
		c.eventually("all the others are done", func() bool { return c.counts().Done == 9 })
		require.EqualValues(t, 1, c.counts().Dead, "the killer alone")
	})
}

func TestCompletedTasksAreForgottenInTime(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		tasks.Handle(&r, tasks.Definition{Name: "quick", Retention: time.Millisecond}, func(context.Context, number) error { return nil })
		c := newCluster(t, cfg, &r)
		c.start(&r, 10)
		c.enqueueQuick(3000)
		c.eventually("done", func() bool { return c.counts().Done == 3000 })
		time.Sleep(2 * time.Millisecond)
		look := c.startMover()
		look()
		c.eventually("forgotten", func() bool { return c.redis.Exists(t.Context(), c.keys.Tasks(), c.keys.RetainedLists()).Val() == 0 })
	})
}

func TestAQueueOfTheWrongTypeHoldsUpNoOther(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		ran := make(chan int, 10)
		startedSound, _ := blocking(&r, "block")
		tasks.Handle(&r, tasks.Definition{Name: "broken", Queue: "broken"}, func(ctx context.Context, _ number) error { <-ctx.Done(); return ctx.Err() })
		tasks.Handle(&r, tasks.Definition{Name: "sound", Queue: "sound"}, func(context.Context, number) error { ran <- 1; return nil })
		c := newCluster(t, cfg, &r)
		n := c.start(&r, 2)
		for _, name := range []string{"block", "broken"} {
			_, err := c.tasks.Enqueue(t.Context(), name, number{})
			require.NoError(t, err)
		}
		receive(t, startedSound)
		c.eventually("both run", func() bool { return n.runner.InHand() == 2 })
		_, err := c.tasks.EnqueueIn(t.Context(), 10*time.Millisecond, "broken", number{})
		require.NoError(t, err)
		_, err = c.tasks.EnqueueIn(t.Context(), 20*time.Millisecond, "sound", number{})
		require.NoError(t, err)
		require.NoError(t, c.redis.Set(t.Context(), c.keys.Queue("broken"), "not a list", 0).Err())
		require.Equal(t, queue.Handed{On: 2}, n.crash(false), "the one of the broken queue waits, delayed")
		c.startMover()
		c.start(&r, 2)
		receive(t, startedSound)
		receive(t, ran)
		require.Equal(t, "not a list", c.redis.Get(t.Context(), c.keys.Queue("broken")).Val())
		require.EqualValues(t, 2, c.counts().Delayed, "nothing is lost")
	})
}

func TestAParkedKeyOfTheWrongTypeNeitherSpinsNorDiscards(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var with, without tasks.Registry
		quick(&with)
		c := newCluster(t, cfg, &with)
		require.NoError(t, c.redis.SAdd(t.Context(), c.keys.ParkedLists(), "default|quick").Err())
		require.NoError(t, c.redis.Set(t.Context(), c.keys.Parked("default", "quick"), "not a list", 0).Err())
		c.start(&without, 1)
		c.enqueueQuick(1)
		c.eventually("put off", func() bool { return c.counts().Delayed == 1 })
		require.Zero(t, c.counts().Dead)

		n := c.start(&with, 1)
		c.enqueueQuick(20)
		c.eventually("done", func() bool { return c.counts().Done+c.counts().Delayed == 21 })
		claims, err := c.redis.HGet(t.Context(), c.keys.Stream(n.lease.Incarnation.String()), "claim").Int()
		if !errors.Is(err, redis.Nil) { // the other has put all of them off
			require.NoError(t, err)
		}
		require.Less(t, claims, 60)
	})
}

// slowConn reads that many bytes a second.
type slowConn struct {
	net.Conn
	rate int
}

func (c *slowConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p[:min(len(p), 64<<10)])
	time.Sleep(time.Duration(n) * time.Second / time.Duration(c.rate))
	return n, err
}

func TestManyLargePayloadsGetThroughASlowNetwork(t *testing.T) {
	cfg := redistest.Start(t).Config()
	var ran atomic.Int64
	var r tasks.Registry
	tasks.Handle(&r, tasks.Definition{Name: "big"}, func(context.Context, string) error { ran.Add(1); return nil })
	c := newCluster(t, cfg, &r)
	for range 8 {
		_, err := c.tasks.Enqueue(t.Context(), "big", string(make([]byte, 500<<10))) // 3 MB each as JSON
		require.NoError(t, err)
	}
	c.cfg = link.Config{Dial: func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "unix", cfg.URL[len("unix://"):])
		return &slowConn{conn, 10 << 20}, err
	}}
	c.start(&r, 10)
	c.eventually("24 MB at 10 MB/s, more than fits into one reply's time limit", func() bool { return ran.Load() == 8 })
}

// hole is a Redis that reads and never answers.
func hole() link.Config {
	return link.Config{Dial: func(context.Context) (net.Conn, error) {
		a, b := net.Pipe()
		go func() {
			for buf := make([]byte, 4096); ; {
				if _, err := b.Read(buf); err != nil {
					return
				}
			}
		}()
		return a, nil
	}}
}

func TestAnEnqueueEndsWithItsClientOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := tasks.NewClient(t.Context(), redistest.Client(t, hole()), hole().Keys(), &tasks.Registry{})
		ended := make(chan error, 1)
		go func() {
			_, err := c.Enqueue(context.WithoutCancel(t.Context()), "x", 1)
			ended <- err
		}()
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Empty(t, ended, "it waits for Redis as long as its caller does")
		c.Close()
		require.ErrorIs(t, <-ended, tasks.ErrClosed)
		_, err := c.Enqueue(t.Context(), "x", 1)
		require.ErrorIs(t, err, tasks.ErrClosed)
		time.Sleep(10 * time.Second) // what dialled ends
	})
}

func TestAnEnqueueEndsWithItsCallersDeadline(t *testing.T) {
	hole := hole()
	c := tasks.NewClient(t.Context(), redistest.Client(t, hole), hole.Keys(), &tasks.Registry{})
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := c.Enqueue(ctx, "x", 1)
	require.ErrorIs(t, err, link.ErrUnknownOutcome)
	require.Less(t, time.Since(began), time.Second)
}

func TestATransactionWritesUnderTheLockOfItsContext(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var c *cluster
		var r tasks.Registry
		tasks.Handle(&r, tasks.Definition{Name: "locks", MaxAttempts: 1, Retention: time.Hour}, func(ctx context.Context, in number) error {
			l, err := c.cache.LockWith(context.WithoutCancel(ctx), "k", cache.LockOptions{TTL: time.Minute})
			if err != nil {
				return err
			}
			tx := tasks.Tx(l.Context())
			if in.N == 0 {
				tx = tasks.Tx(ctx) // not under the lock
			}
			tx.Save("k", in.N, 0)
			return nil
		})
		c = newCluster(t, cfg, &r)
		c.start(&r, 1)
		receipt, err := c.tasks.Enqueue(t.Context(), "locks", number{7})
		require.NoError(t, err)
		_, err = c.tasks.Wait(t.Context(), receipt.ID)
		require.NoError(t, err)
		n, err := cache.Get[int](t.Context(), c.cache, "k")
		require.NoError(t, err)
		require.Equal(t, 7, n)
	})
}

func TestInterruptedTasksGoToTheFront(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		started, release := blocking(&r, "block")
		c := newCluster(t, cfg, &r)
		n := c.start(&r, 1)
		var ids []string
		for range 3 {
			receipt, err := c.tasks.Enqueue(t.Context(), "block", number{})
			require.NoError(t, err)
			ids = append(ids, receipt.ID)
		}
		require.Equal(t, ids[0], receive(t, started).ID)
		require.Equal(t, queue.Handed{On: 1}, n.crash(false))
		c.start(&r, 1)
		for _, id := range ids {
			require.Equal(t, id, receive(t, started).ID)
			release <- struct{}{}
		}
	})
}

func TestAClaimThatRedisForgotEndsTheIncarnation(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		started, release := blocking(&r, "block")
		c := newCluster(t, cfg, &r)
		n := c.start(&r, 1)
		for range 3 {
			_, err := c.tasks.Enqueue(t.Context(), "block", number{})
			require.NoError(t, err)
		}
		receive(t, started)
		release <- struct{}{}
		receive(t, started)
		require.NoError(t, c.redis.HSet(t.Context(), c.keys.Stream(n.lease.Incarnation.String()), "claim", 0).Err())
		close(release)                                            // also of a third that was claimed ahead
		_, err := c.tasks.Enqueue(t.Context(), "block", number{}) // makes an idle node claim
		require.NoError(t, err)
		require.ErrorIs(t, receive(t, n.ended), queue.ErrRolledBack)
	})
}
