package cache_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus"
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
	require.ErrorIs(t, c.Save(ctx, "new", 1, 0), redisbus.ErrFull)
	require.ErrorIs(t, second(c.Increment(ctx, "new", 1)), redisbus.ErrFull)
	require.ErrorIs(t, second(c.Push(ctx, "new", 1)), redisbus.ErrFull)
	require.ErrorIs(t, second(c.TryLock(ctx, "new", time.Minute)), redisbus.ErrFull)
	require.NoError(t, l.Renew(ctx), "a holder stays one")
	there, err := c.Destroy(l.Context(), "k")
	require.NoError(t, err)
	require.True(t, there)
	require.NoError(t, l.Unlock())
}

func TestScriptsComeBackWhenRedisForgetsThem(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, c *cache.Cache, cfg redisbus.Config) {
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
	each(t, func(t *testing.T, ctx context.Context, c *cache.Cache, cfg redisbus.Config) {
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
		for redisbus.Sleep(ctx, 3*time.Millisecond) == nil {
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
				} else if errors.Is(err, redisbus.ErrUnknownOutcome) {
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
