package builtin_test

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/builtin"
)

// originalCall is a call as programs for the original and for actionhero make it.
type originalCall struct {
	method, args string
	// A pattern of the answer, or, if the call is refused, of the error, which says what to
	// write instead.
	answer, refusal string
}

// originalCalls are all methods of the original's cache, log, tasks and redis, in an order
// in which each finds what it needs.
var originalCalls = []originalCall{
	{"api.log", `["hello"]`, `^null$|^\{\}$`, ""},
	{"api.log", `["hello", "warning", {"a": 1}]`, `^null$|^\{\}$`, ""},
	{"api.log", `["hello", "info", 1, "two"]`, `^null$|^\{\}$`, ""},
	{"api.log", `["hello", null]`, `^null$|^\{\}$`, ""},

	{"api.cache.save", `["user", {"n": 1}]`, `^true$`, ""},
	{"api.cache.save", `["user", {"n": 1}, null]`, `^true$`, ""},
	{"api.cache.save", `["user", {"n": 2}, 60000]`, `^true$`, ""},
	{"api.cache.load", `["user"]`, `^\{"n": ?2\}$`, ""},
	{"api.cache.load", `["user", {}]`, `^\{"n": ?2\}$`, ""},
	{"api.cache.load", `["user", null]`, `^\{"n": ?2\}$`, ""},
	{"api.cache.load", `["user", {"expireTimeMS": 120000, "retry": 100}]`, `^\{"n": ?2\}$`, ""},
	{"api.cache.load", `["user", {"expireTimeMS": null, "retry": false}]`, `^\{"n": ?2\}$`, ""},
	{"api.cache.load", `["user", {"expire": 1}]`, "", `expireTimeMS`},
	{"api.cache.load", `["user", {"expireTimeMS": "soon"}]`, "", `whole milliseconds`},
	{"api.cache.push", `["list", {"a": 1}]`, `^1$`, ""},
	{"api.cache.listLength", `["list"]`, `^1$`, ""},
	{"api.cache.pop", `["list"]`, `^\{"a": ?1\}$`, ""},
	{"api.cache.keys", `[]`, `^\["user"\]$`, ""},
	{"api.cache.size", `[]`, `^1$`, ""},
	{"api.cache.checkLock", `["user", null]`, `"held":false`, ""},
	{"api.cache.lock", `["user", 60000]`, `"fence":\d+`, ""},
	{"api.cache.lock", `["other"]`, `"fence":\d+`, ""},
	{"api.cache.locks", `[]`, `"key":"user"`, ""},
	{"api.cache.checkLock", `["user"]`, `"held":true`, ""},
	{"api.cache.checkLock", `["user", false]`, `"held":true`, ""},
	{"api.cache.checkLock", `["user", 50]`, `"held":true`, ""},
	{"api.cache.checkLock", `["free", 60000]`, `"held":false`, ""},
	{"api.cache.checkLock", `["user", "soon"]`, "", `whole milliseconds`},
	{"api.cache.unlock", `["user"]`, "", `\["user", FENCE\]`},
	{"api.cache.destroy", `["user"]`, "", "locked"},
	{"api.cache.destroy", `["nothing"]`, `^false$`, ""},
	{"api.cache.clear", `[]`, "", `\["\*"\]`},
	{"api.cache.dumpWrite", `["/tmp/x"]`, "", `cache export`},
	{"api.cache.dumpRead", `["/tmp/x"]`, "", `cache import`},

	{"api.tasks.enqueue", `["say", {"a": 1}]`, `"duplicate":false`, ""},
	{"api.tasks.enqueue", `["say", {"a": 1}, "default"]`, `"duplicate":false`, ""},
	{"api.tasks.enqueueAt", `[4102444800000, "say", {"a": 1}]`, `"duplicate":false`, ""},
	{"api.tasks.enqueueAt", `["2100-01-01T00:00:00Z", "say", {"a": 1}, "default"]`, `"duplicate":false`, ""},
	{"api.tasks.enqueueIn", `[3600000, "say", {"a": 1}]`, `"duplicate":false`, ""},
	{"api.tasks.enqueueIn", `[3600000, "say", {"a": 1}, "default"]`, `"duplicate":false`, ""},
	{"api.tasks.del", `["default", "say", {"a": 1}]`, "", `api\.tasks\.delete`},
	{"api.tasks.delDelayed", `["default", "say", {"a": 1}]`, "", `api\.tasks\.deleteAll`},
	{"api.tasks.scheduledAt", `["default", "say", {"a": 1}]`, "", `api\.tasks\.list`},
	{"api.tasks.stats", `[]`, "", `api\.tasks\.counts`},
	{"api.tasks.queued", `["default", 0, 10]`, "", `api\.tasks\.list`},
	{"api.tasks.delQueue", `["default"]`, "", `api\.tasks\.deleteQueue`},
	{"api.tasks.locks", `[]`, "", `unique`},
	{"api.tasks.delLock", `["x"]`, "", `unique`},
	{"api.tasks.timestamps", `[]`, "", `api\.tasks\.list`},
	{"api.tasks.delayedAt", `[1]`, "", `api\.tasks\.list`},
	{"api.tasks.allDelayed", `[]`, "", `api\.tasks\.list`},
	{"api.tasks.workers", `[]`, "", `api\.status`},
	{"api.tasks.workingOn", `["a", "b"]`, "", `api\.tasks\.list`},
	{"api.tasks.allWorkingOn", `[]`, "", `api\.tasks\.list`},
	{"api.tasks.failedCount", `[]`, "", `api\.tasks\.counts`},
	{"api.tasks.failed", `[0, 10]`, "", `api\.tasks\.list`},
	{"api.tasks.removeFailed", `[{}]`, "", `api\.tasks\.delete`},
	{"api.tasks.retryAndRemoveFailed", `[{}]`, "", `api\.tasks\.retry`},
	{"api.tasks.retryStuckJobs", `[]`, "", `take over`},
	{"api.tasks.cleanOldWorkers", `[1]`, "", `take over`},
	{"api.tasks.enqueueRecurrentTask", `["say"]`, "", `api\.tasks\.runPeriodic`},
	{"api.tasks.enqueueRecurrentJob", `["say"]`, "", `api\.tasks\.runPeriodic`},
	{"api.tasks.enqueueAllRecurrentTasks", `[]`, "", `by themselves`},
	{"api.tasks.enqueueAllRecurrentJobs", `[]`, "", `by themselves`},
	{"api.tasks.stopRecurrentTask", `["say"]`, "", `api\.tasks\.pausePeriodic`},
	{"api.tasks.stopRecurrentJob", `["say"]`, "", `api\.tasks\.pausePeriodic`},
	{"api.tasks.details", `[]`, "", `api\.tasks\.queues`},

	{"api.redis.publish", `[{"messageType": "chat", "text": "hi"}]`, "", `api\.bus\.publish \["chat", `},
	{"api.redis.doCluster", `["api.log", ["x"]]`, "", `call the method itself`},
	{"api.redis.respondCluster", `["x", 1]`, "", `returns`},
	{"api.connections.apply", `["id", "sendMessage", []]`, "", `api\.connections\.send`},
	{"api.connections.applyCatch", `["id", "sendMessage", []]`, "", `api\.connections\.send`},
}

