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

func TestExtendNeverShortensNorGivesALifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, ctx := open(t, redistest.Embedded(t).Config()), t.Context()
		require.NoError(t, c.Save(ctx, "k", 1, 10*time.Second))
		saved := time.Now()
		for _, step := range []struct{ extend, ends time.Duration }{
			{time.Second, 10 * time.Second}, {20 * time.Second, 20 * time.Second}, {0, 20 * time.Second},
		} {
			e, err := c.LoadWith(ctx, "k", cache.LoadOptions{Extend: step.extend})
			require.NoError(t, err)
			require.Equal(t, saved.Add(step.ends).UnixMilli(), e.Expires.UnixMilli())
		}
		require.NoError(t, c.Touch(ctx, "k", 30*time.Second))
		time.Sleep(30*time.Second - time.Millisecond)
		_, err := c.Load(ctx, "k")
		require.NoError(t, err)
		time.Sleep(time.Millisecond)
		_, err = c.Load(ctx, "k")
		require.ErrorIs(t, err, cache.ErrNotFound)
		require.ErrorIs(t, c.Touch(ctx, "k", time.Hour), cache.ErrNotFound, "what is over does not come back")

		require.NoError(t, c.Save(ctx, "k", 1, 0))
		require.NoError(t, c.Touch(ctx, "k", time.Second))
		time.Sleep(time.Hour)
		_, err = c.Load(ctx, "k")
		require.NoError(t, err, "for ever stays for ever")
	})
}

func TestReadIsRecordedOnlyWhenWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, ctx := open(t, redistest.Embedded(t).Config()), t.Context()
		require.NoError(t, c.Save(ctx, "k", 1, time.Hour))
		time.Sleep(time.Second)
		e, err := c.LoadWith(ctx, "k", cache.LoadOptions{NoRecord: true})
		require.NoError(t, err)
		require.Zero(t, e.Read)
		version := e.Version
		_, err = c.Load(ctx, "k")
		require.NoError(t, err)
		read := time.Now()
		time.Sleep(time.Second)
		e, err = c.LoadWith(ctx, "k", cache.LoadOptions{NoRecord: true})
		require.NoError(t, err)
		require.Equal(t, read.UnixMilli(), e.Read.UnixMilli())
		require.Equal(t, version, e.Version, "a read is no write")
	})
}

func TestStaleEntryIsThereForWhoAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, ctx := open(t, redistest.Embedded(t).Config()), t.Context()
		_, err := c.SaveWith(ctx, "k", 1, cache.SaveOptions{TTL: time.Second, Stale: time.Second})
		require.NoError(t, err)
		time.Sleep(time.Second)
		_, err = c.Load(ctx, "k")
		require.ErrorIs(t, err, cache.ErrExpired)
		require.ErrorIs(t, err, cache.ErrNotFound)
		e, err := c.LoadWith(ctx, "k", cache.LoadOptions{Stale: true})
		require.NoError(t, err)
		require.True(t, e.Stale)
		require.ErrorIs(t, c.Touch(ctx, "k", time.Hour), cache.ErrExpired)
		got, err := c.Increment(ctx, "k", 5)
		require.NoError(t, err)
		require.EqualValues(t, 5, got, "an expired counter starts again")

		_, err = c.SaveWith(ctx, "k", 1, cache.SaveOptions{TTL: time.Second, Stale: time.Second})
		require.NoError(t, err)
		time.Sleep(time.Second)
		n, err := c.Push(ctx, "k", 1)
		require.NoError(t, err, "an expired entry is in nobody's way")
		require.EqualValues(t, 1, n)
	})
}

func TestConditionalSaves(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, c *cache.Cache, _ link.Config) {
		v1, err := c.SaveWith(ctx, "k", 1, cache.SaveOptions{IfAbsent: true})
		require.NoError(t, err)
		_, err = c.SaveWith(ctx, "k", 2, cache.SaveOptions{IfAbsent: true})
		require.ErrorIs(t, err, cache.ErrConflict)
		v2, err := c.SaveWith(ctx, "k", 3, cache.SaveOptions{IfVersion: v1})
		require.NoError(t, err)
		require.NotEqual(t, v1, v2)
		_, err = c.SaveWith(ctx, "k", 4, cache.SaveOptions{IfVersion: v1})
		require.ErrorIs(t, err, cache.ErrConflict)
		_, err = c.Destroy(ctx, "k")
		require.NoError(t, err)
		_, err = c.SaveWith(ctx, "k", 4, cache.SaveOptions{IfVersion: v2})
		require.ErrorIs(t, err, cache.ErrConflict, "an update does not resurrect")
	})
}

