package cli

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/cli/callcmd"
	"github.com/stellarfw/stellar/supervisor/cli/setcmd"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// withSet runs the scenario beside a set of three nodes, on either Redis.
func withSet(t *testing.T, app func() *worker.App, scenario func(t *testing.T, at place, set *supervisortest.Set)) {
	t.Helper()
	each(t, func(t *testing.T, at place) {
		set := supervisortest.StartWith(t, app(), supervisor.Config{Workers: 3, Redis: at.cfg})
		scenario(t, at, set)
	})
}

func TestStatus(t *testing.T) {
	withSet(t, echoApp, func(t *testing.T, at place, set *supervisortest.Set) {
		r := stellar(t, at.env, "status")
		require.Zero(t, r.code, r.err)
		host, err := os.Hostname()
		require.NoError(t, err)
		for _, text := range []string{
			"NODE", "INCARNATION", "PROCESS", "HOST", "STATE", "UPTIME", "TASKS", "stellar-worker-1", "stellar-worker-3",
			strconv.Itoa(os.Getpid()), host, "running", "tasks: 0 pending",
		} {
			require.Contains(t, r.out, text)
		}
		r = stellar(t, at.env, "status", "-o", "json")
		require.Zero(t, r.code, r.err)
		var got struct {
			Namespace string        `json:"namespace"`
			Nodes     []setcmd.Node `json:"nodes"`
			Tasks     tasks.Counts  `json:"tasks"`
		}
		require.NoError(t, json.Unmarshal([]byte(r.out), &got))
		require.Equal(t, "stellar", got.Namespace)
		require.Len(t, got.Nodes, 3)
		node := set.Node("stellar-worker-2")
		require.Equal(t, node.Ended().Incarnation, got.Nodes[1].Incarnation)
		require.Equal(t, os.Getpid(), got.Nodes[1].PID)
		require.True(t, got.Nodes[1].Live)
		require.Equal(t, "running", got.Nodes[1].State)
	})
}

func callApp() *worker.App {
	app := echoApp()
	rpcregistry.Handle(app, "test.sum", func(_ context.Context, in struct{ A, B int }) (int, error) { return in.A + in.B, nil })
	rpcregistry.Handle(app, "test.fail", func(ctx context.Context, _ struct{}) (string, error) {
		if worker.FromContext(ctx).ID() == "stellar-worker-2" {
			return "", errors.New("no\x1b[31m luck")
		}
		return "fine", nil
	})
	rpcregistry.Handle(app, "test.slow", func(ctx context.Context, _ struct{}) (struct{}, error) { <-ctx.Done(); return struct{}{}, ctx.Err() })
	return app
}

func TestCall(t *testing.T) {
	withSet(t, callApp, func(t *testing.T, at place, _ *supervisortest.Set) {
		r := stellar(t, at.env, "call", "test.sum", `{"a": 2, "b": 3}`)
		require.Equal(t, result{0, "5\n", ""}, r)
		require.Equal(t, result{0, "9\n", ""}, stellarReading(t, at.env, "[4, 5]", "call", "test.sum", "-"))

		r = stellar(t, at.env, "call", "api.ping", "--node", "stellar-worker-3", "-o", "json")
		require.Zero(t, r.code, r.err)
		require.Contains(t, r.out, `"node": "stellar-worker-3"`)

		r = stellar(t, at.env, "call", "test.fail", "--all")
		require.Equal(t, 1, r.code)
		require.Regexp(t, `stellar-worker-1 +value +"fine"\nstellar-worker-2 +error .*luck.*\nstellar-worker-3 +value`, r.out)
		require.NotContains(t, r.out, "\x1b")
		require.Contains(t, r.err, "failed on 1 of 3 nodes")

		r = stellar(t, at.env, "call", "test.fail", "--all", "-o", "json")
		var verdicts []callcmd.Verdict
		require.NoError(t, json.Unmarshal([]byte(r.out), &verdicts))
		require.Len(t, verdicts, 3)
		require.Equal(t, "error", verdicts[1].Outcome)

		require.Regexp(t, `^sent test.sum to stellar-worker-\d\n$`, stellar(t, at.env, "call", "test.sum", "--no-wait").out)
		require.Equal(t, result{0, "sent test.sum to all\n", ""}, stellar(t, at.env, "call", "test.sum", "--no-wait", "--all"))
		sent := stellar(t, at.env, "call", "test.sum", "--no-wait", "--node", "stellar-worker-1", "-o", "json")
		require.JSONEq(t, `{"method": "test.sum", "sentTo": "stellar-worker-1"}`, sent.out)
		for args, says := range map[string]string{
			"test.sun":         "stellar: unknown method test.sun: did you mean test.sum? \"stellar call api.methods\" lists what there is",
			"test.sun --all":   "stellar: unknown method test.sun: did you mean test.sum? ",
			"frob":             "stellar: unknown method frob: \"stellar call",
			"test.sum 2 b c's": `stellar: the arguments of test.sum are one list: write '[2,"b","c'\''s"]'`,
		} {
			r := stellar(t, at.env, append([]string{"call"}, strings.Fields(args)...)...)
			require.Equal(t, 2, r.code)
			require.Contains(t, r.err, says)
		}
	})
}

