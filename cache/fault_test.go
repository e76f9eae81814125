package cache_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

func TestFullRedisStillAnswersAndFrees(t *testing.T) {
	cfg, ctx := redistest.Start(t).Config(), t.Context()
	c, client := open(t, cfg), redistest.Client(t, cfg)
	require.NoError(t, c.Save(ctx, "k", strings.Repeat("x", 100_000), time.Hour))
	l, err := c.TryLock(ctx, "k", time.Minute)
	require.NoError(t, err)
	require.NoError(t, client.ConfigSet(ctx, "maxmemory", "1").Err())

	_, err = c.Load(ctx, "k")
	require.NoError(t, err, "a read goes through, unrecorded")
	_, err = c.LoadWith(ctx, "k", cache.LoadOptions{NoRecord: true})
	require.NoError(t, err)
	require.ErrorIs(t, c.Save(ctx, "new", 1, 0), link.ErrFull)
	require.ErrorIs(t, second(c.Increment(ctx, "new", 1)), link.ErrFull)
	require.ErrorIs(t, second(c.Push(ctx, "new", 1)), link.ErrFull)
	require.ErrorIs(t, second(c.TryLock(ctx, "new", time.Minute)), link.ErrFull)
	require.NoError(t, l.Renew(ctx), "a holder stays one")
	there, err := c.Destroy(l.Context(), "k")
	require.NoError(t, err)
	require.True(t, there)
	require.NoError(t, l.Unlock())
}

func TestScriptsComeBackWhenRedisForgetsThem(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, c *cache.Cache, cfg link.Config) {
		client := redistest.Client(t, cfg)
		stop, forgetting := make(chan struct{}), sync.WaitGroup{}
		forgetting.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
					_ = client.ScriptFlush(ctx).Err()
				}
			}
		})
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				for range 30 {
					_, err := c.Increment(ctx, "n", 1)
					errorFree(t, err)
				}
			})
		}
		all.Wait()
		close(stop)
		forgetting.Wait()
		n, err := cache.Get[int](ctx, c, "n")
		require.NoError(t, err)
		require.Equal(t, 480, n)
	})
}

func TestForeignBytesAreReportedNotTrusted(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, c *cache.Cache, cfg link.Config) {
		client := redistest.Client(t, cfg)
		for _, raw := range []string{"", "1", strings.Repeat("x", 200), strings.Repeat("9", 54), "9" + strings.Repeat("x", 60)} {
			require.NoError(t, client.Set(ctx, c.EntryKey("k"), raw, 0).Err())
			_, err := c.Load(ctx, "k")
			require.ErrorIs(t, err, cache.ErrMalformed, "%q", raw)
			_, err = c.LoadWith(ctx, "k", cache.LoadOptions{NoRecord: true, Extend: time.Hour})
			require.ErrorIs(t, err, cache.ErrMalformed, "%q", raw)
			_, err = c.Increment(ctx, "k", 1)
			require.ErrorIs(t, err, cache.ErrNotNumber, "%q", raw)
			require.Len(t, client.Get(ctx, c.EntryKey("k")).Val(), len(raw))
			require.NoError(t, c.Save(ctx, "k", 1, 0), "%q", raw)
			if strings.HasPrefix(raw, "99") {
				continue // that would be a lock: it has a deadline
			}
			require.NoError(t, client.Set(ctx, c.LockKey("l"), raw, 0).Err())
			require.NoError(t, c.Save(ctx, "l", 1, 0), "no lock either: %q", raw)
		}
	})
}

