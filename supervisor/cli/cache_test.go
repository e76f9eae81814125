package cli

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor/cli/cachecmd"
)

// holding opens the cache of a place, as a node has it.
func (at place) holding(t *testing.T, preset cache.Preset) *cache.Cache {
	t.Helper()
	return cache.New(cache.Config{
		Client: redistest.Client(t, at.cfg), Keys: at.cfg.Keys(), Holder: "stellar-worker-1#1:a", Preset: preset,
	})
}

func TestCacheGetSetDel(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, at place) {
		c, ctx := at.holding(t, cache.Native), t.Context()
		require.Equal(t, result{0, "saved user\n", ""}, stellar(t, at.env, "cache", "set", "user", `{"n": 1.50, "t":"<b>"}`, "--ttl", "10m"))
		require.Equal(t, result{0, `{"n": 1.50, "t":"<b>"}` + "\n", ""}, stellar(t, at.env, "cache", "get", "user"), "as it was stored")
		e, err := c.Load(ctx, "user")
		require.NoError(t, err)
		require.Equal(t, 10*time.Minute, e.Expires.Sub(e.Created))
		require.Zero(t, e.Read, "a look is no read")

		var got cachecmd.Entry
		r := stellar(t, at.env, "cache", "get", "user", "-o", "json")
		require.NoError(t, json.Unmarshal([]byte(r.out), &got))
		require.Equal(t, "user", got.Key)
		require.JSONEq(t, `{"n": 1.5, "t": "<b>"}`, string(got.Value))
		require.Equal(t, e.Created.UTC(), got.CreatedAt)
		require.Equal(t, e.Expires.UTC(), got.ExpiresAt)
		require.NotZero(t, got.ReadAt, "of the load before")

		r = stellar(t, at.env, "cache", "set", "user", "2", "--if-absent")
		require.Equal(t, 1, r.code)
		require.Contains(t, r.err, `there is an entry under "user" already`)
		require.Zero(t, stellarReading(t, at.env, "[2]", "cache", "set", "other", "-", "--if-absent").code)
		require.Equal(t, "[2]\n", stellar(t, at.env, "cache", "get", "other").out)
		e, err = c.Load(ctx, "other")
		require.NoError(t, err)
		require.Zero(t, e.Expires)

		require.Equal(t, result{0, "destroyed user\n", ""}, stellar(t, at.env, "cache", "del", "user"))
		for _, command := range []string{"get", "del"} {
			r = stellar(t, at.env, "cache", command, "user")
			require.Equal(t, 1, r.code)
			require.Empty(t, r.out)
			require.Contains(t, r.err, `no entry and no list under "user"`)
		}
	})
}

func TestCacheGetOfAListAndOfWhatSteersATerminal(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, at place) {
		c, ctx := at.holding(t, cache.Native), t.Context()
		_, err := c.PushWith(ctx, "letters", cache.ListOptions{}, "a", map[string]int{"b": 1})
		require.NoError(t, err)
		require.Equal(t, result{0, `["a",{"b":1}]` + "\n", ""}, stellar(t, at.env, "cache", "get", "letters"))
		require.Contains(t, stellar(t, at.env, "cache", "get", "letters", "-o", "json").out, `"items": [`)
		r := stellar(t, at.env, "cache", "set", "letters", "1")
		require.Equal(t, 1, r.code)
		require.Contains(t, r.err, `"letters" is a list`)

		require.NoError(t, c.Save(ctx, "evil\x1b[2J", json.RawMessage("\"\u009b31m\""), 0))
		for _, args := range [][]string{{"get", "evil\x1b[2J"}, {"keys"}, {"keys", "-o", "json"}, {"get", "evil\x1b[3J"}} {
			r := stellar(t, at.env, append([]string{"cache"}, args...)...)
			require.NotContains(t, r.out+r.err, "\x1b")
			require.NotContains(t, r.out+r.err, "\u009b")
		}
	})
}

