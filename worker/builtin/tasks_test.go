package builtin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/builtin"
	"github.com/stellarfw/stellar/worker/tasks"
)

// mendApp has a task that says what it was given, one that fails, one that waits
// until it is cancelled, and a periodic one.
func mendApp() *worker.App {
	app := worker.NewApp()
	tasks.Handle(app, tasks.Definition{Name: "say", Retention: time.Minute}, func(ctx context.Context, in any) error {
		tasks.Tx(ctx).Result(in)
		return nil
	})
	tasks.Handle(app, tasks.Definition{Name: "fail", MaxAttempts: 1}, func(context.Context, any) error { return errors.New("no luck") })
	tasks.HandleResult(app, tasks.Definition{Name: "fast"}, func(_ context.Context, in any) (any, error) { return in, nil })
	tasks.Handle(app, tasks.Definition{Name: "hang"}, func(ctx context.Context, _ any) error { <-ctx.Done(); return ctx.Err() })
	tasks.Handle(app, tasks.Definition{Name: "ship", MaxAttempts: 1}, func(ctx context.Context, steps int) error {
		for i := range steps {
			name := "step " + strconv.Itoa(i)
			if steps > 100 {
				name += strings.Repeat("-", 150)
			}
			if _, err := tasks.Step(ctx, name, func(context.Context) (int, error) { return i, nil }); err != nil {
				return err
			}
		}
		return errors.New("no luck")
	})
	app.RegisterPeriodic(tasks.Periodic{Name: "hourly", Task: "say", Schedule: tasks.Every(time.Hour), Payload: "tick"})
	return app
}

// tasksCaller calls methods of the first node from the second.
type tasksCaller struct {
	*testing.T

	rpc *rpcregistry.Endpoint
}

func (c tasksCaller) try(method, args string) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(c.Context(), patient)
	defer cancel()
	r, err := c.rpc.DoCluster(ctx, "api.tasks."+method, json.RawMessage(args), rpcregistry.Node("stellar-worker-1"))
	return r.Value, err
}

func (c tasksCaller) call(method, args string) string {
	c.Helper()
	value, err := c.try(method, args)
	require.NoError(c, err, method)
	return string(value)
}

func (c tasksCaller) refused(code rpcregistry.Code, method, args string) {
	c.Helper()
	_, err := c.try(method, args)
	require.ErrorIs(c, err, code, method)
}

func (c tasksCaller) awaitState(id, state string) tasks.Task {
	c.Helper()
	var t tasks.Task
	require.Eventually(c, func() bool {
		return json.Unmarshal([]byte(c.call("get", `{"id":"`+id+`"}`)), &t) == nil && string(t.State) == state
	}, patient, 10*time.Millisecond, "%s is %s", id, state)
	return t
}

func withCaller(t *testing.T, scenario func(c tasksCaller)) {
	t.Helper()
	withSet(t, mendApp, func(t *testing.T, set *supervisortest.Set) {
		scenario(tasksCaller{t, set.Node("stellar-worker-2").API().RPC})
	})
}

func TestATaskThatIsAwaitedByCallIsFoundWhenItHasEnded(t *testing.T) {
	withCaller(t, func(c tasksCaller) {
		var receipt tasks.Receipt
		require.NoError(c, json.Unmarshal([]byte(c.call("enqueue", `{"name":"fast","payload":7,"await":true}`)), &receipt))
		c.awaitState(receipt.ID, "done")
		require.JSONEq(c, `{"done":true,"result":7}`, c.call("wait", `{"id":"`+receipt.ID+`"}`))
	})
}

