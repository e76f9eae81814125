package cli

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// mendApp has a task that fails for good, one that runs until it is cancelled and
// a periodic one.
func mendApp() *worker.App {
	app := echoApp()
	tasks.Handle(app, tasks.Definition{Name: "broken", MaxAttempts: 1}, func(context.Context, any) error { return errors.New("it is\x1b broken") })
	tasks.Handle(app, tasks.Definition{Name: "hang"}, func(ctx context.Context, _ any) error { <-ctx.Done(); return ctx.Err() })
	app.RegisterPeriodic(tasks.Periodic{Name: "hourly", Task: "echo", Schedule: tasks.Every(time.Hour), Payload: "tick"})
	return app
}

// console runs commands that must succeed.
type console struct {
	*testing.T

	at place
}

func (c console) run(args ...string) string {
	c.Helper()
	r := stellar(c.T, c.at.env, args...)
	require.Zero(c, r.code, "%v: %s", args, r.err)
	require.NotContains(c, r.out, "\x1b")
	return r.out
}

func (c console) read(to any, args ...string) {
	c.Helper()
	require.NoError(c, json.Unmarshal([]byte(c.run(append(args, "-o", "json")...)), to))
}

// awaitState waits until a task is in a state.
func (c console) awaitState(id string, state tasks.State) (t tasks.Task) {
	c.Helper()
	require.Eventually(c, func() bool {
		r := stellar(c.T, c.at.env, "tasks", "show", id, "-o", "json")
		return r.code == 0 && json.Unmarshal([]byte(r.out), &t) == nil && t.State == state
	}, patient, 20*time.Millisecond, "%s is %s", id, state)
	return t
}

// refused runs a command that must fail.
func (c console) refused(code int, says string, args ...string) {
	c.Helper()
	r := stellar(c.T, c.at.env, args...)
	require.Equal(c, code, r.code, "%v: %s%s", args, r.out, r.err)
	require.Contains(c, r.err, says)
}

// idle runs the scenario in a cluster without nodes: what is enqueued stays.
func idle(t *testing.T, scenario func(c console)) {
	t.Helper()
	each(t, func(t *testing.T, at place) { scenario(console{t, at}) })
}

func TestEnqueueWithAllOptions(t *testing.T) {
	t.Parallel()
	idle(t, func(c console) {
		c.run("enqueue", "--any-name", "mail", `{"to":"ada"}`, "--id", "a", "--priority", "high", "--deadline", "90m", "--unique", "ada", "--max-attempts", "3",
			"--run-timeout", "5s", "--backoff", "2s", "--max-backoff", "1m", "--retention", "1h", "--result", "--meta", "tenant=acme", "--meta", "trace=a=1,b=2")
		var a tasks.Task
		c.read(&a, "tasks", "show", "a")
		require.Equal(c, tasks.High, a.Priority)
		require.Equal(c, "ada", a.Unique)
		require.Equal(c, map[string]string{"tenant": "acme", "trace": "a=1,b=2"}, a.Meta)
		require.Regexp(c, `(?m)^meta tenant: +acme$`, c.run("tasks", "show", "a"))
		require.Contains(c, c.run("tasks", "list", "--text", "tenant=acme"), "mail")
		require.InDelta(c, 90*time.Minute, a.Deadline.Sub(a.Enqueued), float64(time.Minute))
		record := redistest.Client(c, c.at.cfg).HGet(c.Context(), c.at.cfg.Keys().Tasks(), "a").Val()
		require.Contains(c, record, `"a":3,"t":5000,"r":3600000,"b":2000,"B":60000`)

		require.Equal(c, "not enqueued, this one has the unique key: mail a\n", c.run("enqueue", "--any-name", "mail", "--unique", "ada", "--unique-for", "1h"))
		c.run("enqueue", "--any-name", "mail", "--id", "b", "--after", "a", "--after", "c", "--priority", "low")
		require.Contains(c, c.run("tasks", "explain", "b"), "b is blocked (mail, queue default)\n  - it runs when 1 more of the tasks")
		require.Contains(c, c.run("tasks", "show", "b"), "a c (1 not done)")
		require.Contains(c, c.run("tasks", "explain", "a"), "no live node serves the queue default")
	})
}

