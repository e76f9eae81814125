package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor/cli/namespacecmd"
	"github.com/stellarfw/stellar/worker/tasks"
)

// fill gives a namespace a task, entries and a lock, and returns its cache.
func (at place) fill(t *testing.T, namespace string, entries int) *cache.Cache {
	t.Helper()
	at.cfg.Namespace = namespace
	c, client := at.holding(t, cache.Native), tasks.NewClient(t.Context(), redistest.Client(t, at.cfg), at.cfg.Keys(), &tasks.Registry{})
	defer client.Close()
	require.NoError(t, redistest.Client(t, at.cfg).Set(t.Context(), at.cfg.Keys().Layout(), link.Layout, 0).Err())
	_, err := client.Enqueue(t.Context(), "echo", 1)
	require.NoError(t, err)
	for n := range entries {
		require.NoError(t, c.Save(t.Context(), fmt.Sprint("k", n), strings.Repeat("x", 1000), 0))
	}
	_, err = c.TryLock(t.Context(), "k0", time.Hour)
	require.NoError(t, err)
	return c
}

// keysOf returns all keys of the database, in order.
func keysOf(t *testing.T, c *redis.Client) []string {
	t.Helper()
	keys, err := c.Keys(t.Context(), "*").Result()
	require.NoError(t, err)
	slices.Sort(keys)
	return keys
}

func TestNamespaceList(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, at place) {
		r := stellar(t, at.env, "namespace", "list")
		require.Zero(t, r.code, r.err)
		require.Contains(t, r.out, "no namespace has data in database 0 of redis at ")

		at.fill(t, "stellar", 3)
		at.fill(t, "stellar2", 500)
		client := redistest.Client(t, at.cfg)
		require.NoError(t, client.MSet(t.Context(), "{user1000}:following", 1, "stellar3:tasks", 1, "{a:b}:tasks", 1, "{a}", 1).Err())
		// What a user of Redis may not look into, or is broken, is still listed.
		require.NoError(t, client.Set(t.Context(), "{broken}:tasks", "x", 0).Err())
		require.NoError(t, client.Set(t.Context(), "{broken}:leases", "x", 0).Err())

		r = stellar(t, at.env, "namespace", "list")
		require.Zero(t, r.code, r.err)
		lines := strings.Split(strings.TrimSpace(r.out), "\n")
		require.Len(t, lines, 4, r.out)
		require.Equal(t, strings.Fields("NAMESPACE NODES TASKS KEYS CACHE LOCKS MEMORY STATE"), strings.Fields(lines[0]))
		require.Equal(t, []string{"broken", "?", "0", "2", "0", "0"}, strings.Fields(lines[1])[:6])
		configured := strings.Fields(lines[2])
		require.Equal(t, []string{"stellar", "0", "1"}, configured[:3])
		require.Equal(t, "3", configured[4])
		require.Equal(t, "configured", configured[len(configured)-1])
		require.Equal(t, []string{"stellar2", "0", "1"}, strings.Fields(lines[3])[:3])
		require.NotContains(t, lines[3], "configured")

		var got struct {
			Namespaces []namespacecmd.Namespace `json:"namespaces"`
		}
		r = stellar(t, at.env, "namespace", "list", "--namespace", "stellar2", "-o", "json")
		require.NoError(t, json.Unmarshal([]byte(r.out), &got), r.out)
		require.Len(t, got.Namespaces, 3)
		last := got.Namespaces[2]
		require.True(t, last.Configured)
		require.False(t, got.Namespaces[1].Configured)
		require.EqualValues(t, 500, last.Parts[link.PartCache])
		require.Positive(t, last.Parts[link.PartTasks])
		require.Positive(t, last.Parts[link.PartLocks])
		require.Greater(t, last.Keys, int64(501), "all keys")
		require.Equal(t, []string{}, last.Nodes)
		if at.cfg.Dial == nil { // the embedded Redis does not know
			require.InDelta(t, 600_000, *last.Bytes, 200_000)
		}
	})
}