func TestTasksAreEnqueuedAndMendedByCall(t *testing.T) {
	withCaller(t, func(c tasksCaller) {
		require.JSONEq(c, `{"id":"a","duplicate":false}`, c.call("enqueue", `["say", {"n":1}, "default", "a"]`), "by position, as before")
		require.JSONEq(c, `{"done":true,"result":{"n":1}}`, c.call("wait", `{"id":"a"}`))

		c.call("enqueue", `{"name":"say","id":"late","at":"2099-01-01T00:00:00Z","priority":"high","maxAttempts":3,"unique":"u",
			"deadline":4102444800000,"payload":"p"}`)
		require.JSONEq(c, `{"id":"late","duplicate":true}`, c.call("enqueue", `{"name":"say","unique":"u"}`))
		c.call("enqueue", `{"name":"say","id":"then","after":["late"],"wantResult":true,"priority":"low"}`)
		late := c.awaitState("late", "delayed")
		require.Equal(c, tasks.High, late.Priority)
		require.Equal(c, "u", late.Unique)
		require.Equal(c, "2099-01-01T00:00:00Z", late.Due.UTC().Format(time.RFC3339))
		require.Equal(c, "2100-01-01T00:00:00Z", late.Deadline.UTC().Format(time.RFC3339))
		require.Contains(c, c.call("explain", `["then"]`), "late is delayed")
		require.JSONEq(c, `{"done":false}`, c.call("wait", `{"id":"late","timeout":1}`))
		c.call("edit", `{"id":"late","payload":{"n":2},"priority":"low"}`)
		require.Equal(c, tasks.Low, c.awaitState("late", "delayed").Priority)
		c.refused(builtin.ErrNotFound, "edit", `{"id":"nope","payload":null}`)
		c.call("reschedule", `{"id":"late"}`)
		require.Contains(c, c.call("wait", `{"id":"then"}`), `"done":true`)

		c.call("enqueue", `{"name":"fail","id":"bad"}`)
		require.Equal(c, "failed: no luck", c.awaitState("bad", "dead").Reason.String())
		c.refused(builtin.ErrDead, "wait", `{"id":"bad"}`)
		require.Equal(c, "1", c.call("retryAll", `{"name":"fail"}`))
		require.Len(c, c.awaitState("bad", "dead").History, 3, "dead, retried, dead")
		c.call("delete", `{"id":"bad"}`)
		c.refused(builtin.ErrNotFound, "get", `{"id":"bad"}`)

		c.call("enqueue", `{"name":"hang","id":"busy"}`)
		c.awaitState("busy", "active")
		c.refused(builtin.ErrActive, "delete", `{"id":"busy"}`)
		c.refused(builtin.ErrState, "retry", `{"id":"busy"}`)
		c.refused(builtin.ErrActive, "rerun", `{"id":"busy"}`)
		require.JSONEq(c, `{"running":true}`, c.call("cancel", `{"id":"busy","by":"the test"}`))
		require.Equal(c, "the test", c.awaitState("busy", "cancelled").Reason.Error)
		c.refused(builtin.ErrCancelled, "wait", `{"id":"busy"}`)
		require.Equal(c, "1", c.call("deleteAll", `{"states":["cancelled"]}`))
	})
}

func TestStepsByCall(t *testing.T) {
	withCaller(t, func(c tasksCaller) {
		c.call("enqueue", `{"name":"ship","id":"one","payload":2}`)
		one := c.awaitState("one", "dead")
		require.Len(c, one.Steps, 2)
		require.Contains(c, c.call("get", `["one"]`), `"steps":[{"name":"step 0","endedAt":"`)
		require.Contains(c, c.call("explain", `["one"]`), `2 steps have ended, the last is \"step 1\"`)
		c.refused(rpcregistry.ErrBadArguments, "rerun", `{"id":"one","step":"step 2"}`)
		c.refused(builtin.ErrNotFound, "rerun", `{"id":"none"}`)
		c.call("rerun", `{"id":"one","step":"step 1"}`)
		require.Eventually(c, func() bool {
			again := c.awaitState("one", "dead")
			return len(again.Steps) == 2 && again.Steps[0] == one.Steps[0] && again.Steps[1] != one.Steps[1]
		}, patient, 10*time.Millisecond)
		c.call("rerun", `["one"]`)

		c.call("enqueue", fmt.Sprintf(`{"name":"ship","id":"all","payload":%d}`, tasks.MaxSteps))
		all := c.awaitState("all", "dead")
		require.Contains(c, all.Omitted, "steps", "they do not fit into an answer")
		require.Len(c, all.History, 21)
	})
}

