package cache_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

// compat runs a scenario beside nodes of the original, which are the raw commands on client.
func compat(t *testing.T, scenario func(t *testing.T, ctx context.Context, c *cache.Cache, client redis.UniversalClient)) {
	t.Helper()
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		client := redistest.Client(t, cfg)
		c := cache.New(cache.Config{Client: client, Keys: cfg.Keys(), Holder: "me#1:a", Preset: cache.Stellar})
		scenario(t, t.Context(), c, client)
	})
}

func TestCompatEntryIsWhatTheOriginalWrites(t *testing.T) {
	compat(t, func(t *testing.T, ctx context.Context, c *cache.Cache, client redis.UniversalClient) {
		require.NoError(t, c.Save(ctx, "user", json.RawMessage(`{"a":"<&>"}`), 1500*time.Millisecond))
		raw, err := client.Get(ctx, "stellar:cacheuser").Result()
		require.NoError(t, err)
		require.Regexp(t, `^\{"value":\{"a":"<&>"\},"expireTimestamp":\d{13},"createdAt":\d{13},"readAt":null\}$`, raw)
		require.InDelta(t, 1500, client.PTTL(ctx, "stellar:cacheuser").Val().Milliseconds(), 500)

		e, err := c.Load(ctx, "user")
		require.NoError(t, err)
		require.Equal(t, json.RawMessage(`{"a":"<&>"}`), e.Value) //nolint:testifylint // the bytes
		require.Equal(t, 1500*time.Millisecond, e.Expires.Sub(e.Created))
		require.Positive(t, client.PTTL(ctx, "stellar:cacheuser").Val(), "a read keeps the lifetime")
		e, err = c.Load(ctx, "user")
		require.NoError(t, err)
		require.NotZero(t, e.Read)

		require.NoError(t, c.Touch(ctx, "user", time.Hour))
		e, err = c.Load(ctx, "user")
		require.NoError(t, err)
		require.Greater(t, time.Until(e.Expires), 50*time.Minute)

		require.NoError(t, c.Save(ctx, "user", nil, 0))
		raw, err = client.Get(ctx, "stellar:cacheuser").Result()
		require.NoError(t, err)
		require.Regexp(t, `^\{"value":null,"expireTimestamp":null,"createdAt":\d{13},"readAt":null\}$`, raw)
	})
}

func TestCompatReadsLeniently(t *testing.T) {
	compat(t, func(t *testing.T, ctx context.Context, c *cache.Cache, client redis.UniversalClient) {
		now := time.Now().UnixMilli()
		for raw, want := range map[string]any{
			fmt.Sprintf(`{"value":{"x":[1]},"createdAt":%d}`, now):                                            `{"x":[1]}`,
			fmt.Sprintf(`{"value":1,"expireTimestamp":null,"createdAt":%d,"readAt":%d}`, now, now):            `1`,
			fmt.Sprintf(`{"value":1,"expireTimestamp":%d.5,"createdAt":%d,"readAt":null}`, now+60_000, now):   `1`,
			fmt.Sprintf(`{"createdAt":%d,"readAt":null,"value":"}\"readAt\":null}","more":1}`, now):           `"}\"readAt\":null}"`,
			fmt.Sprintf(`{"expireTimestamp":null,"createdAt":%d,"readAt":null}`, now):                         `null`,
			fmt.Sprintf(`{"value":1,"expireTimestamp":%d,"createdAt":%d,"readAt":null}`, now-1000, now):       cache.ErrExpired,
			fmt.Sprintf(`{"readAt":null,"createdAt":%d,"expireTimestamp":%d,"value":{"a":1}}`, now, now-1000): cache.ErrExpired,
			`7`:    cache.ErrMalformed,
			`nope`: cache.ErrMalformed,
			`null`: cache.ErrMalformed,
			``:     cache.ErrMalformed,
		} {
			require.NoError(t, client.Set(ctx, "stellar:cachek", raw, 0).Err())
			e, err := c.Load(ctx, "k")
			if wanted, ok := want.(error); ok {
				require.ErrorIs(t, err, wanted, raw)
				continue
			}
			require.NoError(t, err, raw)
			require.Equal(t, want, string(e.Value), raw)
			after, err := c.LoadWith(ctx, "k", cache.LoadOptions{NoRecord: true})
			require.NoError(t, err, "a recorded read leaves an entry behind")
			require.Equal(t, e.Value, after.Value)
		}
	})
}