func TestNamespaceRemove(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, at place) {
		client := redistest.Client(t, at.cfg)
		at.fill(t, "stellar", 3)
		at.fill(t, "old2", 3)
		at.fill(t, "ol", 3)
		require.NoError(t, client.MSet(t.Context(), "{old}:following", 1, "old:tasks", 1, "{old}", 1, "x{old}:tasks", 1).Err())
		others := keysOf(t, client)
		at.fill(t, "old", 2500)
		require.NoError(t, client.Set(t.Context(), "{old}:layout", 99, 0).Err()) // of a newer program
		all := keysOf(t, client)

		for answer, code := range map[string]int{"": 2, "\n": 2, "y\n": 1, "old2\n": 1, strings.Repeat("x", 1<<20): 1} {
			r := stellarReading(t, at.env, answer, "namespace", "remove", "old")
			require.Equal(t, code, r.code, r.err)
			require.Contains(t, r.err, "remove the namespace old with all its data")
			require.Contains(t, r.err, "nothing was done")
			require.Equal(t, code == 2, strings.Contains(r.err, "answer the name old, or give --yes"))
			require.Equal(t, strings.HasPrefix(answer, "old2"), strings.Contains(r.err, `nothing was done: "old2" is not the name old`))
		}
		require.Equal(t, all, keysOf(t, client))

		r := stellarReading(t, at.env, "old\n", "namespace", "remove", "old")
		require.Zero(t, r.code, r.err)
		require.Equal(t, fmt.Sprintf("removed the namespace old: %d keys; left 1 key of something else, such as {old}:following\n",
			len(all)-len(others)), r.out)
		require.Equal(t, others, keysOf(t, client))

		r = stellar(t, at.env, "namespace", "remove", "old", "--yes")
		require.Equal(t, 1, r.code)
		require.Contains(t, r.err, `"stellar namespace list" lists those that have`)
		r = stellar(t, at.env, "namespace", "remove", "old2", "--yes", "-o", "json")
		require.Zero(t, r.code, r.err)
		require.Contains(t, r.out, `"namespace": "old2"`)
		require.Zero(t, stellar(t, at.env, "cache", "get", "k0").code, "the namespace in use is as it was")
	})
}

func TestNamespaceWithNodesIsNotRemoved(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, at place) {
		env := at.env
		if socket := at.env["STELLAR_SOCKET"]; socket != "" {
			env = env.with("REDIS_URL", "unix://"+socket)
		}
		set := start(t, env, echoApp(), "--workers", "2", "--namespace", "live")
		set.err.await(t, "node is running", 2)
		r := stellar(t, env, "namespace", "remove", "live", "--yes")
		require.Equal(t, 1, r.code)
		require.Contains(t, r.err, "the namespace live has live nodes (stellar-worker-1, stellar-worker-2): stop them first")
		r = stellar(t, env, "namespace", "list", "-o", "json")
		require.Contains(t, r.out, `"stellar-worker-2"`)
		set.term()
		require.Zero(t, set.wait(t))
		require.Zero(t, stellar(t, env, "namespace", "remove", "live", "--yes").code)
		require.Empty(t, keysOf(t, redistest.Client(t, at.cfg)))
	})
}

// fillMany stores 300,000 keys with that prefix: it takes a while to remove them.
func fillMany(t *testing.T, client *redis.Client, prefix string) {
	t.Helper()
	for from := range 30 {
		_, err := client.Pipelined(t.Context(), func(pipe redis.Pipeliner) error {
			for n := range 10_000 {
				pipe.Set(t.Context(), fmt.Sprint(prefix, 10_000*from+n), "x", 0)
			}
			return nil
		})
		require.NoError(t, err)
	}
}

// A removal that was interrupted has removed whole keys, and can be repeated.
func TestInterruptedRemovalCanBeRepeated(t *testing.T) {
	t.Parallel()
	cfg := redistest.Start(t).Config()
	at := place{cfg, home(t).with("REDIS_URL", cfg.URL)}
	client := redistest.Client(t, cfg)
	fillMany(t, client, "{old}:cache:")
	counting := startReading(t, at.env, "namespace", "remove", "old")
	require.Eventually(t, func() bool {
		all, err := client.ClientList(t.Context()).Result()
		return err == nil && strings.Contains(all, "cmd=scan")
	}, patient, time.Millisecond)
	counting.signals <- syscall.SIGINT
	require.Equal(t, 130, counting.wait(t))
	require.Contains(t, counting.err.String(), "stellar: interrupted: nothing was done\n")
	require.EqualValues(t, 300_000, client.DBSize(t.Context()).Val())

	r := start(t, at.env, nil, "namespace", "remove", "old", "--yes")
	require.Eventually(t, func() bool { n, err := client.DBSize(t.Context()).Result(); return err == nil && n < 300_000 }, patient, time.Millisecond)
	r.signals <- syscall.SIGINT
	require.Equal(t, 130, r.wait(t), r.err.String())
	require.Regexp(t, `\d+ of about 300000 keys were removed; it can be repeated`, r.err.String())
	require.Zero(t, stellar(t, at.env, "namespace", "remove", "old", "--yes").code)
	require.Empty(t, keysOf(t, client))
}