func TestCacheKeysAndLocks(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, at place) {
		c, ctx := at.holding(t, cache.Native), t.Context()
		require.Equal(t, result{0, "", "stellar: no key matches *\n"}, stellar(t, at.env, "cache", "keys"))
		require.Equal(t, result{0, "no locks\n", ""}, stellar(t, at.env, "cache", "locks"))
		for _, key := range []string{"b:1", "a:2", "a:1"} {
			require.NoError(t, c.Save(ctx, key, 1, 0))
		}
		require.Equal(t, result{0, "a:1\na:2\nb:1\n", ""}, stellar(t, at.env, "cache", "keys"))
		require.Equal(t, result{0, "a:1\na:2\n", ""}, stellar(t, at.env, "cache", "keys", "a:*"))
		require.JSONEq(t, `["b:1"]`, stellar(t, at.env, "cache", "keys", "b:*", "-o", "json").out)
		require.JSONEq(t, `[]`, stellar(t, at.env, "cache", "keys", "c:*", "-o", "json").out)

		require.Equal(t, result{0, "", "stellar: no key matches c:*\n"}, stellar(t, at.env, "cache", "keys", "c:*"))

		l, err := c.TryLock(ctx, "a:1", time.Hour)
		require.NoError(t, err)
		r := stellar(t, at.env, "cache", "locks")
		require.Regexp(t, `KEY +HOLDER +FENCE +LEFT +WAITED\na:1 +stellar-worker-1#1:a +\d{16} +(59m\d+s|1h0m0s) +no\n`, r.out)
		require.Equal(t, "no locks\n", stellar(t, at.env, "cache", "locks", "b:*").out)
		var locks []cachecmd.Lock
		require.NoError(t, json.Unmarshal([]byte(stellar(t, at.env, "cache", "locks", "-o", "json").out), &locks))
		require.Len(t, locks, 1)
		require.Equal(t, l.Fence(), locks[0].Fence)
		for _, args := range [][]string{{"set", "a:1", "2"}, {"del", "a:1"}} {
			r = stellar(t, at.env, append([]string{"cache"}, args...)...)
			require.Equal(t, 1, r.code)
			require.Contains(t, r.err, `"a:1" is locked`)
		}
		require.NoError(t, l.Unlock())
	})
}

func TestCacheClear(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, at place) {
		c, ctx, client := at.holding(t, cache.Native), t.Context(), redistest.Client(t, at.cfg)
		// What clear must not touch: another namespace, one whose name begins like this one,
		// the tasks, and what somebody else keeps on that Redis.
		for _, namespace := range []string{"other", "stellar2"} {
			at.cfg.Namespace = namespace
			require.NoError(t, at.holding(t, cache.Native).Save(ctx, "user:1", 1, 0))
		}
		require.NoError(t, client.MSet(ctx, "user:1", "theirs", "stellar:cache:user:1", "theirs", "{stellar}:tasks2", "x").Err())
		before, err := client.Keys(ctx, "*").Result()
		require.NoError(t, err)
		fill := func() {
			require.NoError(t, c.Save(ctx, "locked", 1, 0))
			for n := range 250 {
				require.NoError(t, c.Save(ctx, "user:"+strconv.Itoa(n), n, time.Hour))
			}
			_, err := c.PushWith(ctx, "user:list", cache.ListOptions{}, "a")
			require.NoError(t, err)
		}
		fill()
		lock, err := c.TryLock(ctx, "locked", time.Hour)
		require.NoError(t, err)

		for answer, code := range map[string]int{"": 2, "\n": 2, "n\n": 1, "what?\n": 1} {
			r := stellarReading(t, at.env, answer, "cache", "clear")
			require.Equal(t, code, r.code, r.err)
			require.Contains(t, r.err, "destroy 252 entries and lists (keys {stellar}:cache:* of redis at ")
			require.Contains(t, r.err, "nothing was done")
			require.Equal(t, code == 2, strings.Contains(r.err, "--yes"))
			require.Empty(t, r.out)
		}
		require.Equal(t, 252, size(t, c))
		r := stellarReading(t, at.env, "y\n", "cache", "clear", "user:1*")
		require.Zero(t, r.code, r.err)
		require.Contains(t, r.err, "destroy 111 entries and lists (keys {stellar}:cache:user:1* of")
		require.Equal(t, "destroyed 111 entries and lists\n", r.out)
		require.Equal(t, result{0, "destroyed 140 entries and lists, skipped 1 whose lock somebody holds\n", ""}, stellar(t, at.env, "cache", "clear", "--yes"))
		require.Equal(t, result{0, "destroyed 0 entries and lists\n", ""}, stellar(t, at.env, "cache", "clear", "nothing*", "--yes"))
		r = stellar(t, at.env, "cache", "clear", "--yes", "-o", "json")
		require.JSONEq(t, `{"destroyed": 0, "skipped": 1}`, r.out)

		_, held, err := c.CheckLock(ctx, "locked")
		require.NoError(t, err)
		require.True(t, held)
		require.NoError(t, lock.Unlock())
		require.Equal(t, "destroyed 1 entry or list\n", stellar(t, at.env, "cache", "clear", "--yes").out)
		after, err := client.Keys(ctx, "*").Result()
		require.NoError(t, err)
		for _, key := range before {
			require.Contains(t, after, key)
		}
	})
}

