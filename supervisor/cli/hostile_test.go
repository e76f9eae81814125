package cli

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// hostile is a text that forges a line and controls the terminal: by control characters of
// both kinds and one that turns the direction of the text. A valid name of the same length,
// marker, holds its place in records until it is put there.
const (
	hostile = "\nFAKE\x1b[2J\u009b1m\r\u202e"
	marker  = "HOSTILE.RECORD.17"
)

// hostileApp has tasks and methods that say hostile things, and a node that crashes with one.
func hostileApp(crashed *atomic.Bool) *worker.App {
	app := echoApp()
	tasks.Handle(app, tasks.Definition{Name: marker, Queue: marker, MaxAttempts: 1, Retention: time.Hour}, func(ctx context.Context, what string) error {
		switch what {
		case "fail":
			return errors.New(hostile)
		case "panic":
			panic(hostile)
		case "progress":
			_ = tasks.SetProgress(ctx, 0.5, hostile)
			<-ctx.Done()
			return ctx.Err()
		}
		tasks.Tx(ctx).Result(hostile)
		return nil
	})
	app.RegisterPeriodic(tasks.Periodic{Name: marker, Task: marker, Schedule: tasks.Every(time.Hour), Payload: hostile})
	rpcregistry.Handle(app, "api."+marker+".value", func(context.Context, struct{}) (map[string]string, error) {
		return map[string]string{hostile: hostile}, nil
	})
	rpcregistry.Handle(app, "api."+marker+".error", func(context.Context, struct{}) (string, error) { return "", errors.New(hostile) })
	rpcregistry.Handle(app, "api."+marker+".code", func(context.Context, struct{}) (string, error) {
		return "", &rpcregistry.Error{Code: rpcregistry.Code(marker), Message: hostile}
	})
	app.OnStart(func(context.Context) error {
		if crashed.CompareAndSwap(false, true) {
			return errors.New(hostile)
		}
		return nil
	})
	return app
}

// twins gives everything in Redis that has the marker in it a twin with the hostile text.
func twins(t *testing.T, c *redis.Client) {
	t.Helper()
	ctx := t.Context()
	twin := func(s string) string { return strings.ReplaceAll(s, marker, hostile) }
	keys, err := c.Keys(ctx, "*").Result()
	require.NoError(t, err)
	for _, key := range keys {
		other := twin(key)
		switch c.Type(ctx, key).Val() {
		case "string":
			c.SetNX(ctx, other, twin(c.Get(ctx, key).Val()), 0)
		case "hash":
			for field, value := range c.HGetAll(ctx, key).Val() {
				c.HSetNX(ctx, other, twin(field), twin(value))
				c.HSetNX(ctx, other, field, twin(value))
			}
		case "set":
			for _, member := range c.SMembers(ctx, key).Val() {
				c.SAdd(ctx, other, twin(member))
			}
		case "zset":
			for _, z := range c.ZRangeWithScores(ctx, key, 0, -1).Val() {
				member, _ := z.Member.(string)
				c.ZAddNX(ctx, other, redis.Z{Score: z.Score, Member: twin(member)})
			}
		case "stream":
			for _, entry := range c.XRange(ctx, key, "-", "+").Val() {
				fields := map[string]any{}
				maps.Copy(fields, entry.Values)
				text, _ := entry.Values["e"].(string)
				escaped, _ := json.Marshal(hostile)
				fields["e"] = strings.ReplaceAll(text, marker, string(escaped[1:len(escaped)-1]))
				c.XAdd(ctx, &redis.XAddArgs{Stream: other, Values: fields})
			}
		case "list":
			for _, item := range c.LRange(ctx, key, 0, -1).Val() {
				if twin(item) != item || other != key {
					c.RPush(ctx, other, twin(item))
				}
			}
		}
	}
}

