package embedded_test

import (
	"context"
	"net"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

// each runs the scenario on both Redises, with a client that is not the library's own.
func each(t *testing.T, scenario func(t *testing.T, ctx context.Context, c *redis.Client)) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) { scenario(t, t.Context(), redistest.Client(t, cfg)) })
}

func TestScriptsReplyAsOnARealRedis(t *testing.T) {
	for source, want := range map[string]any{
		"return 1":                             int64(1),
		"return 3.99":                          int64(3),
		"return -3.99":                         int64(-3),
		"return 4503599627370497":              int64(4503599627370497),
		"return true":                          int64(1),
		"return false":                         nil,
		"return nil":                           nil,
		"return":                               nil,
		"return 'text', 'ignored'":             "text",
		"return {1, 'two', {3, true}, nil, 5}": []any{int64(1), "two", []any{int64(3), int64(1)}},
		"return {}":                            []any{},
		"return {ok = 'FINE'}":                 "FINE",
		"return redis.status_reply('FINE')":    "FINE",
		"return redis.sha1hex('')":             "da39a3ee5e6b4b0d3255bfef95601890afd80709",
		"return redis.call('SET', KEYS[1], ARGV[1])":                                  "OK",
		"redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])":       "a",
		"return redis.call('GET', KEYS[2])":                                           nil,
		"return redis.call('GET', KEYS[2]) == false":                                  int64(1),
		"return redis.call('INCRBY', KEYS[1], 70000)":                                 int64(70000),
		"return redis.call('HMGET', KEYS[1], 'x', 'y')":                               []any{nil, nil},
		"return redis.call('SET', KEYS[1], 'v').ok":                                   "OK",
		"return redis.pcall('NOSUCH').err ~= nil":                                     int64(1),
		"redis.call('LPUSH', KEYS[1], 'v') return redis.pcall('GET', KEYS[1])['err']": "WRONGTYPE Operation against a key holding the wrong kind of value",

		"return ({pcall(redis.call, 'LPUSH')})[1]":                                          nil,
		"return (select(2, pcall(error, {'mine'})))":                                        []any{"mine"},
		"return {#KEYS, #ARGV, KEYS[1], ARGV[2]}":                                           []any{int64(2), int64(2), "k1", "b\r\n"},
		"return cjson.decode(cjson.encode({1, {a = 'b'}}))[2].a":                            "b",
		"local t = {} for i = 1, 7000 do t[i] = i end return select('#', unpack(t))":        int64(7000),
		"return redis.call('RPUSH', KEYS[1], unpack(ARGV))":                                 int64(2),
		"redis.call('RPUSH', KEYS[1], '', 'x') return redis.call('LRANGE', KEYS[1], 0, -1)": []any{"", "x"},
	} {
		t.Run(source, func(t *testing.T) {
			each(t, func(t *testing.T, ctx context.Context, c *redis.Client) {
				for range 2 { // with EVAL and with EVALSHA
					require.NoError(t, c.FlushDB(ctx).Err())
					got, err := redis.NewScript(source).Run(ctx, c, []string{"k1", "k2"}, "a", "b\r\n").Result()
					if want == nil {
						require.ErrorIs(t, err, redis.Nil)
						continue
					}
					require.NoError(t, err)
					require.Equal(t, want, got)
				}
			})
		})
	}
}