func TestQueuesAndPeriodicTasksByCall(t *testing.T) {
	withCaller(t, func(c tasksCaller) {
		queue := func() tasks.Queue {
			var all []tasks.Queue
			require.NoError(c, json.Unmarshal([]byte(c.call("queues", `{"queue":"aside"}`)), &all))
			require.Len(c, all, 1)
			return all[0]
		}
		c.call("pauseQueue", `{"queue":"aside"}`)
		c.call("limitQueue", `{"queue":"aside","tasks":2}`)
		require.JSONEq(c, `{"concurrency":3,"tasks":2,"bytes":0}`, c.call("limitQueue", `{"queue":"aside","concurrency":3}`), "the other one stays")
		for range 2 {
			c.call("enqueue", `{"name":"say","queue":"aside"}`)
		}
		c.refused(builtin.ErrQueueFull, "enqueue", `{"name":"say","queue":"aside"}`)
		q := queue()
		require.True(c, q.Paused)
		require.EqualValues(c, 2, q.Pending)
		require.JSONEq(c, `{"concurrency":0,"tasks":0,"bytes":0}`, c.call("limitQueue", `{"queue":"aside","reset":true}`))
		for _, x := range []struct{ change, rate, burst string }{
			{`"rate":{"tasks":100,"perMs":1000}`, `{"tasks":100,"perMs":1000,"burst":10}`, ""},
			{`"burst":20`, `{"tasks":100,"perMs":1000,"burst":20}`, "of a rate that is set"},
			{`"rate":{"tasks":50,"perMs":1000}`, `{"tasks":50,"perMs":1000,"burst":20}`, "it was chosen, and stays"},
			{`"burst":0`, `{"tasks":50,"perMs":1000,"burst":5}`, "as many as come in 100 ms"},
			{`"rate":{"tasks":100,"perMs":1000}`, `{"tasks":100,"perMs":1000,"burst":10}`, "it was not chosen"},
			{`"rate":{"tasks":1,"perMs":1000,"burst":3}`, `{"tasks":1,"perMs":1000,"burst":3}`, ""},
			{`"rate":{"tasks":2,"perMs":1000},"burst":4`, `{"tasks":2,"perMs":1000,"burst":4}`, ""},
		} {
			for _, prefix := range []string{"", "group"} {
				change := x.change
				if prefix != "" {
					change = strings.NewReplacer(`"rate"`, `"groupRate"`, `,"burst":4`, `,"groupBurst":4`, `"burst":20`, `"groupBurst":20`, `"burst":0`, `"groupBurst":0`).Replace(change)
				}
				var limits struct {
					Rate      json.RawMessage `json:"rate"`
					GroupRate json.RawMessage `json:"groupRate"`
				}
				require.NoError(c, json.Unmarshal([]byte(c.call("limitQueue", `{"queue":"rated",`+change+`}`)), &limits))
				require.JSONEq(c, x.rate, map[bool]string{true: string(limits.GroupRate), false: string(limits.Rate)}[prefix != ""], "%s: %s", change, x.burst)
			}
		}
		require.JSONEq(c, `{"maxAttempts":2}`, c.call("queueDefaults", `{"queue":"aside","maxAttempts":2}`))
		require.JSONEq(c, `{"maxAttempts":2,"retentionMs":1000}`, c.call("queueDefaults", `{"queue":"aside","retentionMs":1000}`), "the other one stays")
		require.Equal(c, tasks.Defaults{MaxAttempts: 2, Retention: time.Second}, queue().Defaults)
		require.JSONEq(c, `{}`, c.call("queueDefaults", `{"queue":"aside","reset":true}`))
		c.call("resumeQueue", `{"queue":"aside"}`)
		require.False(c, queue().Paused)
		require.Equal(c, "1", c.call("cancelAll", `{"queue":"aside","limit":1}`))
		require.Equal(c, "1", c.call("deleteQueue", `{"queue":"aside"}`))

		require.Contains(c, c.call("periodic", `{}`), `"name":"hourly"`)
		require.NotContains(c, c.call("periodic", `{}`), `"last"`, "it has not run")
		c.call("pausePeriodic", `{"name":"hourly"}`)
		require.Contains(c, c.call("periodic", `{}`), `"paused":true`)
		c.call("resumePeriodic", `{"name":"hourly"}`)
		require.Contains(c, c.call("runPeriodic", `{"name":"hourly"}`), `"duplicate":false`)
		c.call("setPeriodic", `{"name":"nightly","task":"say","cron":"0 0 * * *","timezone":"Europe/Berlin","payload":{"n":1}}`)
		require.Contains(c, c.call("periodic", `{}`), `"schedule":"0 0 * * * Europe/Berlin","payload":{"n":1}`)
		require.JSONEq(c, `[]`, c.call("periodicHistory", `{"name":"nightly"}`))
		c.call("removePeriodic", `{"name":"nightly"}`)
		c.refused(builtin.ErrNotFound, "periodicHistory", `{"name":"nightly"}`)
		c.refused(builtin.ErrRegistered, "setPeriodic", `{"name":"hourly","task":"say","every":1000}`)
		c.refused(builtin.ErrNotFound, "runPeriodic", `{"name":"nope"}`)
		c.refused(builtin.ErrNotFound, "pausePeriodic", `{"name":"nope"}`)
	})
}

