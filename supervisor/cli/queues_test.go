package cli

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

func TestQueuesAreMended(t *testing.T) {
	t.Parallel()
	withSet(t, mendApp, func(t *testing.T, at place, _ *supervisortest.Set) {
		c := console{t, at}
		r := stellar(t, at.env, "tasks", "pause", "default")
		require.Equal(c, "paused: queue default\n", r.out)
		c.run("enqueue", "echo", "--id", "e")
		require.Contains(c, c.run("tasks", "explain", "e"), "the queue default is paused")
		require.Regexp(c, `(?m)^default .* paused$`, c.run("tasks", "stats"))
		require.Regexp(c, `default +no limit +1 +1048576 +no limit +no limit +no limit *\n`, c.run("tasks", "limit", "default", "--tasks", "1", "--bytes", "1MiB"))
		require.Regexp(c, `default +7 +1 +1048576 +no limit +no limit +no limit *\n`, c.run("tasks", "limit", "default", "--concurrency", "7"))
		require.Regexp(c, `default +7 +1 +1048576 `, c.run("tasks", "limit", "default"), "it shows them")
		c.refused(1, "queue is full", "enqueue", "echo")
		require.JSONEq(c, `[{"queue":"default","limits":{"concurrency":0,"tasks":0,"bytes":0}}]`, c.run("tasks", "limit", "default", "--reset", "-o", "json"))
		require.Equal(c, "resumed: queue default\n", c.run("tasks", "resume", "default"))
		c.run("tasks", "wait", "e")

		for _, args := range []string{"pause nowhere", "resume nowhere", "limit nowhere --tasks 5", "delete-queue nowhere", "list --queue nowhere",
			"cancel --queue nowhere", "retry --queue nowhere", "delete --queue nowhere", "delete --queue nowhere --dry-run"} {
			c.refused(1, "no queue nowhere", append([]string{"tasks"}, strings.Fields(args)...)...)
		}
		require.Regexp(c, `default +by definition +by definition +by definition`, c.run("tasks", "defaults", "default"))
		c.run("tasks", "defaults", "default", "--max-attempts", "3")
		require.Regexp(c, `default +3 +by definition +by definition`, c.run("tasks", "defaults", "default"), "it shows them")
		require.JSONEq(c, `[{"queue":"default","defaults":{}}]`, c.run("tasks", "defaults", "default", "--reset", "-o", "json"))
		// What the methods say of their arguments is said of the command's.
		for says, args := range map[string][]string{
			"stellar: --burst: the queue has no rate\n":                               {"limit", "default", "--burst", "3"},
			"stellar: --group-burst: the queue's groups have no rate\n":               {"limit", "default", "--group-burst", "3"},
			"stellar: defaults: use --reset, or flags that set defaults, not both\n":  {"defaults", "default", "--reset", "--retention", "1h"},
			"stellar: timezone belongs to cron\n":                                     {"periodic", "set", "echo", "--every", "1h", "--timezone", "UTC"},
			"stellar: --every: 0s is no interval: use one such as 10m\n":              {"periodic", "set", "echo", "--every", "0s"},
			"stellar: --payload: it is empty: give a value, or leave the flag out\n":  {"edit", "e", "--payload", ""},
			"stellar: --queue: it is empty: give a value, or leave the flag out\n":    {"edit", "e", "--queue", ""},
			"stellar: edit: use some of --payload, --queue, --group and --priority\n": {"edit", "e"},
		} {
			r := stellar(t, at.env, append([]string{"tasks"}, args...)...)
			require.Equal(c, says, r.err)
			require.Equal(c, 2, r.code)
		}
		for _, flag := range []string{"--group", "--priority", "--queue"} {
			c.refused(2, flag+": it is empty", "enqueue", "echo", flag, "")
		}
		c.refused(1, "no queue defaults (did you mean default?)", "tasks", "pause", "defaults")
		r = stellar(t, at.env, "enqueue", "echo", "--queue", "defaults")
		require.Zero(c, r.code, r.err)
		require.Equal(c, "stellar: no live node serves the queue defaults (did you mean default?): the task waits until one does\n", r.err)
		require.Equal(c, "paused: queue early\n", c.run("tasks", "pause", "early", "--any-name"))
		c.run("tasks", "limit", "early", "--tasks", "5", "--any-name")
		c.run("tasks", "resume", "early")
		require.Equal(c, "deleted: 1 task of queue defaults\n", c.run("tasks", "delete-queue", "defaults"))
		c.refused(1, "no queue nope", "tasks", "delete-queue", "nope")

		require.Regexp(c, `hourly +echo +default +every 1h0m0s +no +- +in \S+ +"tick"`, c.run("tasks", "periodic"))
		r = stellar(c.T, c.at.env, "tasks", "periodic", "resume", "nope", "hourly")
		require.Equal(c, result{1, "resumed: hourly\n", "stellar: no periodic task nope: \"stellar tasks periodic\" lists them\n"}, r, "one after the other")
		require.Equal(c, "paused: hourly\n", c.run("tasks", "periodic", "pause", "hourly"))
		require.Contains(c, c.run("tasks", "periodic"), "paused")
		require.Contains(c, c.run("tasks", "periodic", "run", "hourly"), "enqueued hourly")
		require.JSONEq(c, `[{"name":"hourly","outcome":"resumed"}]`, c.run("tasks", "periodic", "resume", "hourly", "-o", "json"))
		c.refused(1, "no periodic task nope", "tasks", "periodic", "remove", "nope")
		require.Regexp(c, `^set: nightly, 0 0 \* \* \* Europe/Berlin, next at \S+\n$`,
			c.run("tasks", "periodic", "set", "nightly", "--task", "echo", "--cron", "0 0 * * *", "--timezone", "Europe/Berlin", "--payload", `{"n":1}`))
		require.Regexp(c, `nightly \(set\) +echo +default +0 0 \* \* \* Europe/Berlin +no +- +in \S+ +\{"n":1\}`, c.run("tasks", "periodic"))
		require.Equal(c, "no tick yet\n", c.run("tasks", "periodic", "history", "nightly"))
		require.Equal(c, "removed: nightly\n", c.run("tasks", "periodic", "remove", "nightly"))
		c.refused(1, "no periodic task nightly", "tasks", "periodic", "history", "nightly")
		c.refused(1, "its definition counts", "tasks", "periodic", "set", "hourly", "--task", "echo", "--every", "1m")
		c.refused(2, "unknown task ecco", "tasks", "periodic", "set", "n", "--task", "ecco", "--every", "1m")
		c.refused(2, "use --cron or --every", "tasks", "periodic", "set", "n", "--task", "echo")
		c.refused(2, "--payload", "tasks", "periodic", "set", "n", "--task", "echo", "--every", "1m", "--payload", "{")
		c.refused(2, "at least 1s", "tasks", "periodic", "set", "n", "--task", "echo", "--every", "1ms")
	})
}

