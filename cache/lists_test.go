package cache_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

func TestItemsComeInOrderAndOnce(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, c *cache.Cache, _ link.Config) {
		for i := range 3 {
			n, err := c.Push(ctx, "l", i)
			require.NoError(t, err)
			require.EqualValues(t, i+1, n)
		}
		n, err := c.PushWith(ctx, "l", cache.ListOptions{}, 3, 4)
		require.NoError(t, err)
		require.EqualValues(t, 5, n)
		items, err := c.Range(ctx, "l", 1, -2)
		require.NoError(t, err)
		require.Len(t, items, 3)
		require.Equal(t, "1", string(items[0]))
		for i := range 5 {
			got, err := cache.PopAs[int](ctx, c, "l", 0)
			require.NoError(t, err)
			require.Equal(t, i, got)
		}
		_, err = c.Pop(ctx, "l")
		require.ErrorIs(t, err, cache.ErrNotFound)
		n, err = c.Len(ctx, "l")
		require.NoError(t, err)
		require.Zero(t, n)
	})
}

func TestListsAndValuesAreDifferentKeys(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, c *cache.Cache, _ link.Config) {
		require.NoError(t, c.Save(ctx, "v", 1, 0))
		_, err := c.Push(ctx, "l", 1)
		require.NoError(t, err)
		for what, err := range map[string]error{
			"push":  second(c.Push(ctx, "v", 1)),
			"pop":   second(c.Pop(ctx, "v")),
			"len":   second(c.Len(ctx, "v")),
			"range": second(c.Range(ctx, "v", 0, -1)),
			"load":  second(c.Load(ctx, "l")),
			"save":  c.Save(ctx, "l", 1, 0),
			"add":   second(c.Increment(ctx, "l", 1)),
		} {
			require.ErrorIs(t, err, cache.ErrWrongType, what)
		}
		there, err := c.Destroy(ctx, "l")
		require.NoError(t, err)
		require.True(t, there)
	})
}

func second[T any](_ T, err error) error { return err }

func TestListIsBoundedAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, ctx := open(t, redistest.Embedded(t).Config()), t.Context()
		for i := range 10 {
			n, err := c.PushWith(ctx, "l", cache.ListOptions{Max: 3, TTL: time.Second}, i)
			require.NoError(t, err)
			require.EqualValues(t, min(i+1, 3), n)
			time.Sleep(500 * time.Millisecond)
		}
		got, err := cache.PopAs[int](ctx, c, "l", 0)
		require.NoError(t, err)
		require.Equal(t, 7, got)
		time.Sleep(501 * time.Millisecond)
		n, err := c.Len(ctx, "l")
		require.NoError(t, err)
		require.Zero(t, n)
	})
}

func TestPopWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := redistest.Embedded(t)
		c, ctx := open(t, server.Config()), t.Context()
		start := time.Now()
		_, err := c.PopWait(ctx, "l", 1234*time.Millisecond)
		require.ErrorIs(t, err, cache.ErrNotFound)
		require.Equal(t, 1234*time.Millisecond, time.Since(start))

		got := make(chan int, 1)
		go func() {
			v, err := cache.PopAs[int](ctx, c, "l", -1)
			errorFree(t, err)
			got <- v
		}()
		time.Sleep(time.Minute)
		start = time.Now()
		_, err = open(t, server.Config()).Push(ctx, "l", 7)
		require.NoError(t, err)
		require.Equal(t, 7, <-got)
		require.Zero(t, time.Since(start), "woken, not polled")
	})
}

func TestManyWaitForItems(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, c *cache.Cache, cfg link.Config) {
		const items, poppers = 200, 24
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		var mu sync.Mutex
		seen := map[int]int{}
		var all sync.WaitGroup
		caches := []*cache.Cache{c, open(t, cfg), open(t, cfg)}
		for i := range poppers {
			all.Go(func() {
				for {
					v, err := cache.PopAs[int](ctx, caches[i%3], "l", -1)
					if !errorFree(t, err) || v < 0 {
						return
					}
					mu.Lock()
					seen[v]++
					mu.Unlock()
				}
			})
		}
		for i := range items {
			_, err := caches[i%3].Push(ctx, "l", i)
			require.NoError(t, err)
		}
		require.Eventually(t, func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(seen) == items
		}, time.Minute, time.Millisecond)
		for range poppers {
			_, err := c.Push(ctx, "l", -1)
			require.NoError(t, err)
		}
		all.Wait()
		for v, times := range seen {
			require.Equal(t, 1, times, v)
		}
	})
}