func TestArgumentsOfTaskCallsAreChecked(t *testing.T) {
	withCaller(t, func(c tasksCaller) {
		for method, args := range map[string][]string{
			"enqueue": {
				`{"name":"a b"}`, `{"name":"say","priority":"urgent"}`, `{"name":"say","in":-1}`, `{"name":"say","at":"tomorrow"}`,
				`{"name":"say","in":1,"at":1}`,
			},
			"list":          {`{"states":["lost"]}`, `{"limit":-1}`, `{"queue":"a b"}`},
			"cancelAll":     {`{}`, `{"limit":3}`},
			"deleteAll":     {`{}`},
			"retryAll":      {`{}`},
			"reschedule":    {`{"id":"a","in":1,"at":1}`},
			"edit":          {`{"id":"a"}`, `{"id":"a","priority":"urgent"}`, `{"id":"a","queue":"a b"}`},
			"queueDefaults": {`{"queue":"q"}`, `{"queue":"q","maxAttempts":-1}`, `{"queue":"q","retentionMs":1,"reset":true}`, `{"queue":"a b","timeoutMs":1}`, `{"queue":"q","retention":1}`},
			"setPeriodic": {
				`{"task":"say"}`, `{"task":"say","every":1000,"cron":"@daily"}`, `{"task":"say","every":1000,"timezone":"UTC"}`, `{"task":"say","every":1}`,
				`{"task":"say","cron":"@daily","timezone":"Nowhere/Here"}`, `{"task":"say","cron":"* *"}`, `{"task":"a b","cron":"@daily"}`,
			},
			"limitQueue": {`{"queue":"q"}`, `{"queue":"q","tasks":-1}`, `{"queue":"q","tasks":1,"reset":true}`, `{"queue":"a b","tasks":1}`, `{"queue":"q","burst":1}`, `{"queue":"q","groupBurst":1}`},
		} {
			for _, a := range args {
				c.refused(rpcregistry.ErrBadArguments, method, a)
			}
		}
	})
}

