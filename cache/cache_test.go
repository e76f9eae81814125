package cache_test

import (
	"context"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

func TestMain(m *testing.M) { redistest.Main(m) }

func open(t testing.TB, cfg link.Config) *cache.Cache {
	t.Helper()
	return cache.New(cache.Config{Client: redistest.Client(t, cfg), Keys: cfg.Keys(), Holder: "node#1:a"})
}

// each runs a scenario with a cache on both Redises.
func each(t *testing.T, scenario func(t *testing.T, ctx context.Context, c *cache.Cache, cfg link.Config)) {
	t.Helper()
	redistest.Each(t, func(t *testing.T, cfg link.Config) { scenario(t, t.Context(), open(t, cfg), cfg) })
}

func TestSavedValueIsLoadedAsItWasEncoded(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, c *cache.Cache, _ link.Config) {
		for _, value := range []string{`"<é&\u2028>"`, `{"b":1.0,  "a":null}`, `0`, `""`, `[]`, `12345678901234567890123`, `"` + strings.Repeat("x", 100_000) + `"`} {
			require.NoError(t, c.Save(ctx, "k", json.RawMessage(value), 0))
			e, err := c.Load(ctx, "k")
			require.NoError(t, err)
			require.Equal(t, value, string(e.Value))
			require.WithinDuration(t, time.Now(), e.Created, 5*time.Second)
			require.Zero(t, e.Expires)
			require.Zero(t, e.Read)
		}
		e, err := c.Load(ctx, "k")
		require.NoError(t, err)
		require.WithinDuration(t, time.Now(), e.Read, 5*time.Second)
		require.False(t, e.Read.Before(e.Created))
	})
}

func TestAnyBytesAreAKey(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, c *cache.Cache, _ link.Config) {
		keys := []string{"\x00", "a b\n", "{x}:lock:y", "*", "\xff\xfe", strings.Repeat("k", cache.MaxKey)}
		for i, k := range keys {
			require.NoError(t, c.Save(ctx, k, i, 0))
		}
		for i, k := range keys {
			got, err := cache.Get[int](ctx, c, k)
			require.NoError(t, err)
			require.Equal(t, i, got)
		}
		require.ErrorIs(t, c.Save(ctx, "", 1, 0), cache.ErrInvalid)
		require.ErrorIs(t, c.Save(ctx, strings.Repeat("k", cache.MaxKey+1), 1, 0), cache.ErrInvalid)
		require.ErrorIs(t, c.Save(ctx, "k", 1, -1), cache.ErrInvalid)
		require.ErrorIs(t, c.Save(ctx, "k", make(chan int), 0), cache.ErrInvalid)
		require.ErrorIs(t, c.Save(ctx, "k", json.RawMessage(`{`), 0), cache.ErrInvalid)
	})
}

func TestDestroySaysWhetherThereWasAnEntry(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, c *cache.Cache, _ link.Config) {
		require.NoError(t, c.Save(ctx, "k", 1, 0))
		there, err := c.Destroy(ctx, "k")
		require.NoError(t, err)
		require.True(t, there)
		there, err = c.Destroy(ctx, "k")
		require.NoError(t, err)
		require.False(t, there)
		_, err = c.Load(ctx, "k")
		require.ErrorIs(t, err, cache.ErrNotFound)
		require.NotErrorIs(t, err, cache.ErrExpired)
	})
}

func TestLifetimeIsExactToTheMillisecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := redistest.Embedded(t)
		c, ctx := open(t, server.Config()), t.Context()
		for _, ttl := range []time.Duration{time.Millisecond, 7 * time.Millisecond, 1500 * time.Millisecond, time.Hour} {
			saved := time.Now()
			require.NoError(t, c.Save(ctx, "k", 1, ttl))
			time.Sleep(ttl - time.Millisecond)
			e, err := c.Load(ctx, "k")
			require.NoError(t, err)
			require.Equal(t, saved.Add(ttl).UnixMilli(), e.Expires.UnixMilli())
			time.Sleep(time.Millisecond)
			_, err = c.Load(ctx, "k")
			require.ErrorIs(t, err, cache.ErrNotFound)
			there, err := c.Destroy(ctx, "k")
			require.NoError(t, err)
			require.False(t, there)
		}
		require.NoError(t, c.Save(ctx, "k", 1, time.Second))
		require.NoError(t, c.Save(ctx, "k", 2, 0), "a save replaces the lifetime")
		time.Sleep(time.Hour)
		_, err := c.Load(ctx, "k")
		require.NoError(t, err)
	})
}

