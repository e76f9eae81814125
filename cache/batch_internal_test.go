package cache

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/flight"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

// batch runs a scenario with two caches of one batcher on both Redises.
func batch(t *testing.T, scenario func(t *testing.T, ctx context.Context, a, b *Cache)) {
	t.Helper()
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		client := redistest.Client(t, cfg)
		open := func(holder string) *Cache {
			return New(Config{Client: client, Batcher: NewBatcher(client), Keys: cfg.Keys(), Holder: holder})
		}
		a, b := open("a#1:a"), open("b#1:b")
		b.client.batcher = a.client.batcher
		scenario(t, t.Context(), a, b)
	})
}

// together sends the requests in one flight.
func together(ctx context.Context, c *Cache, requests ...*request) (results []any) {
	var all []flight.Item[*request]
	for _, r := range requests {
		all = append(all, flight.Item[*request]{Value: r})
	}
	c.client.batcher.send(ctx, all)
	for _, r := range requests {
		if results = append(results, r.result); r.err != nil {
			results[len(results)-1] = r.err
		}
	}
	return results
}

func (c *Cache) saveRequest(key, value string, ttl int64) *request {
	return &request{
		script: c.scripts.fastSave, head: head{args: [2]int64{ttl, ttl}, n: 2},
		keys: [2]string{c.names.entry(key), c.names.lock(key)}, text: c.unique(), value: []byte(value),
	}
}

func (c *Cache) itemOf(key string) *request {
	return &request{script: c.scripts.fastLoad, keys: [2]string{c.names.entry(key)}}
}

func TestSavesThatFlyTogetherAreEachOnTheirOwn(t *testing.T) {
	batch(t, func(t *testing.T, ctx context.Context, a, _ *Cache) {
		_, err := a.TryLock(ctx, "locked", time.Minute)
		require.NoError(t, err)
		_, err = a.Push(ctx, "list", 1)
		require.NoError(t, err)
		require.Equal(t, []any{int64(1), int64(0), int64(1), int64(0), int64(1), int64(1)}, together(ctx, a,
			a.saveRequest("1", "1", 60_000), a.saveRequest("locked", "2", 60_000), a.saveRequest("3", "3", 0),
			a.saveRequest("list", "4", 60_000), a.saveRequest("1", "5", 60_000), a.saveRequest("6", "6", 60_000)))
		found, err := a.LoadMany(ctx, []string{"1", "locked", "3", "6"})
		require.NoError(t, err)
		require.Len(t, found, 3)
		require.Equal(t, "5", string(found["1"].Value), "the later one")
		require.WithinDuration(t, found["1"].Created.Add(time.Minute), found["1"].Expires, 0)
		require.Zero(t, found["3"].Expires)
		left, err := a.client.PTTL(ctx, a.EntryKey("6")).Result()
		require.NoError(t, err)
		require.InDelta(t, time.Minute, left, float64(10*time.Second))
		n, err := a.Len(ctx, "list")
		require.NoError(t, err)
		require.Equal(t, int64(1), n)
	})
}

func TestLoadsThatFlyTogetherAreEachOnTheirOwn(t *testing.T) {
	batch(t, func(t *testing.T, ctx context.Context, a, _ *Cache) {
		large := `"` + strings.Repeat("x", 200_000) + `"`
		for key, value := range map[string]string{"1": "1", "large": large, "later": "9"} {
			require.NoError(t, a.Save(ctx, key, json.RawMessage(value), time.Minute))
		}
		_, err := a.Push(ctx, "list", 1)
		require.NoError(t, err)
		require.NoError(t, a.client.Set(ctx, a.EntryKey("malformed"), "x", 0).Err())
		_, err = a.SaveWith(ctx, "stale", 1, SaveOptions{TTL: time.Millisecond, Stale: time.Minute})
		require.NoError(t, err)
		time.Sleep(2 * time.Millisecond)

		got := together(ctx, a, a.itemOf("1"), a.itemOf("none"), a.itemOf("list"), a.itemOf("malformed"),
			a.itemOf("stale"), a.itemOf("large"), a.itemOf("large"), a.itemOf("later"))
		require.IsType(t, "", got[0])
		require.Nil(t, got[1])
		require.Equal(t, []any{int64(0), int64(0), int64(0)}, got[2:5])
		require.IsType(t, "", got[5])
		require.IsType(t, "", got[6])
		require.Equal(t, int64(0), got[7], "so much is not copied at once")
		e, err := a.LoadWith(ctx, "1", LoadOptions{NoRecord: true})
		require.NoError(t, err)
		require.NotZero(t, e.Read)
		e, err = a.LoadWith(ctx, "later", LoadOptions{NoRecord: true})
		require.NoError(t, err)
		require.Zero(t, e.Read)
	})
}

