package link_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

func TestScriptIsLoadedWhenRedisForgotIt(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		c := redistest.Client(t, cfg)
		s := link.NewScript(link.LuaPrelude, `return redis.call('INCRBY', KEYS[1], ARGV[1])`)
		for want := int64(2); want <= 6; want += 2 {
			got, err := s.Run(t.Context(), c, []string{cfg.Keys().Epoch()}, 2).Int64()
			require.NoError(t, err)
			require.Equal(t, want, got)
			require.NoError(t, c.ScriptFlush(t.Context()).Err())
		}
	})
}

func TestWritableScriptWritesAtMaxMemory(t *testing.T) {
	cfg := redistest.Start(t).Config()
	c := redistest.Client(t, cfg)
	key := cfg.Keys().Epoch()
	require.NoError(t, c.Set(t.Context(), key+"x", strings.Repeat("x", 100_000), 0).Err())
	require.NoError(t, c.ConfigSet(t.Context(), "maxmemory", "1").Err())

	blocked := link.NewScript(link.LuaPrelude, `return redis.call('INCR', KEYS[1])`)
	err := blocked.Run(t.Context(), c, []string{key}).Err()
	require.ErrorIs(t, link.Explain(err), link.ErrFull)

	let := link.NewScript(link.LuaPrelude, `writable(KEYS[1]) return redis.call('INCR', KEYS[1])`)
	got, err := let.Run(t.Context(), c, []string{key}).Int64()
	require.NoError(t, err)
	require.EqualValues(t, 1, got)
}

func TestPreludePrintsAllDigitsAndChecksTypes(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		c := redistest.Client(t, cfg)
		key := cfg.Keys().Queue("q")
		require.NoError(t, c.RPush(t.Context(), key, "1").Err())
		s := link.NewScript(link.LuaPrelude,
			`return {int(9007199254740991), fits(KEYS[1], 'list'), fits(KEYS[1], 'hash'), fits(KEYS[1] .. 'none', 'hash'), now() > 1700000000000}`)
		got, err := s.Run(t.Context(), c, []string{key}).Slice()
		require.NoError(t, err)
		require.Equal(t, []any{"9007199254740991", int64(1), nil, int64(1), int64(1)}, got)
	})
}