// walk has arguments for every command but those in local, which ask no peer.
var walk = map[string][][]string{
	"status": {{}},
	"events": {{}}, "events list": {{}, {"--kind", "crash"}, {"--kind", hostile}, {"--node", hostile}, {"-o", "json"}, {"--since", hostile}}, "events mark": {{hostile}},
	"scale": {{"3"}}, "roll": {{"--timeout", "10s"}}, "reload": {{"--timeout", "10s"}}, "upgrade": {{"--timeout", "10s"}}, "quiet": {{}}, "resume": {{}},
	"call": {
		{"api." + marker + ".value"}, {"api." + marker + ".value", "--all"}, {"api." + marker + ".error"}, {"api." + marker + ".error", "--all"},
		{"api." + marker + ".code"}, {"api.methods"}, {"api.status", "--all"}, {"api.tasks.list"}, {"api.ping", "--node", hostile}, {hostile}, {"api.ping", hostile},
	},
	"publish":   {{marker, `"x"`}, {hostile}, {marker, hostile}, {marker, "--node", hostile}, {marker, "--meta", hostile}},
	"subscribe": {{marker, "--count", "1", "--timeout", "100ms"}, {hostile}},
	"enqueue": {
		{marker, `"fail"`, "--wait"}, {marker, `"result"`, "--wait"}, {hostile}, {hostile, "--any-name"}, {marker, hostile}, {marker, "--id", hostile},
		{marker, "--meta", "k=" + hostile}, {"no-such-task"}, {marker, "--unique", hostile}, {marker, "--unique", hostile},
	},
	"tasks": {{}}, "tasks stats": {{}}, "tasks list": {{}, {"--state", "dead"}, {"--queue", hostile}, {"--limit", "0"}},
	"tasks show": {{marker}, {hostile}, {"failed"}, {"running"}, {"done"}, {"panicked"}}, "tasks explain": {{marker}, {hostile}, {"failed"}, {"running"}},
	"tasks wait":     {{"failed"}, {"panicked"}, {"done"}, {hostile}, {marker, "--timeout", "100ms"}},
	"tasks defaults": {{marker, "--max-attempts", "3", "--any-name"}, {hostile, "--reset"}},
	"tasks groups":   {{marker}, {hostile}},
	"tasks history":  {{}, {marker}, {hostile}, {marker, "-o", "json"}, {"--queue", hostile}},
	"tasks export":   {{}, {"/no/such/" + hostile}}, "tasks import": {{"/no/such/" + hostile}},
	"tasks edit":       {{marker, "--payload", "1"}, {hostile, "--priority", "high"}},
	"tasks reschedule": {{marker, "--in", "2h"}, {hostile, "--now"}}, "tasks rerun": {{hostile}, {"failed", "--from", hostile}}, "tasks retry": {{hostile}, {"--queue", marker, "--dry-run"}},
	"tasks cancel": {{hostile}, {"--queue", marker, "--dry-run"}}, "tasks delete": {{hostile}, {"--queue", marker, "--dry-run"}},
	"tasks pause": {{hostile}, {marker}}, "tasks resume": {{hostile}, {marker}}, "tasks limit": {{hostile, "--tasks", "5"}}, "tasks delete-queue": {{hostile}},
	"tasks periodic": {{}}, "tasks periodic list": {{}}, "tasks periodic run": {{marker}, {hostile}}, "tasks periodic pause": {{marker}, {hostile}},
	"tasks periodic set": {{marker, "--cron", "@daily"}, {hostile, "--cron", "@daily"}}, "tasks periodic history": {{marker}, {hostile}},
	"tasks periodic resume": {{marker}, {hostile}}, "tasks periodic remove": {{hostile}},
	"cache get": {{marker}, {hostile}}, "cache set": {{hostile, `"x"`}, {"k", hostile}}, "cache del": {{hostile + "x"}},
	"cache clear": {{hostile}, {hostile + "x", "--yes"}},
	"cache keys":  {{}, {hostile}}, "cache locks": {{}}, "cache export": {{}, {"/no/such/" + hostile}}, "cache import": {{"/no/such/" + hostile}},
	"data check": {{}, {"--data", "/no/such/" + hostile}}, "data backup": {{"--data", "/no/such/" + hostile, "/no/such/" + hostile}},
	"data restore":   {{"--data", "/no/such/" + hostile, "/no/such/" + hostile}},
	"namespace list": {{}}, "namespace remove": {{hostile}, {"stellar"}, {"stellar", "--yes"}},
}

