package queue

import (
	"strconv"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// clockCases are cases as mutantCases, of Redis's clock and of deadlines.
var clockCases = map[string]func(*machine){
	"ticks on a clock that was ahead": func(m *machine) {
		start := m.spec.Now
		tick := func(at int64) { m.step(func() { m.tickAs("p", "a", at, TickRun) }) }
		goTo := func(at int64) { m.sleep(at - m.spec.Now) }
		tick(start) // it is known from now on
		soon, died, late := start+100_000, start+200_000, start+300_000
		goTo(late)
		tick(soon)
		m.ends(Done, "9000@"+strconv.FormatInt(soon, 10), "", "")
		tick(died)
		m.ends(Dead, "1|0", `{"reason":"failed"}`)
		tick(late)
		m.takeAll()
		goTo(start + 1000)
		tick(soon) // puts the last tick back
		m.step(func() {
			m.commitSome(func(o *Run) {
				o.outcome.verb, o.outcome.args = Done, []any{"9000@" + strconv.FormatInt(late, 10), "", ""}
			})
		})
		m.step(func() { m.dueOf(9, 0) })
		for _, again := range []int64{soon, died, late} {
			goTo(again)
			m.step(func() { m.dueOf(9, 0) })
			tick(again)
			require.Empty(m.t, m.spec.Lines["a"])
		}
	},
	"a tick while that before it is parked": func(m *machine) {
		tick := func() { m.sleep(1000); m.step(func() { m.tickAs("p", "a", m.spec.Now, TickRun) }) }
		tick() // it is known from now on
		tick()
		m.ends(Park, "t")
		tick()
		require.Empty(m.t, m.spec.Lines["a"], "left out")
		m.step(func() { m.pausePeriodic("p", "1") })
		tick()
		m.step(func() { m.pausePeriodic("p", "") })
		tick()
		require.Empty(m.t, m.spec.Lines["a"], "also after a pause")
	},
	"ticks that stood pending are parked": func(m *machine) {
		tick := func(name string) { m.step(func() { m.tickAs(name, "a", m.spec.Now, TickRun) }) }
		both := func() { m.sleep(1000); tick("p"); tick("q") }
		for range 4 {
			both() // known at the first
		}
		m.ends(Park, "t")
		require.Len(m.t, m.spec.Parked["a|t"], 2, "one of each")
		m.takeAll() // learns of them
		m.step(m.claim)
		require.Empty(m.t, m.spec.Parked["a|t"])
		both()
		m.ends(Park, "t") // those that were claimed last, too
		both()
		require.Empty(m.t, m.spec.Lines["a"], "left out")
		require.Len(m.t, m.spec.Parked["a|t"], 2)
		both()
		m.draw = func(string, int) int { return 0 }
		m.step(m.clear)
		both()
		require.Len(m.t, m.spec.Lines["a"], 2)
		m.ends(Park, "t")
		m.step(func() {
			id := m.spec.parkedTick("p", "a|t")
			m.run(cancelScript, `{"reason":"cancelled"}`, id)
			m.spec.cancel(m.spec.Tasks[id])
		})
		both()
		require.Len(m.t, m.spec.Lines["a"], 1, "of the one that was cancelled")
		m.step(m.clear)
	},
	"a pending tick is cleared while another is parked": func(m *machine) {
		for range 3 { // known at the first
			m.sleep(1000)
			m.step(func() { m.tickAs("p", "a", m.spec.Now, TickRun) })
		}
		m.takeAll()
		a := m.actors[len(m.actors)-1]
		m.step(func() {
			ids := m.owned(a.name)
			m.commitAs(a, a.session, []*Run{
				m.outcome(a.hand[ids[0]], func(o *Run) { o.outcome.verb, o.outcome.args = Park, []any{"t"} }),
				m.outcome(a.hand[ids[1]], func(o *Run) { o.outcome.verb = Back }),
			})
		})
		m.step(func() {
			m.spec.drop(m.spec.Tasks[m.spec.Lines["a"][0]], "deleted")
			_, err := m.store.call(m.ctx, clearScript, "a", 1)
			require.NoError(m.t, err)
		})
		require.Len(m.t, m.spec.Parked["a|t"], 1)
	},
	"a pause of a periodic task that nobody noted": func(m *machine) {
		pause := func(mark string) { m.step(func() { m.pausePeriodic("p", mark) }) }
		m.step(func() { m.tickAs("p", "a", m.spec.Now, TickFirst) })
		m.sleep(1000)
		pause("")
		pause("1")
		m.sleep(5000)
		pause("")
		m.step(func() { m.tickAs("p", "a", m.spec.Now-1000, TickRun) })
		require.Empty(m.t, m.spec.Tasks)
	},
	"a task goes back and keeps its deadline": func(m *machine) {
		deadline := m.spec.Now + 100_000
		for verb, args := range map[Verb][]any{Later: {1000, "1|0", `{}`}, Snooze: {1000, "0|0"}, Aside: {1000}, "back": nil, Park: {"t"}} {
			m.enqueueOne(1, draft{Deadline: deadline})
			m.ends(verb, args...)
		}
	},
	"a task that is cancelled as it goes back has no deadline": func(m *machine) {
		id := m.enqueueOne(1, draft{Deadline: m.spec.Now + 100_000})
		m.takeAll()
		m.step(func() {
			m.run(cancelScript, `{"reason":"cancelled"}`, id)
			m.spec.Tasks[id].Asked = true
		})
		a := m.actors[len(m.actors)-1]
		m.step(func() {
			o := m.outcome(a.hand[id], func(o *Run) { o.outcome.verb, o.outcome.args = Later, []any{1000, "1|0", "{}"} })
			m.commitAs(a, a.session, []*Run{o})
		})
	},
	"a task that is taken over keeps its deadline": func(m *machine) {
		a := m.worker()
		m.enqueueOne(1, draft{Deadline: m.spec.Now + 100_000})
		m.take(a, 1)
		m.step(func() { m.setLease(a.name, -m.spec.Now); m.takeOverOf(a, Remains{}) })
	},
	"a dead task has no deadline": func(m *machine) {
		m.enqueueOne(1, draft{Deadline: m.spec.Now + 100_000})
		m.ends(Dead, "1|0", `{"reason":"failed"}`)
	},
	"a deadline that the node of an older version left": func(m *machine) {
		id := m.enqueueOne(1, draft{Deadline: m.spec.Now + 1000})
		m.takeAll()
		m.sleep(2000)
		require.NoError(m.t, m.redis.ZAdd(m.ctx, m.keys.Deadlines(), redis.Z{Score: float64(m.spec.Now - 1000), Member: id}).Err())
		m.step(func() { m.dueOf(9, 9) })
		require.Equal(m.t, stateActive, m.spec.Tasks[id].State)
	},
	"a follow-up task with a deadline that is cancelled at once": func(m *machine) {
		m.enqueueOne(1, draft{})
		other := m.enqueueOne(1, draft{})
		m.takeAll()
		m.step(func() {
			m.run(cancelScript, `{"reason":"cancelled"}`, other)
			m.spec.Tasks[other].Asked = true
		})
		m.step(func() {
			m.commitSome(func(o *Run) {
				if o.outcome.verb, o.outcome.args = Later, []any{1, "1|0", `{}`}; o.ID != other {
					follow := m.ready(draft{Queue: "a", After: []string{other}, Deadline: m.spec.Now + 1000})[0]
					o.outcome.verb, o.outcome.args = Done, []any{"", "", ""}
					o.outcome.effects = []Effect{EnqueueEffect(follow)}
				}
			})
		})
		require.Len(m.t, m.spec.Tasks, 2)
	},
	"only the first deadline of the next 5 s is told": func(m *machine) {
		sub := m.redis.Subscribe(m.ctx, m.keys.Due())
		defer sub.Close()
		_, err := sub.Receive(m.ctx)
		require.NoError(m.t, err)
		for _, ms := range []int64{9000, 4000, 4500, 2000} {
			m.enqueueOne(1, draft{Deadline: m.spec.Now + ms})
		}
		require.NoError(m.t, m.redis.Publish(m.ctx, m.keys.Due(), "end").Err())
		for _, want := range []string{strconv.FormatInt(m.spec.Now+4000, 10), strconv.FormatInt(m.spec.Now+2000, 10), "end"} {
			told, err := sub.ReceiveMessage(m.ctx)
			require.NoError(m.t, err)
			require.Equal(m.t, want, told.Payload)
		}
	},
}
