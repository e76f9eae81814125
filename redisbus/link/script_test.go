package link_test

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
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

func TestAScriptRunsInOneTransactionWithWhatComesBefore(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		c := redistest.Client(t, cfg)
		s := link.NewScript(link.LuaPrelude, `return redis.call('INCRBY', KEYS[1], ARGV[1])`)
		for want := 3; want <= 9; want += 3 { // Redis does not know the script
			reply, err := s.CallAfter(t.Context(), c, func(p redis.Pipeliner) {
				p.Set(t.Context(), cfg.Keys().Epoch(), want-3, 0)
			}, []string{cfg.Keys().Epoch()}, 3)
			require.NoError(t, err)
			var got int
			require.NoError(t, reply.Scan(&got))
			require.Equal(t, want, got)
			require.NoError(t, c.ScriptFlush(t.Context()).Err())
		}
	})
}

// The reply to the transaction says only that one of its commands was refused.
func TestATransactionThatIsRefusedSaysWhy(t *testing.T) {
	server := redistest.Start(t)
	cfg := server.Config()
	c := redistest.Client(t, cfg)
	s := link.NewScript(link.LuaPrelude, `return 1`)
	call := func() error {
		_, err := s.CallAfter(t.Context(), c, func(p redis.Pipeliner) {
			p.Set(t.Context(), cfg.Keys().Epoch(), 1, 0)
		}, []string{cfg.Keys().Epoch()})
		return err
	}
	require.NoError(t, call())
	for _, refused := range []struct {
		words, back []any
		cause       link.Cause
	}{
		{[]any{"config", "set", "maxmemory", "1"}, []any{"config", "set", "maxmemory", "0"}, link.CauseMemory},
		{[]any{"config", "set", "min-replicas-to-write", "1"}, []any{"config", "set", "min-replicas-to-write", "0"}, link.CauseReplicas},
		{[]any{"acl", "setuser", "default", "-set"}, []any{"acl", "setuser", "default", "+set"}, link.CauseRights},
		{[]any{"replicaof", "127.0.0.1", "1"}, []any{"replicaof", "no", "one"}, link.CauseReplica},
	} {
		server.Do(t, refused.words...)
		err := call()
		require.Equal(t, refused.cause, link.CauseOf(err), "%v", err)
		require.Equal(t, link.DidNotRun, link.OutcomeOf(err))
		server.Do(t, refused.back...)
		require.Eventually(t, func() bool { return call() == nil }, time.Minute, 10*time.Millisecond)
	}
}

func TestCommandsHaveTheNamesOfTheirScripts(t *testing.T) {
	link.NewScript("-- shared: not this\n-- KEYS none\n", "-- mine: does something\n-- with two lines\n-- KEYS 1 a\nreturn 1")
	s := link.NewScript("-- shared: not this\n-- KEYS none\n", "-- other: does something\n-- KEYS 1 a\nreturn 2")
	server := redistest.Start(t)
	cmd := s.Run(t.Context(), redistest.Client(t, server.Config()), []string{"a"})
	require.Equal(t, "eval", link.CommandName(cmd), "the first time it is sent in full")
	cmd = s.Run(t.Context(), redistest.Client(t, server.Config()), []string{"a"})
	require.Equal(t, "other", link.CommandName(cmd))
	require.Equal(t, "get", link.CommandName(redistest.Client(t, server.Config()).Get(t.Context(), "a")))
}