func TestUpdatesOfManyAddUp(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, c *cache.Cache, cfg link.Config) {
		require.NoError(t, c.Save(ctx, "k", map[string]int{"n": 0}, time.Hour))
		caches := []*cache.Cache{c, open(t, cfg)}
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				for range 10 {
					_, err := cache.Update(ctx, caches[i%2], "k", func(old map[string]int, _ bool) (map[string]int, error) {
						old["n"]++
						return old, nil
					})
					errorFree(t, err)
				}
			})
		}
		all.Wait()
		e, err := c.Load(ctx, "k")
		require.NoError(t, err)
		require.JSONEq(t, `{"n":80}`, string(e.Value))
		require.WithinDuration(t, time.Now().Add(time.Hour), e.Expires, time.Minute, "the lifetime stays")

		_, err = cache.Update(ctx, c, "k", func(map[string]int, bool) (map[string]int, error) { return nil, errors.New("no") })
		require.EqualError(t, err, "no")
		got, err := cache.Update(ctx, c, "new", func(old int, there bool) (int, error) { require.False(t, there); return old + 1, nil })
		require.NoError(t, err)
		require.Equal(t, 1, got)
	})
}

func TestOneLoadsForTheWholeCluster(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, c *cache.Cache, cfg link.Config) {
		caches := []*cache.Cache{c, open(t, cfg), open(t, cfg)}
		var loads atomic.Int64
		var all sync.WaitGroup
		start := time.Now()
		for i := range 60 {
			all.Go(func() {
				v, err := cache.GetOrLoad(ctx, caches[i%3], "k", cache.FillOptions{TTL: time.Minute}, func(ctx context.Context) (string, error) {
					loads.Add(1)
					return "v", link.Sleep(ctx, 50*time.Millisecond)
				})
				if errorFree(t, err) && v != "v" {
					t.Error(v)
				}
			})
		}
		all.Wait()
		require.EqualValues(t, 1, loads.Load())
		require.Less(t, time.Since(start), time.Second)
	})
}

func TestFailedLoadIsLeftToTheNext(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, c *cache.Cache, _ link.Config) {
		var loads, failures atomic.Int64
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				_, err := cache.GetOrLoad(ctx, c, "k", cache.FillOptions{}, func(context.Context) (int, error) {
					if loads.Add(1) < 4 {
						return 0, errors.New("no")
					}
					return 1, nil
				})
				if err != nil {
					failures.Add(1)
				}
			})
		}
		all.Wait()
		require.EqualValues(t, 4, loads.Load())
		require.EqualValues(t, 3, failures.Load())
	})
}

func TestOthersGetTheStaleValueWhileOneLoads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, ctx := open(t, redistest.Embedded(t).Config()), t.Context()
		o := cache.FillOptions{TTL: time.Second, Stale: 10 * time.Second}
		load := func(v int) (int, error) {
			return cache.GetOrLoad(ctx, c, "k", o, func(ctx context.Context) (int, error) {
				return v, link.Sleep(ctx, 5*time.Second)
			})
		}
		v, err := load(1)
		require.NoError(t, err)
		require.Equal(t, 1, v)
		time.Sleep(2 * time.Second)
		var one sync.WaitGroup
		one.Go(func() {
			v, err := load(2)
			if errorFree(t, err) && v != 2 {
				t.Error(v)
			}
		})
		synctest.Wait()
		start := time.Now()
		v, err = load(3)
		require.NoError(t, err)
		require.Equal(t, 1, v)
		require.Zero(t, time.Since(start))
		one.Wait()
		v, err = load(4)
		require.NoError(t, err)
		require.Equal(t, 2, v)
	})
}