// A filter that is misspelt must not hit more than was meant.
func TestUnknownArgumentsOfTaskCallsAreRefused(t *testing.T) {
	withCaller(t, func(c tasksCaller) {
		c.call("enqueue", `{"name":"say","id":"late","in":3600000}`)
		for _, method := range []string{"cancelAll", "deleteAll", "retryAll", "list"} {
			_, err := c.try(method, `{"state":["dead"],"queue":"default"}`)
			require.ErrorIs(c, err, rpcregistry.ErrBadArguments, method)
			require.ErrorContains(c, err, `\"state\": it takes {states?: [string], queue?: string`, method)
		}
		c.refused(rpcregistry.ErrBadArguments, "cancelAll", `[{"state":["dead"],"all":true}]`)
		c.awaitState("late", "delayed")
		require.Equal(c, "1", c.call("cancelAll", `{"States":["delayed"],"By":"the test"}`), "letter case does not matter")
	})
}

func TestTasksAreExportedAndImportedByCall(t *testing.T) {
	withCaller(t, func(c tasksCaller) {
		c.call("pauseQueue", `{"queue":"aside"}`)
		for n := range 5 {
			c.call("enqueue", fmt.Sprintf(`{"name":"say","queue":"aside","id":"moved%d","payload":{"n":%d}}`, n, n))
		}
		var lines []json.RawMessage
		for cursor, n := "", 0; n == 0 || cursor != ""; n++ {
			var page tasks.ExportPage
			require.NoError(c, json.Unmarshal([]byte(c.call("export", fmt.Sprintf(`{"queue":"aside","limit":2,"cursor":%q}`, cursor))), &page))
			lines, cursor = append(lines, page.Lines...), page.Next
		}
		require.Len(c, lines, 5)
		c.call("delete", `{"id":"moved3"}`)
		lines = append(lines, json.RawMessage(`{"id":"bad"}`))
		args, err := json.Marshal(map[string]any{"lines": lines})
		require.NoError(c, err)
		var verdicts []tasks.Imported
		require.NoError(c, json.Unmarshal([]byte(c.call("import", string(args))), &verdicts))
		says := map[string]string{}
		for _, v := range verdicts {
			says[v.ID] = v.Verdict
		}
		require.Equal(c, map[string]string{
			"moved0": "existing", "moved1": "existing", "moved2": "existing", "moved3": "stored", "moved4": "existing", "bad": "refused",
		}, says)
		for _, args := range []string{`{}`, `{"lines":[]}`, `{"lines":[` + strings.Repeat("{},", 1000) + `{}]}`, `{"lines":{}}`} {
			c.refused(rpcregistry.ErrBadArguments, "import", args)
		}
		c.refused(rpcregistry.ErrBadArguments, "export", `{"cursor":"nonsense"}`)
		c.refused(rpcregistry.ErrBadArguments, "export", `{"states":["done"]}`)
		c.call("deleteQueue", `{"queue":"aside"}`)
	})
}

// Operators who change other settings of a queue at the same time overwrite nothing of each other's.
func TestNoChangeOfAQueuesSettingsIsLost(t *testing.T) {
	withCaller(t, func(c tasksCaller) {
		changes := []struct{ method, args string }{
			{"limitQueue", `{"queue":"shared","concurrency":2}`}, {"limitQueue", `{"queue":"shared","tasks":3}`},
			{"limitQueue", `{"queue":"shared","bytes":4000}`}, {"limitQueue", `{"queue":"shared","perGroup":5}`},
			{"limitQueue", `{"queue":"shared","rate":{"tasks":6,"perMs":1000,"burst":2}}`},
			{"queueDefaults", `{"queue":"shared","maxAttempts":7}`}, {"queueDefaults", `{"queue":"shared","timeoutMs":8}`},
			{"queueDefaults", `{"queue":"shared","retentionMs":9}`},
		}
		for range 5 {
			c.call("limitQueue", `{"queue":"shared","reset":true}`)
			c.call("queueDefaults", `{"queue":"shared","reset":true}`)
			var all sync.WaitGroup
			for _, change := range changes {
				all.Go(func() { c.call(change.method, change.args) })
			}
			all.Wait()
			var queues []tasks.Queue
			require.NoError(c, json.Unmarshal([]byte(c.call("queues", `{"queue":"shared"}`)), &queues))
			require.Equal(c, tasks.Limits{Concurrency: 2, Tasks: 3, Bytes: 4000, PerGroup: 5, Rate: tasks.Rate{Tasks: 6, Per: time.Second, Burst: 2}}, queues[0].Limits)
			require.Equal(c, tasks.Defaults{MaxAttempts: 7, Timeout: 8 * time.Millisecond, Retention: 9 * time.Millisecond}, queues[0].Defaults)
		}
	})
}