var local = []string{"run", "demo", "manual", "version", "help", "completion", "config", completeWord}

func TestTheWalkGoesToEveryCommand(t *testing.T) {
	known, _ := tree(nil)
	all := leaves(known)
	require.Greater(t, len(all), 25)
	for _, path := range all {
		name := strings.Join(path, " ")
		require.True(t, walk[name] != nil || slices.Contains(local, path[0]), "%s: give it arguments in walk", name)
	}
	require.Len(t, marker, len(hostile), "lengths in records stay right")
}

var fakeLine = regexp.MustCompile(`(?m)^\s*FAKE`)

// requireTame fails if the text could control a terminal or holds a line that is not ours.
func requireTame(t *testing.T, text, what string) {
	t.Helper()
	require.NotRegexp(t, fakeLine, text, what)
	for _, r := range text {
		require.True(t, r == '\n' || unicode.IsPrint(r), "%s: %q", what, text)
	}
}

// No text of a peer, of Redis or of a record reaches the terminal as it is.
func TestHostileRecordsReachNoTerminal(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, at place) {
		env := at.env.with("STELLAR_WORKER_PREFIX", marker)
		if socket := at.env["STELLAR_SOCKET"]; socket != "" {
			env = env.with("REDIS_URL", "unix://"+socket)
		}
		set := start(t, env, hostileApp(new(atomic.Bool)), "--workers", "2", "--drain", "100ms", "--log-format", "json")
		set.err.await(t, "node is running", 2)
		for id, what := range map[string]string{"failed": "fail", "panicked": "panic", "done": "result", "running": "progress"} {
			r := stellar(t, env, "enqueue", marker, `"`+what+`"`, "--id", id, "--retention", "1h", "--meta", "k=é")
			require.Zero(t, r.code, r.err)
		}
		stellar(t, env, "enqueue", marker, `"result"`, "--in", "1h", "--id", marker, "--meta", "k=v", "--unique", marker)
		stellar(t, env, "tasks", "wait", "failed")
		stellar(t, env, "tasks", "wait", "done")
		encoded, err := json.Marshal(hostile)
		require.NoError(t, err)
		require.Zero(t, stellar(t, env, "cache", "set", marker, string(encoded)).code)
		require.Zero(t, stellar(t, env, "cache", "set", hostile, `"`+strings.NewReplacer("\n", `\n`, "\r", `\r`, "\x1b", `\u001b`).Replace(hostile)+`"`).code)
		twins(t, redistest.Client(t, at.cfg))
		said := 0
		for _, command := range slices.Sorted(maps.Keys(walk)) {
			exports := strings.HasSuffix(command, " export")
			for _, args := range walk[command] {
				for _, format := range []string{"table", "json"} {
					all := slices.Concat(strings.Fields(command), args, []string{"--output", format})
					r := stellar(t, env, all...)
					if !exports { // it is escaped on a terminal only
						requireTame(t, r.out, strings.Join(all, " "))
					}
					requireTame(t, r.err, strings.Join(all, " "))
					if strings.Contains(r.out+r.err, "FAKE") {
						said++
					}
					if format == "json" && !exports && strings.TrimSpace(r.out) != "" {
						require.True(t, json.Valid([]byte(r.out)), "%v: %s", all, r.out)
					}
				}
			}
		}
		require.Greater(t, said, 40, "otherwise nothing of it was shown")
		set.term()
		set.wait(t)
	})
}
