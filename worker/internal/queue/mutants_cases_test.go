package queue

import (
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
)

// mutantCases are what the model meets too seldom, or not at all.
var mutantCases = map[string]func(*machine){
	"large records come in several replies": func(m *machine) {
		m.join()
		var ids []string
		for range 4 {
			ids = append(ids, m.enqueueOne(1, draft{}))
		}
		for range 6 {
			ids = append(ids, m.enqueueOne(strings.Repeat("x", 400<<10), draft{}))
		}
		s := m.actors[0].session
		for _, want := range [][]string{ids[:7], ids[7:]} {
			got, _, err := s.Claim(m.ctx, Ask{Want: 10, AtOnce: 10})
			require.NoError(m.t, err)
			var came []string
			for _, c := range got {
				came = append(came, c.ID)
			}
			require.Equal(m.t, want, came)
		}
	},
	"a task deep in a line is shown": func(m *machine) {
		m.enqueueOne(1, draft{Mark: HighMark})
		var ids []string
		for range 16 {
			ids = append(ids, m.enqueueOne(1, draft{}), m.enqueueOne(1, draft{}))
			m.sleep(1)
		}
		for _, id := range ids {
			require.False(m.t, m.lookAt(id).About)
		}
	},
	"a task that came back is deep in a line": func(m *machine) {
		id := m.enqueueOne(1, draft{})
		m.ends(Dead, "1|0", `{"reason":"failed"}`)
		some := func() {
			for range 8 {
				m.enqueueOne(1, draft{})
				m.sleep(1)
			}
		}
		some()
		m.choose(map[string]int{"task": slices.Index(m.spec.ids(), id)}, m.retry)
		some()
		require.True(m.t, m.lookAt(id).About)
	},
	"a follower of the same id as one before": func(m *machine) {
		a, b := m.enqueueOne(1, draft{}), m.enqueueOne(1, draft{})
		m.enqueueOne(1, draft{ID: "c1", After: []string{a}})
		m.drop("c1")
		m.enqueueOne(1, draft{ID: "c1", After: []string{b}})
		m.drop(a)
		m.drop("c1")
		c := m.enqueueOne(1, draft{})
		m.enqueueOne(1, draft{ID: "c1", After: []string{b, c}})
		m.end(b)
		require.Equal(m.t, stateBlocked, m.spec.Tasks["c1"].State)
	},
	"the result of a deleted task": func(m *machine) {
		m.enqueueOne(1, draft{ID: "c1"})
		m.awaitAll()
		m.end("c1")
		m.drop("c1")
		m.enqueueOne(1, draft{ID: "c1"})
		m.sleep(70000)
		m.step(m.due)
	},
	"an awaited task that is cancelled by the script that stores it": func(m *machine) {
		id := m.enqueueOne(1, draft{})
		m.step(func() {
			m.run(cancelScript, `{"reason":"cancelled"}`, id)
			m.spec.cancel(m.spec.Tasks[id])
		})
		after := draft{Queue: "a", After: []string{id}}
		awaited := after
		awaited.Await = true
		m.step(func() { m.sendNew("p0", m.ready(after, awaited)) })
	},
	"definitions of programs that are gone": func(m *machine) {
		publish := func(ms int64, p *Publication) {
			m.sleep(ms)
			m.step(func() { m.publishAs(p) })
			m.step(m.learn)
		}
		day := 24 * time.Hour.Milliseconds()
		oldest := Publication{Definitions: map[string]Definition{"t": {Queue: "b"}}}
		older := Publication{Definitions: map[string]Definition{"t": {Queue: "a"}, "u": {Queue: "a"}}}
		newer := Publication{Definitions: map[string]Definition{"t": {Queue: "b"}}}
		publish(0, &oldest)
		publish(0, &older)
		publish(0, &newer)
		publish(0, &older)                                 // the newer one's counts
		publish(20000, &oldest)                            // and anybody may repeat it
		publish(-10000, &older)                            // also when the clock goes back
		publish(definitionPatience.Milliseconds(), &older) // until nobody does
		publish(1, &newer)                                 // who was only away
		publish(29*day, &newer)                            // but nobody repeats u
		m.draw = func(string, int) int { return 1 }        // who learned before goes on from there
		publish(day, &Publication{Definitions: newer.Definitions})
		m.draw = func(string, int) int { return 0 }
		m.sleep(30 * day)
		m.step(m.learn)
		publish(0, &Publication{Definitions: map[string]Definition{"t": {Queue: "a"}}})
	},
	"meta stays through retry, take-over and death": func(m *machine) {
		meta := map[string]string{"tenant": "acme"}
		id := m.enqueueOne(1, draft{Meta: meta, Unique: "k", In: time.Second})
		runs := func() {
			m.sleep(1000)
			m.step(m.due)
			m.takeAll()
			a := m.actors[len(m.actors)-1]
			require.Equal(m.t, Options{Meta: meta, Unique: "k", In: 1000}, a.hand[id].Record.Options)
			m.step(func() {
				m.setLease(a.name, -m.spec.Now)
				m.takeOverOf(a, Remains{Unknown: true})
			})
		}
		runs()
		m.ends(Later, 1, "1|1", `{}`)
		runs()
		m.ends(Dead, "2|2", `{"reason":"failed"}`)
		m.draw = func(string, int) int { return 0 }
		m.step(m.retry)
		runs()
	},
	"a long history": func(m *machine) {
		id := m.enqueueOne(1, draft{})
		past := func(reason string) string {
			for range 30 {
				m.run(cancelScript, `{"reason":"`+reason+`"}`, id)
				m.run(retryScript, id)
			}
			text, err := m.redis.HGet(m.ctx, m.keys.History(), id).Result()
			require.NoError(m.t, err)
			return text
		}
		require.Equal(m.t, 20, strings.Count(past("cancelled"), "\n"))
		long := past(strings.Repeat("x", 1000))
		require.InDelta(m.t, 7500, len(long), 700)
		require.Contains(m.t, long[len(long)-30:], "retried")
	},
	"what is left of one that failed before it was done": func(m *machine) {
		m.enqueueOne(1, draft{})
		m.ends("later", 1, "1|0", `{}`)
		m.sleep(10)
		m.step(m.due)
		m.ends(Done)
	},
	"a task handed back goes first": func(m *machine) {
		first := m.enqueueOne(1, draft{})
		m.step(m.join)
		a := m.actors[0]
		m.enqueueOne(1, draft{})
		m.step(func() { m.claimAs(a, a.session, 1) })
		m.step(func() {
			r, _ := ParseRecord(m.spec.Tasks[first].Record)
			m.commitAs(a, a.session, []*Run{m.outcome(Claimed{ID: first, Record: r}, func(o *Run) { o.outcome.verb = "back" })})
		})
		got, _, err := a.session.Claim(m.ctx, Ask{Want: 1, AtOnce: 1})
		require.NoError(m.t, err)
		require.Equal(m.t, first, got[0].ID)
	},
	"the first effect is refused": func(m *machine) {
		m.enqueueOne(1, draft{})
		m.takeAll()
		m.step(func() {
			m.commitSome(func(o *Run) {
				m.draw = func(string, int) int { return 0 } // refused, and before the other
				o.outcome.verb, o.outcome.args = Done, []any{"", "", ""}
				m.effects(o)
			})
		})
		require.Zero(m.t, m.spec.Effects)
	},
	"done, although it was to be cancelled": func(m *machine) {
		id := m.enqueueOne(1, draft{})
		m.takeAll()
		m.step(func() {
			m.run(cancelScript, `{"reason":"cancelled"}`, id)
			m.spec.Tasks[id].Asked = true
		})
		m.step(func() { m.commitSome(func(o *Run) { o.outcome.verb, o.outcome.args = Done, []any{5000, 5000, "1"} }) })
		require.Equal(m.t, stateDone, m.spec.Tasks[id].State)
	},
	"failed or snoozed, after it was to be cancelled": func(m *machine) {
		for verb, args := range map[Verb][]any{Later: {1, "1|0", `{}`}, Snooze: {1, "0|0"}} {
			id := m.enqueueOne(1, draft{})
			m.takeAll()
			m.step(func() {
				m.run(cancelScript, `{"reason":"cancelled"}`, id)
				m.spec.Tasks[id].Asked = true
			})
			m.step(func() { m.commitSome(func(o *Run) { o.outcome.verb, o.outcome.args = verb, args }) })
			require.Equal(m.t, stateCancelled, m.spec.Tasks[id].State)
		}
	},
	"what follows a refused task": func(m *machine) {
		m.enqueueOne(1, draft{Unique: "k"})
		some := m.ready(draft{Queue: "a", Unique: "k", Then: []draft{{Queue: "a"}}})
		m.step(func() { m.sendNew("p0", some) })
		require.Len(m.t, m.spec.Tasks, 1)
	},
	"a dead task that is retried, and then forgotten": func(m *machine) {
		id := m.enqueueOne(1, draft{})
		m.enqueueOne(1, draft{After: []string{id}})
		m.ends(Dead, "1|0", `{"reason":"failed"}`)
		m.draw = func(what string, _ int) int {
			if what == "task" {
				return slices.Index(m.spec.ids(), id)
			}
			return 0
		}
		m.step(m.retry)
		m.ends(Dead, "1|0", `{"reason":"failed"}`)
		m.step(func() { m.dueOf(9, 0) })
		require.Empty(m.t, m.spec.Tasks, "who follows goes with it")
	},
	"an id that is forgotten before its record": func(m *machine) {
		m.enqueueOne(1, draft{ID: "c1"})
		m.ends(Done, 14000, 5000, "1")
		m.sleep(1)
		m.enqueueOne(1, draft{ID: "c2"})
		m.ends(Done, 9000, 5000, "1")
		m.ageAll()
		m.sleep(10000)
		m.step(func() { m.dueOf(1, 9) })
	},
	"a task that follows one that is done, and kept, need not wait": func(m *machine) {
		m.enqueueOne(1, draft{ID: "c1"})
		m.ends(Done, 60000, 60000, "1")
		m.enqueueOne(2, draft{After: []string{"c1"}})
		require.Len(m.t, m.spec.Lines["a"], 1)
	},
	"an id that is free again has left nothing": func(m *machine) {
		for _, id := range []string{"c1", "c2", "c3"} {
			m.enqueueOne(1, draft{ID: id})
		}
		m.ends(Done, 9000, 5000, "1")
		m.enqueueOne(1, draft{})
		m.ends(Done, 5000, 5000, "1")
		m.ageAll()
		m.sleep(5100)
		m.step(func() { m.dueOf(1, 9) })
		m.step(func() { m.dueOf(9, 9) })
		require.Len(m.t, m.spec.Tasks, 3)
	},
	"a unique key that outlives its task is awaited": func(m *machine) {
		m.enqueueOne(1, draft{Unique: "k", UniqueFor: time.Hour})
		m.ends(Done)
		m.enqueueOne(1, draft{Unique: "k", Await: true})
		require.Empty(m.t, m.spec.Tasks)
	},
	"a unique key that somebody else has by now": func(m *machine) {
		m.enqueueOne(1, draft{Unique: "k", UniqueFor: time.Second})
		m.takeAll()
		m.sleep(1000)
		m.enqueueOne(1, draft{Unique: "k"})
		m.step(func() { m.commitSome(func(o *Run) { o.outcome.verb = Done }) })
		require.Contains(m.t, m.spec.Unique, "k")
	},
	"what follows goes to its time and its queue": func(m *machine) {
		first := m.enqueueOne(1, draft{Queue: "b"})
		at := m.enqueueOne(1, draft{After: []string{first}, At: m.spec.now().Add(time.Hour)})
		in := m.enqueueOne(1, draft{After: []string{first}, In: time.Hour})
		m.step(m.clear) // of queue b: cancels both
		m.step(func() {
			require.Equal(m.t, stateCancelled, m.spec.Tasks[at].State)
			require.Equal(m.t, stateCancelled, m.spec.Tasks[in].State)
		})
		first = m.enqueueOne(1, draft{Queue: "b"})
		at = m.enqueueOne(1, draft{After: []string{first}, At: m.spec.now().Add(time.Hour)})
		m.draw = func(string, int) int { return 0 }
		m.step(m.clear) // of queue a: who waits stays
		require.NotContains(m.t, m.spec.Queues, "a")
		m.ends(Done)
		require.Equal(m.t, stateDelayed, m.spec.Tasks[at].State)
	},
	"an id that is remembered alone": func(m *machine) {
		m.enqueueOne(1, draft{ID: "c1"})
		m.ends(Done, 9000, "", "")
		m.enqueueOne(1, draft{ID: "c1"})
		require.Equal(m.t, stateDone, m.spec.Tasks["c1"].State)
	},
	"a delay begins when the task may run": func(m *machine) {
		first := m.enqueueOne(1, draft{})
		in := m.enqueueOne(1, draft{After: []string{first}, In: time.Hour})
		m.end(first)
		require.Equal(m.t, stateDelayed, m.spec.Tasks[in].State)
	},
	"a late copy after batches that crossed": func(m *machine) {
		for range 3 {
			m.newBatch("p0")
		}
		for _, sent := range []struct {
			number int
			open   []int
		}{{1, nil}, {3, []int{2}}, {2, []int{1}}, {1, nil}, {2, nil}, {3, nil}} {
			m.step(func() { m.send("p0", sent.number, sent.open, false) })
		}
		require.Len(m.t, m.spec.Tasks, 3)
	},
	"a batch behind one that has not come": func(m *machine) {
		for range 3 {
			m.newBatch("p0")
		}
		m.step(func() { m.send("p0", 3, []int{1, 2}, false) })
		m.step(func() { m.send("p0", 2, []int{1}, true) })
		require.Len(m.t, m.spec.Tasks, 1)
		m.step(func() { m.send("p0", 1, nil, false) })
		m.step(func() { m.send("p0", 2, []int{1}, true) })
		require.Len(m.t, m.spec.Tasks, 3)
	},
	"done with a result that nobody waits for": func(m *machine) {
		m.enqueueOne(1, draft{})
		m.ends("later", 1, "1|0", `{}`)
		m.sleep(10)
		m.step(m.due)
		m.ends(Done, "", "", "2")
	},
	"a paused periodic task": func(m *machine) {
		m.step(m.tick) // notes it, and pauses it at times
		m.draw = func(what string, _ int) int { return map[string]int{"tick": 2, "verb": 1, "paused": 1}[what] }
		m.step(m.tick)
		m.sleep(5000)
		m.step(m.tick)
		require.Empty(m.t, m.spec.Tasks)
	},
}