func TestTasksAreListed(t *testing.T) {
	t.Parallel()
	idle(t, func(c console) {
		require.Equal(c, "no queue was used yet\n", c.run("tasks"))
		require.Equal(c, "no tasks\n", c.run("tasks", "list"))
		require.JSONEq(c, `[]`, c.run("tasks", "list", "-o", "json"))
		c.run("enqueue", "--any-name", "mail", `"to ada"`, "--id", "m1")
		c.run("enqueue", "--any-name", "mail", `"to bob"`, "--id", "m2", "--queue", "post", "--priority", "high")
		c.run("enqueue", "--any-name", "echo", "--id", "e1", "--in", "1h")
		ids := func(args ...string) (ids []string) {
			var found []tasks.Task
			c.read(&found, append([]string{"tasks", "list"}, args...)...)
			for _, t := range found {
				ids = append(ids, t.ID)
			}
			return ids
		}
		require.Equal(c, []string{"m1", "m2", "e1"}, ids())
		require.Equal(c, []string{"m1", "m2"}, ids("--name", "mail"))
		require.Equal(c, []string{"m2"}, ids("--queue", "post"))
		require.Equal(c, []string{"m2"}, ids("--text", "bob"))
		require.Equal(c, []string{"e1"}, ids("--state", "delayed,dead"))
		require.Equal(c, []string{"m1", "m2"}, ids("--since", "1h", "--until", time.Now().Add(time.Minute).Format(time.RFC3339)))
		require.Empty(c, ids("--until", "1h"))

		r := stellar(t, c.at.env, "tasks", "list", "--limit", "2")
		require.Regexp(c, `ID +NAME +QUEUE +STATE +WHEN +ATTEMPTS +REASON OR PAYLOAD\nm1 +mail +default +pending +\ds ago +0 +"to ada"\nm2 +mail +post \(high\)`, r.out)
		require.Contains(c, r.err, "there are more")
		require.NotContains(c, r.out, "e1")
		require.Regexp(c, `e1 .*delayed +in (1h0m0s|59m\d+s)`, c.run("tasks", "list", "--limit", "3"))

		stats := c.run("tasks", "-o", "table")
		require.Regexp(c, `QUEUE +PENDING +PARKED +DELAYED +ACTIVE`, stats)
		require.Regexp(c, `(?m)^default +1 +0 +1 +0 `, stats)
		require.Regexp(c, `SO FAR +ENQUEUED +DONE`, stats)
		var got struct {
			Queues []tasks.Queue `json:"queues"`
			Counts tasks.Counts  `json:"counts"`
		}
		c.read(&got, "tasks", "stats")
		require.Len(c, got.Queues, 2)
		require.EqualValues(c, 2, got.Counts.Pending)

		c.refused(1, "task not found: nope", "tasks", "show", "nope")
		c.refused(1, "tasks list", "tasks", "explain", "nope")
		c.refused(1, "task not found: nope: it was never stored, or it is done and forgotten, as it is without --id or --retention", "tasks", "wait", "nope")
		require.NotRegexp(c, "EnqueueAndWait|WantResult", stellar(c.T, c.at.env, "tasks", "wait", "nope").err, "that is for programs")
		c.refused(1, "not done after 20ms", "tasks", "wait", "m1", "--timeout", "20ms")
	})
}