func size(t *testing.T, c *cache.Cache) int {
	t.Helper()
	n, err := c.Size(t.Context(), "*")
	require.NoError(t, err)
	return n
}

func TestCacheExportAndImport(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, at place) {
		c, ctx := at.holding(t, cache.Native), t.Context()
		file := filepath.Join(t.TempDir(), "backup.jsonl")
		require.NoError(t, c.Save(ctx, "a:1", "one", time.Hour))
		require.NoError(t, c.Save(ctx, "b:1", "two", 0))
		_, err := c.PushWith(ctx, "a:l", cache.ListOptions{}, 1, 2, 3)
		require.NoError(t, err)

		require.NoError(t, os.WriteFile(file, []byte("the last one"), 0o600))
		r := stellar(t, at.env, "cache", "export", file)
		require.Zero(t, r.code, r.err)
		require.Empty(t, r.err, "no progress without a terminal")
		require.Regexp(t, `^exported 3 entries, skipped 0, \d+ bytes: /`, r.out)
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, 3, strings.Count(string(text), "\n"))
		for _, args := range [][]string{{"export"}, {"export", "-"}} {
			r = stellar(t, at.env, append([]string{"cache"}, args...)...)
			require.Equal(t, lines(string(text)), lines(r.out))
		}
		require.Len(t, lines(stellar(t, at.env, "cache", "export", "--match", "a:*").out), 2)

		before, err := c.LoadWith(ctx, "a:1", cache.LoadOptions{NoRecord: true})
		require.NoError(t, err)
		_, err = c.Clear(ctx, "*")
		require.NoError(t, err)
		require.NoError(t, c.Save(ctx, "b:1", "newer", 0))
		r = stellar(t, at.env, "cache", "import", file, "--keep-existing", "-o", "json")
		require.Zero(t, r.code, r.err)
		require.Contains(t, r.out, `"entries": 2`)
		require.Contains(t, r.out, `"skipped": 1`)
		after, err := c.LoadWith(ctx, "a:1", cache.LoadOptions{NoRecord: true})
		require.NoError(t, err)
		require.Equal(t, before.Expires, after.Expires)
		require.Equal(t, before.Created, after.Created)
		require.Equal(t, "\"newer\"\n", stellar(t, at.env, "cache", "get", "b:1").out)
		require.Equal(t, "[1,2,3]\n", stellar(t, at.env, "cache", "get", "a:l").out)
		require.Zero(t, stellarReading(t, at.env, string(text), "cache", "import", "-").code)
		require.Equal(t, "\"two\"\n", stellar(t, at.env, "cache", "get", "b:1").out)

		r = stellarReading(t, at.env, "{\"key\":\"x\",\"value\":1}\nnope\n", "cache", "import", "-")
		require.Equal(t, 2, r.code)
		require.NoError(t, redistest.Client(t, at.cfg).Set(t.Context(), at.holding(t, cache.Native).EntryKey("odd"), "no entry", 0).Err())
		notes, _, _ := complaints(t, stellar(t, at.env, "cache", "export", "-o", "json").err)
		require.Equal(t, []string{"skipped: 1 that no node of this cache wrote"}, notes)
		require.Equal(t, "stellar: standard input is not what \"stellar cache export\" writes: line 2: "+
			"invalid character 'o' in literal null (expecting 'u'); 0 entries were imported before\n", r.err)
	})
}