func TestIncrementIsExactInAll64Bits(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, c *cache.Cache, _ link.Config) {
		for _, pair := range [][2]int64{
			{0, 1}, {1, -1}, {5, -7}, {math.MaxInt64 - 1, 1}, {math.MinInt64 + 1, -1}, {math.MaxInt64, math.MinInt64},
			{math.MinInt64, math.MaxInt64}, {1 << 53, 1}, {-(1 << 53), -1}, {999_999_999, 1}, {-1_000_000_000, 1},
			{1_000_000_000_000_000_000, -1}, {-1_000_000_000_000_000_000, 1}, {9_007_199_254_740_993, -2},
		} {
			require.NoError(t, c.Save(ctx, "n", pair[0], 0))
			got, err := c.Increment(ctx, "n", pair[1])
			require.NoError(t, err)
			require.Equal(t, pair[0]+pair[1], got)
			stored, err := cache.Get[int64](ctx, c, "n")
			require.NoError(t, err)
			require.Equal(t, got, stored)
		}
		for _, pair := range [][2]int64{{math.MaxInt64, 1}, {math.MinInt64, -1}, {math.MinInt64, math.MinInt64}} {
			require.NoError(t, c.Save(ctx, "n", pair[0], 0))
			_, err := c.Increment(ctx, "n", pair[1])
			require.ErrorIs(t, err, cache.ErrOverflow)
		}
		for _, value := range []any{"1", 1.5, json.RawMessage(`1e3`), nil, json.RawMessage(`9223372036854775808`)} {
			require.NoError(t, c.Save(ctx, "n", value, 0))
			_, err := c.Increment(ctx, "n", 1)
			require.ErrorIs(t, err, cache.ErrNotNumber)
		}
	})
}

func TestCounterKeepsItsLifetimeAndStartsAtZero(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, ctx := open(t, redistest.Embedded(t).Config()), t.Context()
		require.NoError(t, c.Save(ctx, "n", 5, time.Second))
		time.Sleep(500 * time.Millisecond)
		got, err := c.Increment(ctx, "n", 1)
		require.NoError(t, err)
		require.EqualValues(t, 6, got)
		time.Sleep(501 * time.Millisecond)
		got, err = c.Increment(ctx, "n", 2)
		require.NoError(t, err)
		require.EqualValues(t, 2, got)
	})
}

func TestUnreachableRedisIsNotNotFound(t *testing.T) {
	s := redistest.Start(t)
	c := open(t, s.Config())
	require.NoError(t, c.Save(t.Context(), "k", 1, 0))
	s.Kill()
	for range 2 { // the first call may find a connection that is just going away
		_, err := c.Load(t.Context(), "k")
		require.NotErrorIs(t, err, cache.ErrNotFound)
		require.Error(t, err)
	}
	require.ErrorIs(t, c.Save(t.Context(), "k", 1, 0), link.ErrUnavailable)
}

func TestEffectsAreRefusedBeforeTheFirstIsWritten(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, c *cache.Cache, cfg link.Config) {
		client, keys := redistest.Client(t, cfg), cfg.Keys()
		apply := func(effects ...string) string { // op, key, argument …
			s := link.NewScript(link.LuaPrelude, c.LuaEffects(), `
				for i = 1, #ARGV, 4 do
					local code = cache_refuses(ARGV[i], ARGV[i+1], ARGV[i+2], '', ARGV[i+3])
					if code then return code end
				end
				for i = 1, #ARGV, 4 do
					local op, key, arg = ARGV[i], ARGV[i+1], ARGV[i+3]
					if op == 'save' then cache_save(key, arg, 0)
					elseif op == 'destroy' then cache_destroy(key)
					elseif op == 'push' then cache_push(key, arg)
					else cache_increment(key, arg) end
				end
				return 'OK'`)
			var args []any
			for i := 0; i < len(effects); i += 3 {
				args = append(args, effects[i], keys.Cache(effects[i+1]), keys.Lock(effects[i+1]), effects[i+2])
			}
			code, err := s.Run(ctx, client, []string{keys.CachePrefix()}, args...).Text()
			require.NoError(t, err)
			return code
		}
		require.Equal(t, "OK", apply("save", "a", `{"x":1}`, "increment", "n", "41", "increment", "n", "1", "push", "l", `"i"`))
		n, err := cache.Get[int](ctx, c, "n")
		require.NoError(t, err)
		require.Equal(t, 42, n)
		e, err := c.Load(ctx, "a")
		require.NoError(t, err)
		require.Equal(t, `{"x":1}`, string(e.Value))

		for want, effects := range map[string][]string{
			"WRONGTYPE": {"save", "new", "1", "save", "l", "1"},
			"NOTNUMBER": {"save", "new", `"x"`, "increment", "new", "1"},
			"OVERFLOW":  {"increment", "new", strconv.FormatInt(math.MaxInt64, 10), "increment", "new", "1"},
		} {
			require.Equal(t, want, apply(effects...))
			require.Error(t, cache.Refusal(want))
			_, err := c.Load(ctx, "new")
			require.ErrorIs(t, err, cache.ErrNotFound, want)
		}
		require.Equal(t, "WRONGTYPE", apply("save", "new", "1", "push", "new", "1"))
		require.Equal(t, "OK", apply("destroy", "l", "", "save", "l", "7", "increment", "l", "1", "destroy", "n", "", "push", "n", "1"))
		n, err = cache.Get[int](ctx, c, "l")
		require.NoError(t, err)
		require.Equal(t, 8, n)
		_, err = c.Load(ctx, "n")
		require.ErrorIs(t, err, cache.ErrWrongType)
	})
}