func TestCompatLocksWithNodesOfTheOriginal(t *testing.T) {
	compat(t, func(t *testing.T, ctx context.Context, c *cache.Cache, client redis.UniversalClient) {
		require.NoError(t, c.Save(ctx, "k", 1, 0))
		require.NoError(t, client.Set(ctx, "stellar:lockk", "other-node", 300*time.Millisecond).Err())
		require.ErrorIs(t, c.Save(ctx, "k", 2, 0), cache.ErrLocked)
		require.ErrorIs(t, second(c.Load(ctx, "k")), cache.ErrLocked)
		require.ErrorIs(t, second(c.Destroy(ctx, "k")), cache.ErrLocked)
		require.ErrorIs(t, second(c.TryLock(ctx, "k", time.Minute)), cache.ErrLocked)
		info, held, err := c.CheckLock(ctx, "k")
		require.NoError(t, err)
		require.True(t, held)
		require.Equal(t, "other-node", info.Holder)
		require.Zero(t, info.Fence)

		l, err := c.LockWith(ctx, "k", cache.LockOptions{TTL: time.Minute, Wait: 5 * time.Second})
		require.NoError(t, err, "it ends by itself")
		require.Equal(t, "me", client.Get(ctx, "stellar:lockk").Val())
		require.ErrorIs(t, second(c.TryLock(ctx, "k", time.Minute)), cache.ErrLocked, "not for a second one of the node")
		require.ErrorIs(t, c.Save(ctx, "k", 2, 0), cache.ErrLocked)
		require.NoError(t, c.Save(l.Context(), "k", 2, 0))
		require.NoError(t, l.Renew(ctx))
		info, _, err = c.CheckLock(ctx, "k")
		require.NoError(t, err)
		require.Equal(t, "me#1:a", info.Holder)
		require.NoError(t, l.Unlock())
		require.Zero(t, client.Exists(ctx, "stellar:lockk").Val())

		l, err = c.TryLock(ctx, "k", time.Minute)
		require.NoError(t, err)
		require.NoError(t, client.Del(ctx, "stellar:lockk").Err()) // what Stellar's unlock does
		require.ErrorIs(t, c.Save(l.Context(), "k", 3, 0), cache.ErrLockLost)
		require.ErrorIs(t, l.Unlock(), cache.ErrLockLost)

		_, err = c.TryLock(ctx, "k", time.Minute)
		require.NoError(t, err)
		n, err := c.ReleaseAll(ctx, "me#1:a")
		require.NoError(t, err)
		require.Equal(t, 1, n)
		require.Zero(t, client.Exists(ctx, "stellar:lockk").Val())
	})
}

func TestCompatListsCountersAndTheRest(t *testing.T) {
	compat(t, func(t *testing.T, ctx context.Context, c *cache.Cache, client redis.UniversalClient) {
		_, err := c.Push(ctx, "l", map[string]int{"a": 1})
		require.NoError(t, err)
		require.Equal(t, []string{`{"data":{"a":1}}`}, client.LRange(ctx, "stellar:cachel", 0, -1).Val())
		require.NoError(t, client.RPush(ctx, "stellar:cachel", `{"data":"x"}`, `{}`).Err())
		for _, want := range []string{`{"a":1}`, `"x"`, `null`} {
			item, err := c.Pop(ctx, "l")
			require.NoError(t, err)
			require.Equal(t, want, string(item))
		}
		require.NoError(t, client.Set(ctx, "stellar:cachen", `{"value":41,"createdAt":1700000000000}`, 0).Err())
		n, err := c.Increment(ctx, "n", 1)
		require.NoError(t, err)
		require.EqualValues(t, 42, n)

		for range 3 {
			_, err = cache.Update(ctx, c, "n", func(old int, _ bool) (int, error) { return old + 1, nil })
			require.NoError(t, err)
		}
		v, err := cache.GetOrLoad(ctx, c, "m", cache.FillOptions{TTL: time.Hour}, func(context.Context) (int, error) { return 1, nil })
		require.NoError(t, err)
		require.Equal(t, 1, v)
		found, err := c.LoadMany(ctx, []string{"n", "m"})
		require.NoError(t, err)
		require.Equal(t, "45", string(found["n"].Value))
		require.Equal(t, "1", string(found["m"].Value))
		require.Equal(t, []string{"m", "n"}, keysOf(t, c, "*"))
		cleared, err := c.Clear(ctx, "*")
		require.NoError(t, err)
		require.Equal(t, 2, cleared)
	})
}