func TestCallsAsTheOriginalMakesThemWorkOrSayWhatToWrite(t *testing.T) {
	withSet(t, mendApp, func(t *testing.T, set *supervisortest.Set) {
		rpc := set.Node("stellar-worker-2").API().RPC
		for _, c := range originalCalls {
			for _, to := range []rpcregistry.Target{rpcregistry.Node("stellar-worker-1"), rpcregistry.All()} {
				if c.refusal == "" && to == rpcregistry.All() {
					continue
				}
				r, err := rpc.DoCluster(t.Context(), c.method, json.RawMessage(c.args), to)
				if c.refusal == "" {
					require.NoError(t, err, "%s %s", c.method, c.args)
					require.Regexp(t, c.answer, string(r.Value)+map[bool]string{true: "null"}[r.Value == nil], c.method)
					continue
				}
				require.Error(t, err, "%s %s: %s", c.method, c.args, r.Value)
				var remote *rpcregistry.Error
				require.ErrorAs(t, err, &remote)
				require.Regexp(t, c.refusal, remote.Code.Error()+remote.Message, c.method)
			}
		}
		e, err := rpc.DoCluster(t.Context(), "api.cache.entry", json.RawMessage(`["user", {"expireTimeMS": 3600000}]`), rpcregistry.Node("stellar-worker-1"))
		require.NoError(t, err)
		var entry builtin.CacheEntry
		require.NoError(t, json.Unmarshal(e.Value, &entry))
		require.InDelta(t, time.Hour, entry.ExpiresAt.Sub(entry.CreatedAt), float64(time.Minute))
	})
}

