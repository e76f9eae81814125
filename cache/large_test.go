package cache_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

// Anybody who may publish can send 25 MB on each channel on which somebody waits.
func TestWaitersDropMessagesThatAreTooLarge(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		ctx, client := t.Context(), redistest.Client(t, cfg)
		dropped := make(chan redisbus.Drop, 10)
		waiter := cache.New(cache.Config{ // a pop may take long while Redis is busy with large messages
			Client: redistest.Client(t, cfg).WithTimeout(time.Minute), Keys: cfg.Keys(), Dropped: func(reason redisbus.Drop) { dropped <- reason },
		})
		t.Cleanup(waiter.Close)
		other := open(t, cfg)
		held, err := other.TryLock(ctx, "locked", time.Hour)
		require.NoError(t, err)
		computing, compute := make(chan struct{}), make(chan struct{})
		ended := make(chan error, 4)
		go func() {
			_, err := cache.GetOrLoad(ctx, other, "loaded", cache.FillOptions{TTL: time.Minute, Patience: time.Hour}, func(context.Context) (int, error) {
				close(computing)
				<-compute
				return 1, nil
			})
			ended <- err
		}()
		<-computing
		go func() {
			l, err := waiter.Lock(ctx, "locked", time.Hour)
			if err == nil {
				err = l.Unlock()
			}
			ended <- err
		}()
		go func() { _, err := waiter.PopWait(ctx, "list", -1); ended <- err }()
		go func() {
			_, err := cache.GetOrLoad(ctx, waiter, "loaded", cache.FillOptions{TTL: time.Minute, Patience: time.Hour}, func(context.Context) (int, error) { return 2, nil })
			ended <- err
		}()
		var channels []string
		require.Eventually(t, func() bool {
			channels, err = client.PubSubChannels(ctx, "*").Result()
			return err == nil && len(channels) == 3
		}, time.Minute, 10*time.Millisecond)
		text := redistest.LargeText("")
		redistest.KeepsMemory(t, cfg, func() {
			for _, channel := range channels {
				redistest.PublishLarge(t, client, channel, text)
				require.Equal(t, redisbus.DropSize, <-dropped)
			}
		})
		require.NoError(t, held.Unlock())
		_, err = other.Push(ctx, "list", 1)
		require.NoError(t, err)
		close(compute)
		for range cap(ended) {
			require.NoError(t, <-ended)
		}
	})
}

// Redis tells the near cache the name of every key with one of its prefixes, whoever has
// written it, and somebody may publish where Redis does.
func TestNearCacheDropsNamesThatAreTooLarge(t *testing.T) {
	cfg, ctx := redistest.Start(t).Config(), t.Context()
	client := redistest.Client(t, cfg)
	dropped := make(chan redisbus.Drop, 10)
	c, _ := serveNear(t, cache.Config{
		Client: redistest.Client(t, cfg), Keys: cfg.Keys(), Dropped: func(reason redisbus.Drop) { dropped <- reason },
	})
	require.NoError(t, c.Save(ctx, "n:probe", 1, 0))
	require.Eventually(t, func() bool { return isNear(t, cfg, c) }, time.Minute, 10*time.Millisecond)
	key := redistest.LargeText(c.EntryKey("n:"))
	redistest.KeepsMemory(t, cfg, func() {
		require.NoError(t, client.WithTimeout(time.Minute).Set(ctx, key, 1, 0).Err())
		require.Equal(t, redisbus.DropSize, <-dropped)
		redistest.PublishLarge(t, client, "__redis__:invalidate", key)
		require.Equal(t, redisbus.DropSize, <-dropped)
	})
	require.True(t, isNear(t, cfg, c), "it goes on")
	require.NoError(t, open(t, cfg).Save(ctx, "n:probe", 2, 0))
	require.Eventually(t, func() bool {
		got, err := cache.Get[int](ctx, c, "n:probe")
		return err == nil && got == 2
	}, time.Minute, time.Millisecond)
	require.NoError(t, client.FlushAll(ctx).Err())
	require.Eventually(t, func() bool { _, err := c.Load(ctx, "n:probe"); return err != nil }, time.Minute, time.Millisecond)
}