// A node that starts while its namespace is being removed ends the removal.
func TestRemovalEndsWhenANodeStarts(t *testing.T) {
	t.Parallel()
	cfg := redistest.Start(t).Config()
	at := place{cfg, home(t).with("REDIS_URL", cfg.URL)}
	client := redistest.Client(t, cfg)
	fillMany(t, client, "{stellar}:cache:")
	r := start(t, at.env, nil, "namespace", "remove", "stellar", "--yes")
	require.Eventually(t, func() bool { n, err := client.DBSize(t.Context()).Result(); return err == nil && n < 300_000 }, patient, time.Millisecond)
	lease := redis.Z{Member: "stellar-worker-1#7:a", Score: float64(time.Now().Add(time.Hour).UnixMilli())}
	require.NoError(t, client.ZAdd(t.Context(), cfg.Keys().Leases(), lease).Err())
	const record = "stellar-worker-1#7:a\n0\nrunning\n{}"
	require.NoError(t, client.HSet(t.Context(), cfg.Keys().Members(), "stellar-worker-1", record).Err())
	require.Equal(t, 1, r.wait(t), r.err.String())
	require.Contains(t, r.err.String(), "the namespace stellar has live nodes (stellar-worker-1)")
	require.Contains(t, r.err.String(), "it can be repeated")
}

// The commands say which rights they lack, and list what they may know.
func TestNamespaceCommandsSayWhichRightsTheyLack(t *testing.T) {
	t.Parallel()
	cfg := redistest.Start(t).Config()
	at := place{cfg, home(t).with("REDIS_URL", cfg.URL)}
	at.fill(t, "mine", 3)
	at.fill(t, "theirs", 3)
	client := redistest.Client(t, cfg)
	user := func(name string, rules ...any) environment {
		require.NoError(t, client.Do(context.WithoutCancel(t.Context()), append([]any{"acl", "setuser", name, "reset", "on", ">" + name}, rules...)...).Err())
		return at.env.with("REDIS_USER", name).with("REDIS_PASS", name)
	}
	least := user("least", "~{mine}:*", "-@all", "+@connection", "+@read", "+eval", "+evalsha", "+time", "+unlink")
	r := stellar(t, least, "namespace", "list")
	require.Zero(t, r.code, r.err)
	require.Regexp(t, `(?m)^mine +0 +1 `, r.out)
	require.Regexp(t, `(?m)^theirs +\? `, r.out)
	r = stellar(t, least, "namespace", "remove", "theirs", "--yes")
	require.Equal(t, 69, r.code)
	require.Contains(t, r.err, `give it "~{theirs}:* +@read`)

	r = stellar(t, user("noscan", "~*", "+@all", "-scan"), "namespace", "list")
	require.Equal(t, 69, r.code)
	require.Contains(t, r.err, "+@read")
	r = stellar(t, user("reads", "~*", "+@all", "-unlink"), "namespace", "remove", "mine", "--yes")
	require.Equal(t, 69, r.code)
	require.Contains(t, r.err, "+unlink")
	r = stellar(t, least, "namespace", "remove", "mine", "--yes")
	require.Zero(t, r.code, r.err)
}

func TestBadInputOfNamespaceCommandsIsExplained(t *testing.T) {
	t.Parallel()
	for says, args := range map[string][]string{
		"list, remove":                     {},
		`"frob" is not a command`:          {"frob"},
		"NAMESPACE is missing":             {"remove"},
		`"b" is an argument too many: use`: {"remove", "a", "b"},
		`"a" is an argument too many`:      {"list", "a"},
		`use "a-b"`:                        {"remove", "a:b", "--yes"},
		"letters, digits":                  {"remove", "*", "--yes"},
	} {
		r := stellar(t, home(t), append([]string{"namespace"}, args...)...)
		require.Equal(t, 2, r.code, r.err)
		require.Contains(t, r.err, says)
		require.Empty(t, r.out)
	}
}