func TestCallsThatFail(t *testing.T) {
	t.Parallel()
	withSet(t, callApp, func(t *testing.T, at place, _ *supervisortest.Set) {
		for name, c := range map[string]struct {
			args []string
			code int
			says string
		}{
			"unknown method":        {[]string{"frob"}, 2, "stellar call api.methods"},
			"unknown method of all": {[]string{"frob", "--all"}, 2, "stellar call api.methods"},
			"the original's method": {[]string{"api.tasks.delQueue", `["a"]`}, 2, `unknown method api.tasks.delQueue: use api.tasks.deleteQueue ["QUEUE"]`},
			"the same of all":       {[]string{"api.redis.publish", `[{"messageType":"chat"}]`, "--all"}, 2, `use api.bus.publish ["chat", PAYLOAD]`},
			"the original's clear":  {[]string{"api.cache.clear", "[]"}, 2, `say which keys: ["*"] for all`},
			"the original's unlock": {[]string{"api.cache.unlock", `["a"]`}, 2, `["a", FENCE]`},
			"no name of a method":   {[]string{"a b"}, 2, "stellar call api.methods"},
			"wrong arguments":       {[]string{"test.sum", `"x"`}, 2, "bad_arguments"},
			"unknown argument":      {[]string{"api.tasks.cancelAll", `{"state":["dead"],"all":true}`}, 2, "it takes {states?: [string], queue?: string"},
			"unknown node":          {[]string{"api.ping", "--node", "frob"}, 1, "stellar status"},
			"unknown connection":    {[]string{"api.ping", "--connection", "frob"}, 1, `no_such_connection: "stellar call api.connections.list --all" lists`},
			"its own error":         {[]string{"test.fail", "--node", "stellar-worker-2"}, 1, "luck"},
			"too slow":              {[]string{"test.slow", "--node", "stellar-worker-1", "--timeout", "50ms"}, 1, "nobody knows whether it ran"},
		} {
			t.Run(name, func(t *testing.T) {
				r := stellar(t, at.env, append([]string{"call"}, c.args...)...)
				require.Equal(t, c.code, r.code, r.err)
				require.Contains(t, r.err, c.says)
				require.NotContains(t, r.err, "\x1b")
			})
		}
	})
}

func enqueueApp() *worker.App {
	app := echoApp()
	tasks.Handle(app, tasks.Definition{Name: "mail", Queue: "post"}, func(ctx context.Context, _ any) error {
		info := tasks.InfoOf(ctx)
		tasks.Tx(ctx).Result(info.Queue)
		return nil
	})
	tasks.Handle(app, tasks.Definition{Name: "broken", MaxAttempts: 1}, func(context.Context, any) error { return errors.New("it is broken") })
	return app
}

func TestEnqueue(t *testing.T) {
	t.Parallel()
	withSet(t, enqueueApp, func(t *testing.T, at place, _ *supervisortest.Set) {
		r := stellar(t, at.env, "enqueue", "echo", `{"hello":"world"}`, "--wait")
		require.Equal(t, result{0, "{\n  \"hello\": \"world\"\n}\n", ""}, r)
		require.Equal(t, result{0, "null\n", ""}, stellar(t, at.env, "enqueue", "echo", "--wait"))
		require.Equal(t, result{0, "[\n  1\n]\n", ""}, stellarReading(t, at.env, "[1]", "enqueue", "echo", "-", "--wait"))
		require.Equal(t, result{0, "\"post\"\n", ""}, stellar(t, at.env, "enqueue", "mail", "--wait"), "the queue of its definition")
		require.Equal(t, result{0, "\"default\"\n", ""}, stellar(t, at.env, "enqueue", "mail", "--queue", "default", "--wait"))

		r = stellar(t, at.env, "enqueue", "broken", "--wait")
		require.Equal(t, 1, r.code)
		require.Contains(t, r.err, "it is broken")

		r = stellar(t, at.env, "enqueue", "nope")
		require.Equal(t, 2, r.code)
		require.Contains(t, r.err, "broken, echo, mail")

		require.Equal(t, "enqueued echo once\n", stellar(t, at.env, "enqueue", "echo", "--id", "once", "--in", "1h").out)
		require.Equal(t, "not enqueued again, the id was accepted before: echo once\n", stellar(t, at.env, "enqueue", "echo", "--id", "once").out)
		r = stellar(t, at.env, "enqueue", "echo", "--at", "2099-01-01T00:00:00Z", "-o", "json")
		require.Zero(t, r.code, r.err)
		require.Contains(t, r.out, `"duplicate": false`)
		require.Contains(t, stellar(t, at.env, "status").out, "0 pending, 2 delayed")

		r = stellar(t, at.env, "enqueue", "echo", "--in", "1h", "--wait", "--timeout", "50ms")
		require.Equal(t, 1, r.code)
		require.Contains(t, r.err, "not done after 50ms")
	})
}