// Where Redis alone keeps a lifetime, it decides: beside actionhero always, beside Stellar for
// entries without expireTimestamp.
func TestCompatLifetimeOfRedis(t *testing.T) {
	const bare = `{"value":41,"createdAt":1700000000000}`
	now := time.Now().UnixMilli()
	slid := fmt.Sprintf(`{"value":41,"expireTimestamp":%d,"createdAt":%d,"readAt":null}`, now-1000, now-5000)
	for preset, raws := range map[cache.Preset][]string{cache.ActionHero: {bare, slid}, cache.Stellar: {bare}} {
		for i, raw := range raws {
			t.Run(fmt.Sprint(preset, i), func(t *testing.T) {
				redistest.Each(t, func(t *testing.T, cfg link.Config) { lifetimeOfRedis(t, cfg, preset, raw) })
			})
		}
	}
}

func lifetimeOfRedis(t *testing.T, cfg link.Config, preset cache.Preset, raw string) {
	ctx, client := t.Context(), redistest.Client(t, cfg)
	c := cache.New(cache.Config{Client: client, Keys: cfg.Keys(), Preset: preset})
	name := c.EntryKey("k")
	reset := func() { require.NoError(t, client.Set(ctx, name, raw, time.Minute).Err()) }
	lives := func(most time.Duration) {
		t.Helper()
		require.InDelta(t, most.Seconds(), client.PTTL(ctx, name).Val().Seconds(), 30, "on Redis")
		e, err := c.LoadWith(ctx, "k", cache.LoadOptions{NoRecord: true})
		require.NoError(t, err)
		require.InDelta(t, most.Seconds(), time.Until(e.Expires).Seconds(), 30)
	}

	reset()
	for range 2 {
		_, err := c.Load(ctx, "k")
		require.NoError(t, err)
	}
	lives(time.Minute)
	n, err := cache.Update(ctx, c, "k", func(old int, _ bool) (int, error) { return old + 1, nil })
	require.NoError(t, err)
	require.Equal(t, 42, n)
	lives(time.Minute)

	reset()
	sum, err := c.Increment(ctx, "k", 1)
	require.NoError(t, err)
	require.EqualValues(t, 42, sum)
	lives(time.Minute)

	reset()
	require.NoError(t, c.Touch(ctx, "k", time.Hour))
	lives(time.Hour)

	reset()
	_, err = c.SaveWith(ctx, "k", 43, cache.SaveOptions{KeepTTL: true})
	require.NoError(t, err)
	lives(time.Minute)

	reset()
	found, err := c.LoadMany(ctx, []string{"k"})
	require.NoError(t, err)
	require.Contains(t, found, "k")
	var file bytes.Buffer
	_, err = c.Export(ctx, &file, "*", cache.ExportOptions{})
	require.NoError(t, err)
	there, err := c.Destroy(ctx, "k")
	require.NoError(t, err)
	require.True(t, there)
	done, err := c.Import(ctx, &file, cache.ImportOptions{})
	require.NoError(t, err)
	require.Equal(t, 1, done.Entries)
	lives(time.Minute)
}

func TestActionHeroKeepsStaleValuesThoughRedisDecides(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		ctx, client := t.Context(), redistest.Client(t, cfg)
		c := cache.New(cache.Config{Client: client, Keys: cfg.Keys(), Preset: cache.ActionHero})
		_, err := c.SaveWith(ctx, "k", "v", cache.SaveOptions{TTL: time.Millisecond, Stale: time.Hour})
		require.NoError(t, err)
		require.Eventually(t, func() bool { return errors.Is(second(c.Load(ctx, "k")), cache.ErrExpired) }, time.Minute, time.Millisecond)
		e, err := c.LoadWith(ctx, "k", cache.LoadOptions{Stale: true})
		require.NoError(t, err)
		require.True(t, e.Stale)
		require.Equal(t, `"v"`, string(e.Value))
		// A node of actionhero slides it.
		require.NoError(t, client.PExpire(ctx, c.EntryKey("k"), 2*time.Hour).Err())
		e, err = c.Load(ctx, "k")
		require.NoError(t, err)
		require.InDelta(t, time.Hour.Seconds(), time.Until(e.Expires).Seconds(), 30)
		require.NoError(t, c.Touch(ctx, "k", 2*time.Hour))
		require.InDelta(t, (3 * time.Hour).Seconds(), client.PTTL(ctx, c.EntryKey("k")).Val().Seconds(), 30)
	})
}