// A counter adds up to what was acknowledged, and at most what was not as well.
func TestIncrementsNeverCountTwice(t *testing.T) {
	server := redistest.Start(t)
	p := newProxy(t, server.Config())
	c := open(t, p.config())
	ctx, cancel := context.WithCancel(t.Context())
	var cutter, all sync.WaitGroup
	cutter.Go(func() {
		for link.Sleep(ctx, 3*time.Millisecond) == nil {
			p.drop()
		}
	})
	var mu sync.Mutex
	acknowledged, unknown := 0, 0
	for range 32 {
		all.Go(func() {
			for range 40 {
				_, err := c.Increment(ctx, "n", 1)
				mu.Lock()
				if err == nil {
					acknowledged++
				} else if errors.Is(err, link.ErrUnknownOutcome) {
					unknown++
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	cancel()
	cutter.Wait()
	n, err := cache.Get[int](t.Context(), open(t, server.Config()), "n")
	require.NoError(t, err)
	t.Logf("%d acknowledged, %d unknown, %d counted", acknowledged, unknown, n)
	require.GreaterOrEqual(t, n, acknowledged)
	require.LessOrEqual(t, n, acknowledged+unknown)
	require.Positive(t, unknown)
}

func TestWaitersOutliveARestartOfRedis(t *testing.T) {
	server, ctx := redistest.Start(t), t.Context()
	c := open(t, server.Config())
	_, err := c.LockWith(ctx, "k", cache.LockOptions{TTL: time.Minute, NoRenew: true})
	require.NoError(t, err)
	var all sync.WaitGroup
	all.Go(func() {
		l, err := c.Lock(ctx, "k", time.Minute)
		if errorFree(t, err) {
			errorFree(t, l.Unlock())
		}
	})
	all.Go(func() { errorFree(t, second(c.PopWait(ctx, "l", -1))) })
	_, err = c.LockWith(ctx, "k", cache.LockOptions{Wait: 100 * time.Millisecond})
	require.ErrorIs(t, err, cache.ErrLocked)
	server.Kill()
	time.Sleep(100 * time.Millisecond)
	require.NoError(t, server.Run()) // it has forgotten everything
	back := time.Now()
	require.Eventually(t, func() bool { _, err := c.Push(ctx, "l", 1); return err == nil }, 5*time.Second, 10*time.Millisecond)
	all.Wait()
	require.Less(t, time.Since(back), 5*time.Second)
}

func TestOutageIsNamedByWhoWaitedThroughIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := redistest.Embedded(t)
		c := open(t, server.Config())
		l, err := c.LockWith(t.Context(), "k", cache.LockOptions{TTL: 3 * time.Second, NoRenew: true})
		require.NoError(t, err)
		var all sync.WaitGroup
		all.Go(func() {
			_, err := c.LockWith(t.Context(), "k", cache.LockOptions{Wait: 9800 * time.Millisecond})
			if !errors.Is(err, link.ErrUnavailable) {
				t.Error(err)
			}
		})
		all.Go(func() {
			_, err := c.PopWait(t.Context(), "l", 9800*time.Millisecond)
			if !errors.Is(err, link.ErrUnavailable) {
				t.Error(err)
			}
		})
		synctest.Wait()
		server.Break("LOADING Redis is loading the dataset in memory")
		all.Wait()
		server.Break("")
		require.ErrorIs(t, l.Unlock(), cache.ErrLockLost)
	})
}

func TestRedisClusterHoldsTheCacheOnOneNode(t *testing.T) {
	ctx := t.Context()
	cfg := redistest.StartCluster(t).Config()
	c := open(t, cfg)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			_, err := cache.Update(ctx, c, "n", func(old int, _ bool) (int, error) { return old + 1, nil })
			errorFree(t, err)
		})
	}
	all.Wait()
	require.NoError(t, c.WithLock(ctx, "k", cache.LockOptions{}, func(ctx context.Context) error { return c.Save(ctx, "k", 1, time.Hour) }))
	require.NoError(t, c.SaveMany(ctx, []cache.Item{{Key: "a", Value: 1}, {Key: "b", Value: 2}}))
	v, err := cache.GetOrLoad(ctx, c, "g", cache.FillOptions{}, func(context.Context) (int, error) { return 1, nil })
	require.NoError(t, err)
	require.Equal(t, 1, v)
	all.Go(func() { errorFree(t, second(c.PopWait(ctx, "l", 5*time.Second))) })
	time.Sleep(50 * time.Millisecond)
	_, err = c.Push(ctx, "l", 1)
	require.NoError(t, err)
	all.Wait()
	require.Equal(t, []string{"a", "b", "g", "k", "n"}, keysOf(t, c, "*"))
	cleared, err := c.Clear(ctx, "*")
	require.NoError(t, err)
	require.Equal(t, 5, cleared)
}