func TestTasksAreMended(t *testing.T) {
	t.Parallel()
	withSet(t, mendApp, func(t *testing.T, at place, _ *supervisortest.Set) {
		c := console{t, at}
		for _, id := range []string{"b1", "b2"} {
			c.run("enqueue", "broken", "--id", id)
			require.Equal(c, "failed", c.awaitState(id, tasks.Dead).Reason.Reason)
		}
		require.Contains(c, c.run("tasks", "list", "--state", "dead"), `failed: it is\u001b broken`)
		require.Contains(c, c.run("tasks", "show", "b1"), `failed: it is\u001b broken`)
		c.refused(1, "it is", "tasks", "wait", "b1")

		dry := c.run("tasks", "retry", "--name", "broken", "--dry-run")
		require.Contains(c, dry, "would be retried: 2 tasks\n")
		require.Contains(c, dry, "b2")
		require.Len(c, c.awaitState("b1", tasks.Dead).History, 1, "it was dry")
		require.Equal(c, "retried: 2 tasks\n", c.run("tasks", "retry", "--name", "broken"))
		require.Eventually(c, func() bool { return len(c.awaitState("b1", tasks.Dead).History) == 3 }, patient, 20*time.Millisecond)
		c.awaitState("b2", tasks.Dead)
		require.JSONEq(c, `{"deleted":1}`, c.run("tasks", "delete", "--state", "dead", "--limit", "1", "-o", "json"))
		require.Equal(c, "deleted: 1 task\n", c.run("tasks", "delete", "--all"))

		c.run("enqueue", "hang", "--id", "h")
		c.awaitState("h", tasks.Active)
		c.refused(1, "cancel it first", "tasks", "delete", "h")
		require.Equal(c, "asked to end: h\n", c.run("tasks", "cancel", "h", "--reason", "enough"))
		require.Equal(c, "enough", c.awaitState("h", tasks.Cancelled).Reason.Error)

		c.run("enqueue", "echo", `"late"`, "--id", "l", "--in", "1h")
		c.refused(1, "cancel task nope: task not found", "tasks", "cancel", "nope", "l")
		c.awaitState("l", tasks.Cancelled) // although the other one was not there
		c.run("tasks", "retry", "l")
		c.run("enqueue", "echo", `"late"`, "--id", "l2", "--in", "1h", "--result")
		require.Equal(c, "rescheduled: l2\n", c.run("tasks", "reschedule", "l2", "--at", "2099-01-01T00:00:00Z"))
		require.Equal(c, 2099, c.awaitState("l2", tasks.Delayed).Due.UTC().Year())
		require.Equal(c, "edited: l2\n", c.run("tasks", "edit", "l2", "--payload", `"edited"`, "--priority", "low"))
		c.refused(1, "no queue nowhere", "tasks", "edit", "l2", "--queue", "nowhere")
		c.refused(2, "use some of --payload", "tasks", "edit", "l2")
		c.refused(2, "--payload", "tasks", "edit", "l2", "--payload", "{")
		c.refused(1, "edit task nope: task not found", "tasks", "edit", "nope", "--payload", "1")
		c.run("tasks", "reschedule", "l2", "--now")
		require.Equal(c, "\"edited\"\n", c.run("tasks", "wait", "l2"))
		require.NotContains(c, c.run("tasks", "list"), "l2", "what is done only where it is asked for")
		require.Contains(c, c.run("tasks", "list", "--state", "done"), "l2")
		c.refused(1, "not delayed", "tasks", "reschedule", "l2", "--in", "1h")
	})
}

func TestStepsOnTheCommandLine(t *testing.T) {
	t.Parallel()
	app := func() *worker.App {
		app := mendApp()
		tasks.Handle(app, tasks.Definition{Name: "ship", MaxAttempts: 1}, func(ctx context.Context, _ any) error {
			if _, err := tasks.Step(ctx, "charge", func(context.Context) (string, error) { return "paid", nil }); err != nil {
				return err
			}
			_, err := tasks.Restore(ctx, new([]int))
			if err == nil {
				err = tasks.Checkpoint(ctx, []int{1})
			}
			if err != nil {
				return err
			}
			return tasks.Sleep(ctx, "cool-down", time.Hour)
		})
		return app
	}
	withSet(t, app, func(t *testing.T, at place, _ *supervisortest.Set) {
		c := console{t, at}
		c.run("enqueue", "ship", "--id", "s")
		c.awaitState("s", tasks.Delayed)
		show := c.run("tasks", "show", "s")
		require.Regexp(c, `checkpoint: +20\d\d-.*Z, 3 bytes`, show)
		require.Regexp(c, `STEP +ENDED +RESULT +SLEEPS UNTIL\n.*charge +20\d\d-\S+Z +6 bytes\s*\n.*cool-down +20\d\d-\S+Z +20\d\d-\S+Z`, show)
		require.Regexp(c, `AT +WHAT +STEP .*\n.*Z +step +charge`, show)
		require.Contains(c, c.run("tasks", "explain", "s"), `its step "cool-down" sleeps until`)
		require.Equal(c, "to run again: s\n", c.run("tasks", "rerun", "s", "--from", "cool-down"))
		require.Len(c, c.awaitState("s", tasks.Delayed).Steps, 2)
		c.refused(2, `invalid step "pay": the steps that have ended are "charge", "cool-down"`, "tasks", "rerun", "s", "--from", "pay")
		c.refused(2, "--from: it is empty", "tasks", "rerun", "s", "--from", "")
		c.refused(1, "task not found", "tasks", "rerun", "nope")
		var done mended
		c.read(&done, "tasks", "rerun", "s")
		require.Equal(c, mended{"s", "to run again"}, done)
		c.run("enqueue", "hang", "--id", "h")
		c.awaitState("h", tasks.Active)
		c.refused(1, "cancel it first", "tasks", "rerun", "h")
		c.run("tasks", "cancel", "h")
	})
}