func TestScriptsFailAsOnARealRedis(t *testing.T) {
	for source, says := range map[string]string{
		"redis.call('LPUSH', KEYS[1], 'v') return redis.call('GET', KEYS[1])": "WRONGTYPE Operation against a key holding the wrong kind of value",
		"return redis.error_reply('MINE is broken')":                          "MINE is broken",
		"return redis.pcall('GET')":                                           "rong number of arg",
		"return redis.call()":                                                 "at least one argument",
		"return redis.call({})":                                               "must be strings or integers",
		"return redis.call('EVAL', 'return 1', 0)":                            "not allowed from script",
		"return redis.call('SUBSCRIBE', 'c')":                                 "not allowed from script",
		"global = 1":                                                          "Attempt to modify a readonly table",
		"return nothing":                                                      "nonexistent global variable 'nothing'",
		"return print('x')":                                                   "print",
		"return dofile('/etc/passwd')":                                        "dofile",
		"return require('os')":                                                "require",
		"return os.getenv('HOME')":                                            "nonexistent global variable 'os'",
		"error('mine')":                                                       "mine",
		"error({err = 'MINE too'})":                                           "MINE too",
		"return nil .. 'x'":                                                   "concat",
		"return (":                                                            "compiling",
	} {
		t.Run(source, func(t *testing.T) {
			each(t, func(t *testing.T, ctx context.Context, c *redis.Client) {
				err := c.Eval(ctx, source, []string{"k"}).Err()
				require.ErrorContains(t, err, says)
				require.Equal(t, int64(1), c.Eval(ctx, "return 1", nil).Val(), "the next script runs")
			})
		})
	}
}

func TestScriptsInOtherSurroundings(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, c *redis.Client) {
		const set = "redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])"
		sha := c.ScriptLoad(ctx, set).Val()
		require.Equal(t, []bool{true, false}, c.ScriptExists(ctx, sha, strings.Repeat("0", 40)).Val())
		cmds, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.EvalSha(ctx, sha, []string{"k"}, "1")
			p.Eval(ctx, set, []string{"k"}, "2")
			p.Eval(ctx, "return redis.call('EVAL', 'return 1', 0)", nil)
			return nil
		})
		require.ErrorContains(t, err, "not allowed from script")
		require.Equal(t, "1", cmds[0].(*redis.Cmd).Val())
		require.Equal(t, "2", cmds[1].(*redis.Cmd).Val())

		o := *c.Options()
		o.DB = 3
		third := redis.NewClient(&o)
		defer third.Close()
		require.Equal(t, "3", third.EvalSha(ctx, sha, []string{"k"}, "3").Val())
		require.Equal(t, "2", c.Get(ctx, "k").Val())

		require.ErrorContains(t, c.Do(ctx, "evalsha", sha, "2", "k").Err(), "Number of keys")
		require.Equal(t, "4", c.EvalSha(ctx, strings.ToUpper(sha), []string{"k"}, "4").Val())
		require.NoError(t, c.ScriptFlush(ctx).Err())
		require.Equal(t, []bool{false}, c.ScriptExists(ctx, sha).Val())
		require.True(t, redis.HasErrorPrefix(c.EvalSha(ctx, sha, []string{"k"}, "5").Err(), "NOSCRIPT"))
		require.Equal(t, "6", c.Eval(ctx, set, []string{"k"}, "6").Val())
		require.Equal(t, []bool{true}, c.ScriptExists(ctx, sha).Val())
	})
}

// The memory that is allocated stands for the work: with a new interpreter for each script,
// and new buffers for each of its commands, this script left 242 KiB.
func TestAScriptLeavesLittleGarbage(t *testing.T) {
	s := redistest.Embedded(t)
	c := redis.NewClient(&redis.Options{
		Dialer: func(ctx context.Context, _, _ string) (net.Conn, error) { return s.Dial(ctx) }, PoolSize: 1, Protocol: 2,
	})
	t.Cleanup(func() { _ = c.Close() })
	run := func() {
		got, err := redis.NewScript("for i = 1, 8 do redis.call('HSET', KEYS[1], i, ARGV[1]) end return 'OK'").
			Run(t.Context(), c, []string{"k"}, "v").Result()
		require.NoError(t, err)
		require.Equal(t, "OK", got)
	}
	run()
	const runs = 200
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		run()
	}
	runtime.ReadMemStats(&after)
	each := (after.TotalAlloc - before.TotalAlloc) / runs
	require.Less(t, each, uint64(20<<10), "bytes of each script: "+strconv.FormatUint(each, 10))
}