func TestDestroyedWhileLoadingStaysDestroyed(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, c *cache.Cache, _ link.Config) {
		v, err := cache.GetOrLoad(ctx, c, "k", cache.FillOptions{}, func(ctx context.Context) (int, error) {
			_, err := c.Destroy(ctx, "k")
			return 1, err
		})
		require.NoError(t, err)
		require.Equal(t, 1, v)
		_, err = c.Load(ctx, "k")
		require.ErrorIs(t, err, cache.ErrNotFound)

		_, err = cache.GetOrLoad(ctx, c, "k", cache.FillOptions{}, func(ctx context.Context) (int, error) {
			return 1, c.Save(ctx, "k", 2, 0)
		})
		require.NoError(t, err)
		got, err := cache.Get[int](ctx, c, "k")
		require.NoError(t, err)
		require.Equal(t, 2, got, "a save in between wins")
	})
}

func TestLoaderThatDiedIsFollowedAfterItsPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, redistest.Embedded(t).Config())
		ctx, die := context.WithCancel(t.Context())
		stuck := make(chan struct{})
		go func() {
			_, _ = cache.GetOrLoad(ctx, c, "k", cache.FillOptions{Patience: 4 * time.Second}, func(context.Context) (int, error) {
				<-stuck
				return 1, nil
			})
		}()
		synctest.Wait()
		die()
		start := time.Now()
		v, err := cache.GetOrLoad(t.Context(), c, "k", cache.FillOptions{}, func(context.Context) (int, error) { return 2, nil })
		require.NoError(t, err)
		require.Equal(t, 2, v)
		require.LessOrEqual(t, time.Since(start), 5*time.Second)
		close(stuck)
		synctest.Wait()
		v, err = cache.Get[int](t.Context(), c, "k")
		require.NoError(t, err)
		require.Equal(t, 2, v, "what the dead one computed does not replace it")
	})
}

func TestManyAtOnce(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, c *cache.Cache, cfg link.Config) {
		var items []cache.Item
		var keys []string
		for i := range 450 {
			items = append(items, cache.Item{Key: fmt.Sprint("k", i), Value: i, TTL: time.Hour})
			keys = append(keys, fmt.Sprint("k", i))
		}
		l, err := c.TryLock(ctx, "k7", time.Minute)
		require.NoError(t, err)
		items = append(items, cache.Item{Key: "", Value: 1})
		require.NoError(t, redistest.Client(t, cfg).ScriptFlush(ctx).Err())
		err = c.SaveMany(ctx, items)
		require.ErrorIs(t, err, cache.ErrLocked)
		require.ErrorIs(t, err, cache.ErrInvalid)
		require.NoError(t, l.Unlock())
		found, err := c.LoadMany(ctx, append(keys, "none"))
		require.NoError(t, err)
		require.Len(t, found, 449)
		var v int
		require.NoError(t, found["k399"].Decode(&v))
		require.Equal(t, 399, v)
		require.NotZero(t, found["k399"].Expires)
	})
}

func TestConcurrentCallersShareRoundTrips(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, c *cache.Cache, _ link.Config) {
		var all sync.WaitGroup
		for i := range 64 {
			all.Go(func() {
				for n := range 50 {
					key := fmt.Sprint("k", i)
					if !errorFree(t, c.Save(ctx, key, n, 0)) {
						return
					}
					got, err := cache.Get[int](ctx, c, key)
					if errorFree(t, err) && got != n {
						t.Error(got, n)
					}
				}
			})
		}
		all.Wait()
	})
}

func TestCallerThatGivesUpDoesNotWaitForTheOthers(t *testing.T) {
	s := redistest.Start(t)
	c := open(t, s.Config())
	require.NoError(t, c.Save(t.Context(), "k", 1, 0))
	client := redistest.Client(t, s.Config())
	var all sync.WaitGroup
	for range 8 { // the round trips that all others have to wait for
		all.Go(func() { _, _ = c.Load(t.Context(), "k") })
	}
	all.Go(func() { client.Do(t.Context(), "debug", "sleep", "0.5") })
	time.Sleep(50 * time.Millisecond)
	for range 8 {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			start := time.Now()
			_, err := c.Load(ctx, "k")
			if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, link.ErrUnknownOutcome) {
				t.Error(err)
			}
			if took := time.Since(start); took > 300*time.Millisecond {
				t.Error(took)
			}
		})
	}
	all.Wait()
}