// mended is the JSON output of commands that change one task.
type mended struct{ ID, Outcome string }

// Each error about several tasks is a line of its own; the advice is there once.
func TestErrorsAboutSeveralTasksAreLines(t *testing.T) {
	t.Parallel()
	idle(t, func(c console) {
		for _, verb := range []string{"cancel", "retry", "delete", "cancel --dry-run"} {
			r := stellar(c.T, c.at.env, append([]string{"tasks"}, strings.Fields(verb+" a b")...)...)
			require.Equal(c, 1, r.code, verb)
			require.Regexp(c, `^stellar: .*task.* a\b.*\n.*task.* b\b.*: it was never stored, or .*\n$`, r.err)
			require.NotContains(c, r.err, `\n`)
			require.Equal(c, 1, strings.Count(r.err, "it was never stored"))
		}
	})
}

// Commands that take several names print one list, with what failed among it.
func TestSeveralNamesMakeOneDocument(t *testing.T) {
	t.Parallel()
	app := func() *worker.App {
		app := mendApp()
		app.RegisterPeriodic(tasks.Periodic{Name: "daily", Task: "echo", Schedule: tasks.Every(24 * time.Hour)})
		return app
	}
	withSet(t, app, func(t *testing.T, at place, _ *supervisortest.Set) {
		c := console{t, at}
		require.Eventually(c, func() bool {
			known := c.run("tasks", "periodic")
			return strings.Contains(known, "daily") && strings.Contains(known, "hourly")
		}, patient, 20*time.Millisecond)
		for _, x := range []struct{ args, want string }{
			{"tasks pause default post --any-name", `[{"queue":"default","paused":true},{"queue":"post","paused":true}]`},
			{"tasks resume default", `[{"queue":"default","paused":false}]`},
			{
				"tasks limit default post --tasks 5 --any-name",
				`[{"queue":"default","limits":{"concurrency":0,"tasks":5,"bytes":0}},{"queue":"post","limits":{"concurrency":0,"tasks":5,"bytes":0}}]`,
			},
			{"tasks delete-queue post default", `[{"queue":"post","deleted":0},{"queue":"default","deleted":0}]`},
			{"tasks periodic pause hourly daily", `[{"name":"hourly","outcome":"paused"},{"name":"daily","outcome":"paused"}]`},
		} {
			require.JSONEq(c, x.want, c.run(append(strings.Fields(x.args), "-o", "json")...), x.args)
		}
		var ran []struct {
			Name string `json:"name"`
			ID   string `json:"id"`
		}
		c.read(&ran, "tasks", "periodic", "run", "hourly", "daily")
		require.Len(c, ran, 2)
		require.Equal(c, "daily", ran[1].Name)
		require.NotEmpty(c, ran[1].ID)

		for _, verb := range []string{"pause", "limit --reset", "delete-queue", "periodic resume", "periodic run"} {
			r := stellar(c.T, c.at.env, append([]string{"tasks", "-o", "json"}, strings.Fields(verb+" nope nada")...)...)
			require.Equal(c, 1, r.code, verb)
			var failed []struct {
				Queue string `json:"queue"`
				Name  string `json:"name"`
				Error string `json:"error"`
			}
			require.NoError(c, json.Unmarshal([]byte(r.out), &failed), "%s: %s", verb, r.out)
			require.Len(c, failed, 2, verb)
			require.Equal(c, "nope", failed[0].Queue+failed[0].Name)
			require.Contains(c, failed[1].Error, "nada")
		}
		c.refused(2, "stellar: limit: use --reset, or flags that set limits, not both\n", "tasks", "limit", "default", "post", "--tasks", "1", "--reset")
	})
	r := stellar(t, home(t), "tasks", "pause", "a", "b")
	require.Equal(t, 1, strings.Count(r.err, "no running set found"), r.err)
	require.Equal(t, "stellar: limit: use --reset, or flags that set limits, not both\n", stellar(t, home(t), "tasks", "limit", "a", "b", "--tasks", "1", "--reset").err)
}