func TestNoBuiltInMethodIgnoresUnknownArguments(t *testing.T) {
	withCaller(t, func(c tasksCaller) {
		ask := func(method string, args any) (rpcregistry.Response, error) {
			ctx, cancel := context.WithTimeout(c.Context(), patient)
			defer cancel()
			return c.rpc.DoCluster(ctx, method, args, rpcregistry.Node("stellar-worker-1"))
		}
		r, err := ask("api.methods", nil)
		require.NoError(c, err)
		var all []rpcregistry.MethodInfo
		require.NoError(c, json.Unmarshal(r.Value, &all))
		require.Greater(c, len(all), 40)
		for _, m := range all {
			require.NotRegexp(c, `[:\[ ][A-Z]|^[A-Z]|…`, m.Arguments+" "+m.Result, "%s names a type of Go", m.Name)
			_, err := ask(m.Name, map[string]int{"frob": 1})
			require.ErrorIs(c, err, rpcregistry.ErrBadArguments, m.Name)
			require.ErrorContains(c, err, "frob", m.Name)
		}
	})
}

// A task may be far larger than a message of the bus.
func TestLargeTasksAreListedByCall(t *testing.T) {
	withSet(t, mendApp, func(t *testing.T, set *supervisortest.Set) {
		ctx, c := t.Context(), tasksCaller{t, set.Node("stellar-worker-2").API().RPC}
		news := []tasks.Request{{Name: "say", Payload: strings.Repeat("<", redisbus.MaxMessage), Options: tasks.Options{ID: "large", In: time.Hour}}}
		for range 200 {
			news = append(news, tasks.Request{Name: "say", Payload: strings.Repeat("<", 1000), Options: tasks.Options{In: 2 * time.Hour}})
		}
		_, err := set.Node("stellar-worker-1").API().Tasks.EnqueueMany(ctx, news)
		require.NoError(t, err)
		large := c.awaitState("large", "delayed")
		require.Empty(t, large.Payload)
		require.Equal(t, []string{"payload"}, large.Omitted)

		var got builtin.TaskList
		require.NoError(t, json.Unmarshal([]byte(c.call("list", `{"states":["delayed"],"limit":1000}`)), &got))
		require.Equal(t, "large", got.Tasks[0].ID)
		require.Equal(t, []string{"payload"}, got.Tasks[0].Omitted)
		require.Len(t, got.Tasks[1].Payload, 6002, "as it is stored")
		require.True(t, got.More, "not all fit: %d did", len(got.Tasks))
		require.NoError(t, json.Unmarshal([]byte(c.call("list", `{"name":"say","limit":3}`)), &got))
		require.Len(t, got.Tasks, 3)
		require.True(t, got.More)
	})
}

func TestTaskCallsCanBeDenied(t *testing.T) {
	denying := func() *worker.App {
		app := mendApp()
		app.Deny("api.tasks.*All", "api.tasks.delete*")
		return app
	}
	withSet(t, denying, func(t *testing.T, set *supervisortest.Set) {
		c := tasksCaller{t, set.Node("stellar-worker-2").API().RPC}
		c.refused(rpcregistry.ErrDenied, "cancelAll", `{"all":true}`)
		c.refused(rpcregistry.ErrDenied, "deleteQueue", `{"queue":"default"}`)
		require.JSONEq(t, `{"tasks":[],"more":false}`, c.call("list", `{}`))
	})
}