func TestLocksThatFlyTogetherHaveOneHolderAndGrowingFences(t *testing.T) {
	batch(t, func(t *testing.T, ctx context.Context, a, b *Cache) {
		lock := func(c *Cache, key, token string) *request {
			return &request{
				script: c.scripts.fastLock, head: head{key: c.clock, args: [2]int64{60_000}, n: 1},
				keys: [2]string{c.names.lock(key), c.index}, text: token,
			}
		}
		unlock := func(c *Cache, key, token string) *request {
			return &request{
				script: c.scripts.fastUnlock, keys: [2]string{c.names.lock(key), c.index}, text: "0" + token,
			}
		}
		token := func(c *Cache) string { return c.unique() + "/" + c.holder }
		before, err := a.TryLock(ctx, "held", time.Minute)
		require.NoError(t, err)
		ta, tb := token(a), token(b)
		runs := addItem(addItem(nil, lock(a, "1", ta)), lock(b, "2", tb))
		require.Len(t, runs, 1, "the holders share the run of a script")
		got := together(ctx, a, lock(a, "1", ta), lock(a, "held", ta), lock(b, "2", tb), lock(a, "3", ta), lock(a, "1", token(a)), lock(b, "3", tb))
		require.Equal(t, int64(0), got[1])
		require.Equal(t, int64(0), got[4])
		require.Equal(t, int64(0), got[5])
		after, err := b.TryLock(ctx, "after", time.Minute)
		require.NoError(t, err)
		fences := []any{link.ReplyTo(got[0]), link.ReplyTo(got[2]), link.ReplyTo(got[3])}
		last := before.Fence()
		for _, f := range fences {
			var fence int64
			require.NoError(t, f.(link.Reply).Scan(&fence))
			require.Greater(t, fence, last)
			last = fence
		}
		require.Greater(t, after.Fence(), last)

		_, err = a.client.LPush(ctx, a.names.lock("alien"), 1).Result()
		require.NoError(t, err)
		require.Equal(t, []any{int64(1), int64(0), int64(0), int64(1), int64(0)}, together(ctx, a,
			unlock(a, "1", ta), unlock(a, "2", ta), unlock(a, "held", ta), unlock(b, "2", tb), unlock(a, "alien", ta)))
		freed, err := a.ReleaseAll(ctx, a.holder)
		require.NoError(t, err)
		require.Equal(t, 2, freed, "3 and held")
		freed, err = a.ReleaseAll(ctx, b.holder)
		require.NoError(t, err)
		require.Equal(t, 1, freed, "after")
		require.Error(t, before.Unlock())
	})
}

// Everything that may stand in a flight, at once: every caller gets what is its own.
func TestFlightsOfAllKindsReturnToEachCallerItsOwn(t *testing.T) {
	batch(t, func(t *testing.T, ctx context.Context, a, b *Cache) {
		var all sync.WaitGroup
		for i := range 32 {
			c, key := []*Cache{a, b}[i%2], strings.Repeat("k", i+1)
			all.Go(func() {
				for n := range 20 {
					if err := c.Save(ctx, key, n, time.Duration(i%3)*time.Minute); err != nil {
						t.Error(err)
					}
					if got, err := Get[int](ctx, c, key); err != nil || got != n {
						t.Errorf("%d instead of %d: %v", got, n, err)
					}
					l, err := c.TryLock(ctx, key, time.Minute)
					if err != nil {
						t.Error(err)
						continue
					}
					if _, err = c.Increment(l.Context(), key, 1); err != nil {
						t.Error(err)
					}
					if err = l.Unlock(); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
	})
}

func TestClosedCacheRefusesThoughItsBatcherWorks(t *testing.T) {
	batch(t, func(t *testing.T, ctx context.Context, a, b *Cache) {
		a.Close()
		err := a.Save(ctx, "k", 1, 0)
		require.ErrorIs(t, err, ErrClosed)
		require.ErrorIs(t, err, link.ErrUnavailable)
		_, err = a.Increment(ctx, "n", 1)
		require.ErrorIs(t, err, ErrClosed)
		require.NoError(t, b.Save(ctx, "k", 1, 0))
	})
}

// The key of one holder's index is something else's: the locks of others that fly with its own are
// taken and freed all the same.
func TestAnAlienIndexIsItsHoldersAlone(t *testing.T) {
	batch(t, func(t *testing.T, ctx context.Context, a, b *Cache) {
		lock := func(c *Cache, key, token string) *request {
			return &request{script: c.scripts.fastLock, head: head{key: c.clock, args: [2]int64{60_000}, n: 1},
				keys: [2]string{c.names.lock(key), c.index}, text: token}
		}
		unlock := func(c *Cache, key, token string) *request {
			return &request{script: c.scripts.fastUnlock, keys: [2]string{c.names.lock(key), c.index}, text: "0" + token}
		}
		token := func(c *Cache) string { return c.unique() + "/" + c.holder }
		ta, tb := token(a), token(b)
		together(ctx, a, lock(a, "a", ta), lock(b, "b", tb))
		require.NoError(t, a.client.Del(ctx, b.index).Err())
		require.NoError(t, a.client.Set(ctx, b.index, "alien", 0).Err())
		if got := together(ctx, a, unlock(a, "a", ta), unlock(b, "b", tb)); got[0] != int64(1) {
			t.Error("a's unlock failed for b's index: ", got[0])
		}
		_, err := a.ReleaseAll(ctx, a.holder)
		require.NoError(t, err)
		if a.client.Exists(ctx, a.names.lock("a")).Val() == 1 {
			t.Error("the lock of a outlives a: it has left a's index")
		}
		if err, failed := together(ctx, a, lock(a, "c", token(a)), lock(b, "d", token(b)))[0].(error); failed {
			t.Error("a's lock failed for b's index: ", err)
		}
	})
}