// An entry whose members come in another order can be updated, too.
func TestCompatUpdateOfAnotherOrder(t *testing.T) {
	compat(t, func(t *testing.T, ctx context.Context, c *cache.Cache, client redis.UniversalClient) {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		require.NoError(t, client.Set(ctx, "stellar:cachek", `{"createdAt":1700000000000,"value":1}`, 0).Err())
		n, err := cache.Update(ctx, c, "k", func(old int, _ bool) (int, error) { return old + 1, nil })
		require.NoError(t, err)
		require.Equal(t, 2, n)
	})
}

// A version that were empty would make the next save unconditional.
func TestCompatSaveReturnsTheVersion(t *testing.T) {
	for _, preset := range []cache.Preset{cache.Native, cache.Stellar, cache.ActionHero} {
		redistest.Each(t, func(t *testing.T, cfg link.Config) {
			ctx := t.Context()
			c := cache.New(cache.Config{Client: redistest.Client(t, cfg), Keys: cfg.Keys(), Preset: preset})
			for _, o := range []cache.SaveOptions{{}, {TTL: time.Hour, Stale: time.Hour}} {
				first, err := c.SaveWith(ctx, "k", 1, o)
				require.NoError(t, err)
				e, err := c.Load(ctx, "k")
				require.NoError(t, err)
				require.Equal(t, e.Version, first)
				o.IfVersion = first
				second, err := c.SaveWith(ctx, "k", 2, o)
				require.NoError(t, err)
				require.NotEqual(t, first, second)
				_, err = c.SaveWith(ctx, "k", 3, o)
				require.ErrorIs(t, err, cache.ErrConflict)
			}
		})
	}
}

func TestImportOfWhatOtherProgramsWrite(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		ctx, client := t.Context(), redistest.Client(t, cfg)
		theirs := cache.New(cache.Config{Client: client, Keys: cfg.Keys(), Preset: cache.ActionHero})
		long := strings.Repeat("k", cache.MaxKey+1)
		require.NoError(t, client.Set(ctx, theirs.EntryKey(long), `{"value":1,"createdAt":1700000000000}`, time.Hour).Err())
		require.NoError(t, client.Set(ctx, theirs.EntryKey("odd"), `{"value":2,"createdAt":-5}`, 0).Err())
		require.NoError(t, client.Set(ctx, theirs.EntryKey("late"), `{"value":3,"createdAt":99999999999999}`, 0).Err())
		require.NoError(t, client.Set(ctx, theirs.EntryKey("good"), `{"value":4,"createdAt":1700000000000}`, 0).Err())
		var file bytes.Buffer
		done, err := theirs.Export(ctx, &file, "*", cache.ExportOptions{})
		require.NoError(t, err)
		require.Equal(t, 4, done.Entries)
		text := file.String()
		_, err = theirs.Clear(ctx, "*")
		require.NoError(t, err)

		done, err = theirs.Import(ctx, strings.NewReader(text), cache.ImportOptions{})
		require.NoError(t, err)
		require.Equal(t, 4, done.Entries)
		require.InDelta(t, time.Hour.Seconds(), client.PTTL(ctx, theirs.EntryKey(long)).Val().Seconds(), 30)

		ours := cache.New(cache.Config{Client: client, Keys: cfg.Keys()})
		done, err = ours.Import(ctx, strings.NewReader(text), cache.ImportOptions{})
		require.NoError(t, err)
		require.Equal(t, 3, done.Entries)
		require.Equal(t, 1, done.Skipped, "no key of ours is that long")
	})
}

func TestCompatPrefixesComeFromTheConfiguration(t *testing.T) {
	cfg, ctx := redistest.Embedded(t).Config(), t.Context()
	client := redistest.Client(t, cfg)
	require.NoError(t, cache.New(cache.Config{Client: client, Keys: cfg.Keys(), Preset: cache.ActionHero}).Save(ctx, "k", 1, 0))
	require.NoError(t, cache.New(cache.Config{Client: client, Keys: cfg.Keys(), Preset: cache.ActionHero, CachePrefix: "my[*]:"}).Save(ctx, "k", 1, 0))
	require.ElementsMatch(t, []string{"actionhero:cache:k", "my[*]:k"}, client.Keys(ctx, "*").Val())
	c := cache.New(cache.Config{Client: client, Keys: cfg.Keys(), Preset: cache.Stellar, CachePrefix: "my[*]:"})
	require.Equal(t, []string{"k"}, keysOf(t, c, "*"), "a prefix is no pattern")
}
