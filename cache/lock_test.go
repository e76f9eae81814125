package cache_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

func TestOnlyTheHolderWrites(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, c *cache.Cache, cfg link.Config) {
		other := open(t, cfg)
		require.NoError(t, c.Save(ctx, "k", 1, 0))
		l, err := c.TryLock(ctx, "k", time.Minute)
		require.NoError(t, err)

		for name, write := range map[string]func(context.Context) error{
			"save":      func(ctx context.Context) error { return other.Save(ctx, "k", 2, 0) },
			"destroy":   func(ctx context.Context) error { _, err := other.Destroy(ctx, "k"); return err },
			"increment": func(ctx context.Context) error { _, err := other.Increment(ctx, "k", 1); return err },
		} {
			require.ErrorIs(t, write(ctx), cache.ErrLocked, name)
			require.NoError(t, write(l.Context()), name)
		}
		require.NoError(t, other.Save(ctx, "other", 1, 0), "a lock guards its key only")
		_, err = other.Load(ctx, "other")
		require.NoError(t, err)
		require.NoError(t, c.Save(l.Context(), "k", 1, 0))
		_, err = other.Load(ctx, "k")
		require.NoError(t, err, "loads pass locks")

		require.NoError(t, l.Unlock())
		require.ErrorIs(t, l.Context().Err(), context.Canceled)
		require.NoError(t, other.Save(ctx, "k", 2, 0))
		stale := context.WithoutCancel(l.Context())
		require.ErrorIs(t, c.Save(stale, "k", 3, 0), cache.ErrLockLost, "the token of a lock that is gone")
		require.ErrorIs(t, l.Unlock(), cache.ErrLockLost)
	})
}

func TestHolderIsOneAcquisitionNotTheNode(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, c *cache.Cache, _ link.Config) {
		first, err := c.TryLock(ctx, "k", time.Minute)
		require.NoError(t, err)
		_, err = c.TryLock(ctx, "k", time.Minute)
		require.ErrorIs(t, err, cache.ErrLocked)
		_, err = c.TryLock(first.Context(), "k", time.Minute)
		require.ErrorIs(t, err, cache.ErrLocked)
		require.NoError(t, first.Unlock())
		second, err := c.TryLock(ctx, "k", time.Minute)
		require.NoError(t, err)
		require.Greater(t, second.Fence(), first.Fence())
		require.ErrorIs(t, c.Save(context.WithoutCancel(first.Context()), "k", 1, 0), cache.ErrLockLost)
		require.NoError(t, second.Unlock())
	})
}

func TestFencedSave(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, c *cache.Cache, _ link.Config) {
		first, err := c.TryLock(ctx, "k", time.Minute)
		require.NoError(t, err)
		_, err = c.SaveWith(ctx, "k", 1, cache.SaveOptions{Fence: first.Fence()})
		require.NoError(t, err)
		require.NoError(t, first.Unlock())
		_, err = c.SaveWith(ctx, "k", 2, cache.SaveOptions{Fence: first.Fence()})
		require.ErrorIs(t, err, cache.ErrLockLost)
		second, err := c.TryLock(ctx, "k", time.Minute)
		require.NoError(t, err)
		_, err = c.SaveWith(ctx, "k", 3, cache.SaveOptions{Fence: first.Fence()})
		require.ErrorIs(t, err, cache.ErrLockLost)
		require.NoError(t, second.Unlock())
		got, err := cache.Get[int](ctx, c, "k")
		require.NoError(t, err)
		require.Equal(t, 1, got)
	})
}

func TestFencesGrowAlsoWhenRedisForgets(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, c *cache.Cache, cfg link.Config) {
		last := int64(0)
		for i := range 20 {
			l, err := c.TryLock(ctx, fmt.Sprint("k", i%3), time.Minute)
			require.NoError(t, err)
			require.Greater(t, l.Fence(), last)
			last = l.Fence()
			if i == 10 {
				require.NoError(t, redistest.Client(t, cfg).FlushAll(ctx).Err())
				require.ErrorIs(t, l.Unlock(), cache.ErrLockLost)
				continue
			}
			require.NoError(t, l.Unlock())
		}
	})
}

func TestLockIsRenewedUntilItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, redistest.Embedded(t).Config())
		ctx, cancel := context.WithCancel(t.Context())
		l, err := c.Lock(ctx, "k", time.Second)
		require.NoError(t, err)
		for range 20 {
			time.Sleep(time.Second)
			require.NoError(t, l.Context().Err())
			_, err = c.TryLock(t.Context(), "k", time.Second)
			require.ErrorIs(t, err, cache.ErrLocked)
		}
		cancel() // who does not unlock keeps it for no longer than its TTL
		time.Sleep(time.Second + time.Millisecond)
		l2, err := c.TryLock(t.Context(), "k", time.Second)
		require.NoError(t, err)
		require.ErrorIs(t, l.Unlock(), cache.ErrLockLost)
		require.NoError(t, l2.Unlock())
	})
}

func TestLockWithoutRenewalEndsAtItsTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, redistest.Embedded(t).Config())
		l, err := c.LockWith(t.Context(), "k", cache.LockOptions{TTL: time.Second, NoRenew: true})
		require.NoError(t, err)
		time.Sleep(999 * time.Millisecond)
		require.NoError(t, l.Context().Err())
		require.NoError(t, l.Renew(t.Context()))
		time.Sleep(999 * time.Millisecond)
		require.NoError(t, l.Context().Err())
		time.Sleep(time.Millisecond)
		<-l.Context().Done()
		require.ErrorIs(t, context.Cause(l.Context()), cache.ErrLockLost)
		require.ErrorIs(t, l.Renew(t.Context()), cache.ErrLockLost)
		require.ErrorIs(t, l.Unlock(), cache.ErrLockLost)
	})
}

func TestHolderThatRedisForgotIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := redistest.Embedded(t)
		c := open(t, server.Config())
		l, err := c.Lock(t.Context(), "k", 3*time.Second)
		require.NoError(t, err)
		require.NoError(t, redistest.Client(t, server.Config()).FlushAll(t.Context()).Err())
		<-l.Context().Done() // at the next renewal
		require.ErrorIs(t, context.Cause(l.Context()), cache.ErrLockLost)

		l, err = c.Lock(t.Context(), "k", 3*time.Second)
		require.NoError(t, err)
		server.Break("LOADING")
		start := time.Now()
		<-l.Context().Done() // renewals fail until the time is over
		require.ErrorIs(t, context.Cause(l.Context()), cache.ErrLockLost)
		require.LessOrEqual(t, time.Since(start), 3*time.Second)
		server.Break("")

		l, err = c.Lock(t.Context(), "k", 3*time.Second)
		require.NoError(t, err)
		server.Break("LOADING")
		time.Sleep(1500 * time.Millisecond)
		server.Break("")
		time.Sleep(10 * time.Second)
		require.NoError(t, l.Context().Err(), "a short outage does not lose it")
		require.NoError(t, l.Unlock())
	})
}

func TestWaitersAreWokenInTurn(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, c *cache.Cache, cfg link.Config) {
		caches := []*cache.Cache{c, open(t, cfg), open(t, cfg)}
		l, err := c.TryLock(ctx, "k", time.Minute)
		require.NoError(t, err)
		var inside, most, done atomic.Int64
		var all sync.WaitGroup
		for i := range 30 {
			all.Go(func() {
				l, err := caches[i%3].Lock(ctx, "k", time.Minute)
				if !errorFree(t, err) {
					return
				}
				if n := inside.Add(1); n > most.Load() {
					most.Store(n)
				}
				done.Add(1)
				inside.Add(-1)
				errorFree(t, l.Unlock())
			})
		}
		require.Eventually(t, func() bool {
			info, held, err := c.CheckLock(ctx, "k")
			return err == nil && held && info.Waited
		}, time.Minute, time.Millisecond)
		start := time.Now()
		require.NoError(t, l.Unlock())
		all.Wait()
		require.EqualValues(t, 30, done.Load())
		require.EqualValues(t, 1, most.Load())
		require.Less(t, time.Since(start), 2*time.Second, "nobody was left to its own timer")
	})
}

func errorFree(t *testing.T, err error) bool {
	if err != nil {
		t.Error(err)
	}
	return err == nil
}

func TestWaitIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, redistest.Embedded(t).Config())
		l, err := c.Lock(t.Context(), "k", time.Second)
		require.NoError(t, err)
		start := time.Now()
		_, err = c.LockWith(t.Context(), "k", cache.LockOptions{Wait: 1500 * time.Millisecond})
		require.ErrorIs(t, err, cache.ErrLocked)
		require.Equal(t, 1500*time.Millisecond, time.Since(start))

		_, err = c.SaveWith(t.Context(), "k", 1, cache.SaveOptions{Wait: time.Second})
		require.ErrorIs(t, err, cache.ErrLocked)
		require.Equal(t, 2500*time.Millisecond, time.Since(start))

		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("enough"))
		defer cancel()
		_, err = c.Lock(ctx, "k", 0)
		require.ErrorContains(t, err, "enough")

		var waited sync.WaitGroup
		waited.Go(func() {
			_, err := c.SaveWith(t.Context(), "k", 2, cache.SaveOptions{Wait: time.Hour})
			errorFree(t, err)
		})
		synctest.Wait()
		start = time.Now()
		require.NoError(t, l.Unlock())
		waited.Wait()
		require.Zero(t, time.Since(start), "woken, not polled")
	})
}

func TestWaiterTakesALockThatEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := redistest.Embedded(t)
		c := open(t, server.Config())
		_, err := c.LockWith(t.Context(), "k", cache.LockOptions{TTL: 2 * time.Second, NoRenew: true})
		require.NoError(t, err)
		start := time.Now()
		l, err := open(t, server.Config()).Lock(t.Context(), "k", 0)
		require.NoError(t, err)
		require.Equal(t, 2*time.Second, time.Since(start))
		require.NoError(t, l.Unlock())
	})
}

func TestLocksOfADeadIncarnationAreFreeAtOnce(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, c *cache.Cache, cfg link.Config) {
		client := redistest.Client(t, cfg)
		dead := cache.New(cache.Config{Client: client, Keys: cfg.Keys(), Holder: "node#2:b"})
		for i := range 450 {
			_, err := dead.LockWith(ctx, fmt.Sprint("k", i), cache.LockOptions{TTL: time.Minute, NoRenew: true})
			require.NoError(t, err)
		}
		mine, err := c.TryLock(ctx, "mine", time.Minute)
		require.NoError(t, err)
		infos := 0
		for info, err := range c.Locks(ctx, "*") {
			require.NoError(t, err)
			require.Contains(t, []string{"node#1:a", "node#2:b"}, info.Holder)
			require.WithinDuration(t, time.Now().Add(time.Minute), info.Expires, 10*time.Second)
			infos++
		}
		require.Equal(t, 451, infos)

		got := make(chan error, 1)
		go func() {
			l, err := c.Lock(ctx, "k7", time.Minute)
			if err == nil {
				err = l.Unlock()
			}
			got <- err
		}()
		require.Eventually(t, func() bool {
			info, _, err := c.CheckLock(ctx, "k7")
			return err == nil && info.Waited
		}, time.Minute, time.Millisecond)
		n, err := cache.New(cache.Config{Client: client, Keys: cfg.Keys()}).ReleaseAll(ctx, "node#2:b")
		require.NoError(t, err)
		require.Equal(t, 450, n)
		select {
		case err := <-got:
			require.NoError(t, err)
		case <-time.After(2 * time.Second):
			t.Fatal("the waiter was not woken")
		}
		_, held, err := c.CheckLock(ctx, "k3")
		require.NoError(t, err)
		require.False(t, held)
		_, held, err = c.CheckLock(ctx, "mine")
		require.NoError(t, err)
		require.True(t, held)
		require.NoError(t, mine.Unlock())
		n, err = c.ReleaseAll(ctx, "node#2:b")
		require.NoError(t, err)
		require.Zero(t, n)
		left := client.Keys(ctx, cfg.Keys().Prefix()+"lock*").Val()
		require.Empty(t, left)
	})
}

func TestLateUnlockDoesNotHideANewLockOfTheSameHolder(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, c *cache.Cache, _ link.Config) {
		late, err := c.TryLock(ctx, "k", time.Minute)
		require.NoError(t, err)
		_, err = c.ReleaseAll(ctx, "node#1:a")
		require.NoError(t, err)
		_, err = c.TryLock(ctx, "k", time.Minute)
		require.NoError(t, err)
		require.ErrorIs(t, late.Unlock(), cache.ErrLockLost)
		n, err := c.ReleaseAll(ctx, "node#1:a")
		require.NoError(t, err)
		require.Equal(t, 1, n)
	})
}

func TestWithLockReportsALossOfTheLock(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, c *cache.Cache, _ link.Config) {
		require.NoError(t, c.WithLock(ctx, "k", cache.LockOptions{}, func(ctx context.Context) error {
			return c.Save(ctx, "k", 1, 0)
		}))
		err := c.WithLock(ctx, "k", cache.LockOptions{}, func(ctx context.Context) error {
			_, err := c.ReleaseAll(ctx, "node#1:a")
			return err
		})
		require.ErrorIs(t, err, cache.ErrLockLost)
	})
}

func TestUnlockWorksAfterTheContextEnded(t *testing.T) {
	each(t, func(t *testing.T, _ context.Context, c *cache.Cache, _ link.Config) {
		ctx, cancel := context.WithCancel(t.Context())
		l, err := c.Lock(ctx, "k", time.Minute)
		require.NoError(t, err)
		cancel()
		require.NoError(t, l.Unlock())
		_, held, err := c.CheckLock(t.Context(), "k")
		require.NoError(t, err)
		require.False(t, held)
	})
}

func TestKeyThatIsNoLockIsReportedAndLeft(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, c *cache.Cache, cfg link.Config) {
		client := redistest.Client(t, cfg)
		require.NoError(t, client.RPush(ctx, c.LockKey("k"), "x").Err())
		_, err := c.TryLock(ctx, "k", time.Minute)
		require.ErrorIs(t, err, cache.ErrWrongType)
		require.ErrorIs(t, c.Save(ctx, "k", 1, 0), cache.ErrWrongType)
		_, err = c.TryLock(ctx, "k", -1)
		require.ErrorIs(t, err, cache.ErrInvalid)
	})
}