func TestATaskForNobodyWaits(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, at place) {
		r := stellar(t, at.env, "call", "api.ping")
		require.Equal(t, 69, r.code)
		require.Contains(t, r.err, "no cluster is in the namespace")

		r = stellar(t, at.env, "enqueue", "echo", `"early"`, "--id", "early")
		require.Equal(t, result{2, "", "stellar: unknown task echo: no program has defined any task; start its nodes first, or use --any-name\n"}, r)
		r = stellar(t, at.env, "enqueue", "echo", `"early"`, "--id", "early", "--any-name")
		require.Zero(t, r.code, r.err)
		require.Contains(t, r.err, "no node is live")
		require.Contains(t, stellar(t, at.env, "status").out, "no live nodes")

		set := supervisortest.StartWith(t, echoApp(), supervisor.Config{Workers: 1, Redis: at.cfg})
		ctx, cancel := context.WithTimeout(t.Context(), patient)
		defer cancel()
		value, err := set.Node("stellar-worker-1").API().Tasks.Wait(ctx, "early")
		require.NoError(t, err)
		require.JSONEq(t, `"early"`, string(value))
	})
}

func TestATaskGoesIntoItsOwnQueueWhileNoNodeLives(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, at place) {
		ctx, cancel := context.WithTimeout(t.Context(), patient)
		defer cancel()
		set, err := supervisor.New(supervisor.Config{Workers: 1, Redis: at.cfg}, enqueueApp(), zerolog.Nop())
		require.NoError(t, err)
		serving, stop := context.WithCancel(ctx)
		served := make(chan error, 1)
		go func() { served <- set.Serve(serving) }()
		require.NoError(t, set.AwaitReady(ctx))
		_, err = set.Nodes()[0].API().Inspector.LimitQueue(ctx, "post", &tasks.Limits{Tasks: 1})
		require.NoError(t, err)
		stop()
		require.NoError(t, <-served)

		r := stellar(t, at.env, "enqueue", "mail", "--id", "first")
		require.Zero(t, r.code, r.err)
		require.Contains(t, r.err, "no node is live")
		require.Contains(t, stellar(t, at.env, "tasks", "show", "first").out, "post")
		r = stellar(t, at.env, "enqueue", "mail")
		require.Equal(t, 1, r.code)
		require.Contains(t, r.err, "queue post: queue is full")
	})
}

func TestACommandIsInterrupted(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, at place) {
		waiting := start(t, at.env, echoApp(), "enqueue", "echo", "--wait", "--any-name")
		waiting.err.await(t, "no node is live", 1)
		began := time.Now()
		waiting.term()
		require.Equal(t, 143, waiting.wait(t))
		require.Contains(t, waiting.err.String(), "stellar: interrupted")
		require.Less(t, time.Since(began), 5*time.Second)
	})
}

func TestACommandOnAnEmptyRedisWritesNoToken(t *testing.T) {
	cfg := redistest.Start(t).Config()
	client := redistest.Client(t, cfg)
	env := home(t).with("REDIS_URL", cfg.URL)
	r := stellar(t, env, "call", "api.ping")
	require.Equal(t, exitUnavailable, r.code, r.err)
	require.Contains(t, r.err, "no cluster is in the namespace stellar")
	for _, args := range [][]string{{"call", "--all", "api.ping"}, {"status"}, {"call", "api.ping", "--node", "stellar-worker-1"}, {"tasks", "list"}} {
		stellar(t, env, args...)
	}
	require.Subset(t, []string{cfg.Keys().Layout()}, client.Keys(t.Context(), "*").Val())
}

func TestATokenOfOnesOwnIsAskedForOnce(t *testing.T) {
	cfg := redistest.Start(t).Config()
	env := home(t).with("REDIS_URL", cfg.URL)
	const warning = "no token is configured"
	for _, c := range []struct {
		env   environment
		lines int
	}{{env, 1}, {env.with("STELLAR_TOKEN", secret), 0}, {home(t), 0}} { // the last has the embedded Redis
		set := start(t, c.env.with("STELLAR_WORKERS", "3"), echoApp())
		set.err.await(t, "node is running", 3)
		set.term()
		require.Zero(t, set.wait(t), set.err)
		require.Equal(t, c.lines, strings.Count(set.err.String(), warning), "%s", set.err)
	}
	r := stellar(t, env.with("STELLAR_REQUIRE_TOKEN", "true"), "run")
	require.Equal(t, exitUsage, r.code)
	require.Contains(t, r.err, "STELLAR_REQUIRE_TOKEN: there is no token")
}