// Whatever an advice names exists.
func TestAdviceNamesMethodsThatExist(t *testing.T) {
	known := slices.Concat(builtin.Names(), rpcregistry.Builtins())
	for _, c := range originalCalls {
		advice := builtin.Advice(c.method)
		require.Equal(t, advice == "", slices.Contains(known, c.method), c.method)
		for _, name := range regexp.MustCompile(`api\.\w+(\.\w+)?`).FindAllString(advice, -1) {
			require.Contains(t, known, name, c.method)
		}
	}
	require.Empty(t, builtin.Advice("api.frob"))
}

func TestALockThatIsCheckedPatientlyIsFound(t *testing.T) {
	called(t, func(t *testing.T, _ *cache.Cache, one, two caller) {
		one.must("lock", positional{"a", 300})
		began := time.Now()
		require.Contains(t, two.must("checkLock", positional{"a", 60_000}), `"held":false`, "as soon as it is free")
		require.Less(t, time.Since(began), patient/2)
		one.must("lock", positional{"a", 60_000})
		require.Contains(t, two.must("checkLock", named{"key": "a", "wait": 20}), `"held":true`)
		two.refused(rpcregistry.ErrBadArguments, "checkLock", positional{"a", -1})
	})
}

func TestPublishByCall(t *testing.T) {
	withSet(t, worker.NewApp, func(t *testing.T, set *supervisortest.Set) {
		one, two := set.Node("stellar-worker-1").API(), set.Node("stellar-worker-2").API()
		heard := make(chan redisbus.Message, 10)
		for _, api := range []*worker.API{one, two} {
			api.Bus.Subscribe("chat", func(_ context.Context, m redisbus.Message) { heard <- m }, redisbus.SubscribeOptions{})
		}
		call := func(args string) (json.RawMessage, error) {
			r, err := two.RPC.DoCluster(t.Context(), "api.bus.publish", json.RawMessage(args), rpcregistry.Node("stellar-worker-1"))
			return r.Value, err
		}
		for args, body := range map[string]string{
			`["chat", {"text": "hi"}]`:                                        `{"text":"hi"}`,
			`[{"messageType": "chat", "body": [1], "meta": {"tenant": "a"}}]`: `[1]`,
			`{"messageType": "chat"}`:                                         ``,
		} {
			receivers, err := call(args)
			require.NoError(t, err)
			require.Equal(t, `2`, string(receivers))
			for range 2 {
				m := <-heard
				require.Equal(t, "stellar-worker-1", m.ServerID)
				if body == "" {
					require.Empty(t, m.Body)
				} else {
					require.JSONEq(t, body, string(m.Body))
				}
			}
		}
		receivers, err := call(`{"messageType": "chat", "node": "stellar-worker-2"}`)
		require.NoError(t, err)
		require.Equal(t, `1`, string(receivers))
		require.True(t, (<-heard).Directed)
		for _, args := range []string{`["a b"]`, `[]`, `["chat", 1, "no#body#"]`, `{"messageType": "chat", "meta": {"A": "b"}}`} {
			_, err := call(args)
			require.ErrorIs(t, err, rpcregistry.ErrBadArguments, args)
		}
		_, err = call(`{"messageType": "chat", "serverId": "x", "text": "hi"}`)
		require.ErrorContains(t, err, "it takes {messageType: string, body?: any, node?: string, meta?: {*: string}}")
	})
}