func TestBadInputForTasksIsExplained(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		says string
		args []string
	}{
		"unknown command":          {"use stats, list", []string{"tasks", "frob"}},
		"unknown periodic command": {"use list, set", []string{"tasks", "periodic", "frob"}},
		"unknown state":            {`"lost": use pending, parked, delayed, blocked, active, done, dead, cancelled`, []string{"tasks", "list", "--state", "lost"}},
		"state misspelt":           {`--state: "deadd": did you mean dead? There is pending, `, []string{"tasks", "list", "--state", "deadd"}},
		"state that does not fit":  {"use dead, cancelled", []string{"tasks", "retry", "--state", "active"}},
		"no time":                  {"such as 2027-01-31T08:00:00Z nor how long ago, such as 90m", []string{"tasks", "list", "--since", "yesterday"}},
		"negative limit":           {"negative", []string{"tasks", "list", "--limit", "-1"}},
		"nothing selected":         {"--all for all", []string{"tasks", "cancel"}},
		"a limit alone":            {"--all for all", []string{"tasks", "delete", "--limit", "5"}},
		"ids and flags":            {"not both", []string{"tasks", "delete", "a", "--queue", "b"}},
		"no id":                    {"ID is missing", []string{"tasks", "show"}},
		"when":                     {"one of --in, --at and --now", []string{"tasks", "reschedule", "a"}},
		"when at all":              {"2027-01-31T08:00:00Z", []string{"tasks", "reschedule", "a", "--at", "noon"}},
		"queue":                    {"letters, digits", []string{"tasks", "pause", "a b"}},
		"a burst of no rate":       {"--burst: there is no rate with --rate 0", []string{"tasks", "limit", "a", "--burst", "3", "--rate", "0"}},
		"a burst below nothing":    {"--group-burst: -1 is negative", []string{"tasks", "limit", "a", "--group-burst", "-1"}},
		"a rate of sorts":          {"such as 100/1s", []string{"tasks", "limit", "a", "--rate", "often"}},
		"strict and more":          {"leave --per-group out", []string{"tasks", "limit", "a", "--strict", "--per-group", "2"}},
		"an empty group":           {"--group: it is empty", []string{"tasks", "list", "--group", ""}},
		"limit of sorts":           {"64KiB", []string{"tasks", "limit", "a", "--bytes", "lots"}},
		"limit below nothing":      {"0 is none", []string{"tasks", "limit", "a", "--concurrency", "-1"}},
		"limit and reset":          {"use --reset, or flags", []string{"tasks", "limit", "a", "--tasks", "1", "--reset"}},
		"priority":                 {"--priority \"urgent\": use high, normal, low", []string{"enqueue", "a", "--priority", "urgent"}},
		"priority misspelt":        {`--priority "hihg": did you mean high? There is high, normal, low`, []string{"enqueue", "a", "--priority", "hihg"}},
		"deadline":                 {"how long from now, such as 90m", []string{"enqueue", "a", "--deadline", "soon"}},
		"after":                    {"--after", []string{"enqueue", "a", "--after", "a b"}},
		"meta":                     {"--meta: invalid meta: key \"Tenant\"", []string{"enqueue", "a", "--meta", "Tenant=x"}},
		"meta without a value":     {"write it as KEY=VALUE", []string{"enqueue", "a", "--meta", "tenant"}},
		"unique for":               {"--unique", []string{"enqueue", "a", "--unique-for", "1h"}},
		"negative time":            {"--backoff: -1s is negative", []string{"enqueue", "a", "--backoff", "-1s"}},
		"weight":                   {`"a=0": use a weight between 1 and 1000`, []string{"--queues", "a=0,b"}},
		"queue twice":              {`"a" is there twice`, []string{"--queues", "a=1,a"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// Redis would be there: what is wrong is told before anything is done.
			console{t, place{env: home(t)}}.refused(2, x.says, x.args...)
		})
	}
}

func reversed(all []string) []string {
	all = slices.Clone(all)
	slices.Reverse(all)
	return all
}