func TestAWeightIsThatOfAQueue(t *testing.T) {
	bad := supervisor.Config{Redis: redistest.Embedded(t).Config(), Queues: []string{"a"}, Weights: map[string]int{"b": 1}}
	_, err := supervisor.New(bad, worker.NewApp(), zerolog.Nop())
	require.ErrorContains(t, err, `"b": it is not among the queues`)
}

func TestWeightsReachTheNodes(t *testing.T) {
	cfg := redistest.Start(t).Config()
	var mu sync.Mutex
	var order []string
	done := make(chan struct{})
	app := worker.NewApp()
	tasks.Handle(app, tasks.Definition{Name: "note"}, func(ctx context.Context, _ any) error {
		info := tasks.InfoOf(ctx)
		mu.Lock()
		defer mu.Unlock()
		if order = append(order, info.Queue); len(order) == 100 {
			close(done)
		}
		return nil
	})
	var news []tasks.Request
	for i := range 100 {
		news = append(news, tasks.Request{Name: "note", Options: tasks.Options{Queue: []string{"first", "second"}[i%2]}})
	}
	queue := tasks.NewClient(t.Context(), redistest.Client(t, cfg), cfg.Keys(), &tasks.Registry{})
	defer queue.Close()
	_, err := queue.EnqueueMany(t.Context(), news)
	require.NoError(t, err)
	start(t, home(t).with("REDIS_URL", cfg.URL), app, "--workers", "1", "--concurrency", "1", "--queues", "first,second=1000")
	select {
	case <-done:
	case <-time.After(patient):
		t.Fatal("they do not run")
	}
	lastFirst := len(order) - 1 - slices.Index(reversed(order), "first")
	require.Less(t, slices.Index(order, "second"), lastFirst, "a strict order would end all of the first queue before")
}