func lines(text string) map[string]bool {
	all := map[string]bool{}
	for line := range strings.Lines(text) {
		all[line] = true
	}
	return all
}

func TestCacheInAnotherLayout(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, at place) {
		client, ctx := redistest.Client(t, at.cfg), t.Context()
		compat := func(args ...string) result {
			return stellar(t, at.env.with("STELLAR_COMPAT", "actionhero"), append([]string{"cache"}, args...)...)
		}
		require.Zero(t, compat("set", "a", `{"x":1}`).code)
		require.Regexp(t, `^\{"value":\{"x":1\},"expireTimestamp":null,"createdAt":\d+,"readAt":null\}$`, client.Get(ctx, "actionhero:cache:a").Val())
		require.NoError(t, client.Set(ctx, "actionhero:cache:b", `{"value":"theirs","createdAt":1700000000000}`, 0).Err())
		require.Equal(t, result{0, "\"theirs\"\n", ""}, compat("get", "b"))
		require.Equal(t, result{0, "a\nb\n", ""}, compat("keys"))
		require.NoError(t, client.Set(ctx, "actionhero:lock:a", "their-node", time.Minute).Err())
		require.Contains(t, compat("locks").out, "their-node")
		require.Contains(t, compat("get", "a").err, `"a" is locked`)
		require.Empty(t, stellar(t, at.env, "cache", "keys").out, "our own is another cache")

		require.NoError(t, client.Set(ctx, "mine:c", `{"value":3,"createdAt":1700000000000}`, 0).Err())
		require.Equal(t, result{0, "3\n", ""}, compat("get", "c", "--cache-prefix", "mine:"))
		r := compat("get", "d", "--cache-prefix", "mine:")
		require.Equal(t, 1, r.code)
		require.NoError(t, client.Set(ctx, "mine:d", "no entry", 0).Err())
		require.Contains(t, compat("get", "d", "--cache-prefix", "mine:").err, "no entry of this cache")
	})
}

func TestARedisThatIsAwayIsNotNotFound(t *testing.T) {
	for _, args := range [][]string{{"get", "a"}, {"del", "a"}, {"keys"}, {"locks"}, {"clear", "--yes"}, {"export"}, {"set", "a", "1"}} {
		r := stellar(t, home(t).with("REDIS_URL", "redis://127.0.0.1:1/0"), append([]string{"cache"}, args...)...)
		require.Equal(t, 69, r.code)
		require.Equal(t, "stellar: redis at redis://127.0.0.1:1/0 is not reachable: no connection: it is down, or the address is wrong: "+
			"dial tcp 127.0.0.1:1: connect: connection refused\n", r.err, "it says so once")
		require.NotContains(t, r.err, "no entry")
	}
	server := redistest.Start(t)
	elsewhere := home(t).with("REDIS_URL", server.Config().URL+"?db=99")
	for _, args := range []string{"cache keys", "namespace list"} {
		r := stellar(t, elsewhere, strings.Fields(args)...)
		require.Equal(t, 1, r.code)
		require.Regexp(t, "^stellar: redis at .* does not serve this program: ERR DB index is out of range\n$", r.err)
	}
	// It refuses to serve after the connection was made.
	at := place{server.Config(), home(t).with("REDIS_URL", server.Config().URL)}
	client := redistest.Client(t, at.cfg)
	require.NoError(t, at.holding(t, cache.Native).Save(t.Context(), "a", 1, 0))
	require.NoError(t, client.Do(t.Context(), "acl", "setuser", "default", "-@scripting", "-scan").Err())
	for _, args := range [][]string{{"get", "a"}, {"del", "a"}, {"keys"}, {"clear", "--yes"}, {"export"}, {"set", "a", "1"}} {
		r := stellar(t, at.env, append([]string{"cache"}, args...)...)
		require.Equal(t, 69, r.code, r.err)
		require.Regexp(t, "does not serve this program: this user lacks a permission|redis is unavailable", r.err)
		require.NotContains(t, r.err, "no entry")
	}
}

func TestBadInputOfTheCacheIsExplained(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		env  environment
		args []string
		code int
		says string
	}{
		"no command":            {args: []string{}, code: 2, says: "get, set, del, keys, clear, export, import, locks"},
		"unknown command":       {args: []string{"frob"}, code: 2, says: `"frob" is not a command of stellar cache`},
		"unknown flag":          {args: []string{"--frob"}, code: 2, says: "stellar cache --help"},
		"no key":                {args: []string{"get"}, code: 2, says: `KEY is missing: use "stellar cache get KEY", see "stellar cache get --help"`},
		"no key to destroy":     {args: []string{"del"}, code: 2, says: "stellar cache del --help"},
		"no value":              {args: []string{"set", "a"}, code: 2, says: "KEY VALUE-JSON"},
		"no JSON":               {args: []string{"set", "a", "{x}"}, code: 2, says: `'{"name": "Ada"}'`},
		"no time":               {args: []string{"set", "a", "1", "--ttl", "soon"}, code: 2, says: "a time such as 250ms"},
		"no time left":          {args: []string{"set", "a", "1", "--ttl", "0s"}, code: 2, says: "leave it out"},
		"a time before":         {args: []string{"set", "a", "1", "--ttl", "-1s"}, code: 2, says: "--ttl: -1s"},
		"too long":              {args: []string{"set", "a", "1", "--ttl", "2000000h"}, code: 2, says: "876000 hours"},
		"no file":               {args: []string{"import"}, code: 2, says: "FILE"},
		"no such file":          {args: []string{"import", "/no/such"}, code: 2, says: "/no/such: no such file"},
		"a directory":           {args: []string{"import", "/"}, code: 2, says: "a directory"},
		"two patterns":          {args: []string{"clear", "a*", "b*", "--yes"}, code: 2, says: "[GLOB]"},
		"too many patterns":     {args: []string{"keys", "a*", "b*"}, code: 2, says: "[GLOB]"},
		"unknown preset":        {args: []string{"keys", "--compat", "rails"}, code: 2, says: "--compat: \"rails\" is neither stellar nor actionhero"},
		"preset in environment": {env: environment{"STELLAR_COMPAT": "rails"}, args: []string{"keys"}, code: 2, says: "STELLAR_COMPAT"},
		"prefix of nobody":      {args: []string{"keys", "--cache-prefix", "x:"}, code: 2, says: "name them with --compat"},
		"one prefix for both":   {args: []string{"keys", "--compat", "stellar", "--cache-prefix", "x:", "--lock-prefix", "x:"}, code: 2, says: "--lock-prefix"},
		"no set":                {args: []string{"keys"}, code: 69, says: "no running set found"},
	} {
		t.Run(name, func(t *testing.T) {
			env := home(t)
			maps.Copy(env, c.env)
			r := stellar(t, env, append([]string{"cache"}, c.args...)...)
			require.Equal(t, c.code, r.code, r.err)
			require.Empty(t, r.out)
			require.Contains(t, r.err, c.says)
		})
	}
	each(t, func(t *testing.T, at place) {
		for says, args := range map[string][]string{
			"use 1 to 1024":  {"get", strings.Repeat("k", cache.MaxKey+1)},
			"a key of 0":     {"set", "", "1"},
			"no such file":   {"export", "/no/such/file"},
			"is a directory": {"export", "/"},
		} {
			r := stellar(t, at.env, append([]string{"cache"}, args...)...)
			require.Equal(t, 2, r.code, r.err)
			require.Contains(t, r.err, says)
		}
	})
}
