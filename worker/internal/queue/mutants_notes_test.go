package queue

import (
	"slices"

	"github.com/stretchr/testify/require"
)

// Mistakes in what notes steps, and in what forgets them.
var stepMutants = []mutant{
	{"step", "if tonumber(redis.call('ZSCORE', key('leases'), incarnation) or 0) <= 0 then return {'FENCED'} end", ""},
	{"step", "if not claim or string.match(claim, '^%d+') ~= ARGV[3] then", "if not claim then"},
	{"step", "if run == this and tonumber(number) >= tonumber(ARGV[4]) then", "if false then"},
	{"step", "if run == this and tonumber(number) >= tonumber(ARGV[4]) then", "if run == this and tonumber(number) == tonumber(ARGV[4]) then"},
	{"step", "if run == this and tonumber(number) >= tonumber(ARGV[4]) then", "if run and tonumber(number) >= tonumber(ARGV[4]) then"},
	{"step", "kind == 'sleep' and sleep_of(before) or ''}", "''}"},
	{"step", "  apply_effects(10, effects, 0, code)\n", ""},
	{"step", "local code = effects_refused(10, effects)", "local code"},
	{"step", "meta = ARGV[7] .. '|' .. int(at)", "meta = '1|' .. int(at)"},
	{"step", ", '#', this .. '|' .. ARGV[4])", ")"},
	{"step", "if kind ~= 'sleep' then redis.call('HSET', key(values), field, value) end\n", ""},
	{"step", "if kind ~= 'sleep' then redis.call", "if true then redis.call"},
	{"step", "outweigh(queue, id, more + bytes_of(field, meta))\n", ""},
	{"step", "-(before and bytes_of(field, before) or 0)", "0"},
	{"step", "if kind ~= 'checkpoint' or tonumber(ARGV[4]) > 1 then", "if kind ~= 'checkpoint' then"},
	{"step", "if kind ~= 'checkpoint' or tonumber(ARGV[4]) > 1 then", "if tonumber(ARGV[4]) > 1 then"},
	{"step", "if kind ~= 'checkpoint' or tonumber(ARGV[4]) > 1 then", "if true then"},
	{"step", "attempts .. '|0')", "'0|0')"},
	{"step", "apply_effects(10, effects, at)\n", ""},
	{"step", "flush()\n", ""},
	{"stepping", "#field + #meta + ", "#field + "},
	{"stepping", " + tonumber(string.match(meta, '^%d+|%d+|(%d+)$') or 0)", ""},
	{"stepping", "redis.call('HSET', key('steps'), id, int(counted('steps', id) + more))", ""},
	{"stepping", "    count('bytes', queue, more)\n", ""},
	{"stepping", "redis.call('HEXISTS', key('weighing'), queue) == 0 or ", ""},
	{"stepping", " or redis.call('SISMEMBER', key('weighed:' .. queue), id) == 1 then", " then"},
	{"stepping", "redis.call('HEXISTS', key('weighing'), queue) == 0 or redis.call('SISMEMBER', key('weighed:' .. queue), id) == 1 then", "true then"},
	{"stepping", "if step.place >= place then", "if step.place > place then"},
	{"stepping", "if step.place >= place then", "if step.place == place then"},
	{"stepping", "      redis.call('HDEL', key('stepped:' .. id), step.field)\n", ""},
	{"stepping", "  if less > 0 then outweigh(queue, id, -less) end\n", ""},
	{"stepping", "if left == 0 then unstep({id}) end", ""},
	{"stepping", "if left == 0 then unstep({id}) end", "unstep({id})"},
	{"stepping", "step.field ~= '=' and (not last", "(not last"},
	{"stepping", "step.place > last.place", "step.place < last.place"},
	{"stepping", "tonumber(sleep_of(last.meta) or 0) > at", "sleep_of(last.meta)"},
	{"reschedule", "if field then", "if false then"},
	{"reschedule", "int(math.max(due, at))", "int(due)"},
	{"rerun", "if retained(record) or redis.call('ZSCORE', key('done'), id) then return {'OK', 'already done'} end", ""},
	{"rerun", "if redis.call('HEXISTS', key('owned:' .. incarnation), id) == 1 then return {'OK', 'active'} end", ""},
	{"rerun", "if not from then return {'OK', 'unknown'} end", "from = from or 0"},
	{"rerun", "name == '' and 0 or nil", "nil"},
	{"rerun", "local word = revive(id, at)", "local word"},
	{"rerun", "if word == 'taken' then return {'OK', word} end", ""},
	{"rerun", "forget_steps(queue, id, from)\n", ""},
	{"stepping", "      if i > #steps - 8 then note_step(id, step) end\n", ""},
	{"stepping", "sleep_of(step.meta) and 'sleep' or 'step'", "'step'"},
	{"rerun", "redis.call('ZREM', key('delayed:' .. queue), id) == 1", "false"},
	{"rerun", "  touched[queue] = true\n", ""},
	{"rerun", "flush()\n", ""},
	{"rerun", "note(id, at, 'rerun', '{\"step\":' .. cjson.encode(name) .. '}')\n", ""},
	{"show", "redis.call('HGETALL', key('steps:' .. id)) or {}", "{}"},
	{"commit", "  unstep(gone)\n", ""},
	{"commit", "  unstep({id})\n", ""},
	{"endings", "  unstep({id})\n", ""},
	{"ties", "redis.call('UNLINK', key('steps:' .. id), key('stepped:' .. id))", "redis.call('UNLINK', key('stepped:' .. id))"},
	{"ties", "redis.call('UNLINK', key('steps:' .. id), key('stepped:' .. id))", "redis.call('UNLINK', key('steps:' .. id))"},
	{"moving", " + counted('steps', id)", ""},
	{"weigh", ", key('steps')) > 0", ") > 0"},
}

// noter is a worker that has one task in hand.
func (m *machine) noter() (a *actor, id string) {
	a = m.worker()
	id = m.enqueueOne(1, draft{})
	m.take(a, 1)
	return a, id
}

// noteOne notes something of a task that was claimed like that, with an effect.
func (m *machine) noteOne(a *actor, c Claimed, n Note) {
	m.step(func() {
		m.noteAs(a, c, n, []Effect{NewEffect("increment", m.cache.EntryKey("effects"), m.cache.LockKey("effects"), "", 1)})
	})
}

// again has the last note but back come once more.
func (m *machine) again(a *actor, back int) {
	m.step(func() { m.sendNote(a, a.notes[len(a.notes)-1-back]) })
}

// anotherRun has the task go back, and its node claim it again.
func (m *machine) anotherRun(a *actor, id string) {
	m.step(func() {
		m.commitAs(a, a.session, []*Run{m.outcome(a.hand[id], func(o *Run) { o.outcome.verb = Back })})
	})
	require.Equal(m.t, []string{id}, m.take(a, 1))
}

var (
	oneStep  = Note{StepNote, "one", 1, 7}
	twoStep  = Note{StepNote, "two", 2, 77}
	twoSleep = Note{SleepNote, "nap", 2, 5000}
)

// buried has the run of a task fail for the last time.
func (m *machine) buried(a *actor, id string) {
	m.step(func() {
		m.commitAs(a, a.session, []*Run{m.outcome(a.hand[id], func(o *Run) { o.outcome.verb, o.outcome.args = Dead, []any{"1|0", `{"reason":"failed"}`} })})
	})
}

// asleep is a task that sleeps in its second step.
func (m *machine) asleep() (id string) {
	a, id := m.noter()
	m.noteOne(a, a.hand[id], oneStep)
	m.noteOne(a, a.hand[id], twoSleep)
	m.step(func() {
		m.commitAs(a, a.session, []*Run{m.outcome(a.hand[id], func(o *Run) { o.outcome.verb, o.outcome.args = Snooze, []any{5000, "0|0"} })})
	})
	return id
}

// crashes has a task claimed again, by another node, after its node has crashed under it.
func (m *machine) crashes(a *actor, id string) *actor {
	m.step(func() { m.setLease(a.name, -m.spec.Now) })
	m.step(func() { m.takeOverOf(a, Remains{Suspects: []string{id}}) })
	m.step(m.join)
	b := m.actors[len(m.actors)-1]
	b.session.cfg.Queues = modelQueues
	require.Equal(m.t, []string{id}, m.take(b, 1))
	return b
}

// stepCases are notes of steps.
var stepCases = map[string]func(*machine){
	"a note of an earlier run of the same node": func(m *machine) {
		a, id := m.noter()
		before := a.hand[id]
		m.anotherRun(a, id)
		m.noteOne(a, before, oneStep)
	},
	"a sleep that is noted again": func(m *machine) {
		a, id := m.noter()
		m.noteOne(a, a.hand[id], Note{Kind: SleepNote, Name: "nap", Place: 1, Value: 5000})
		m.again(a, 0)
	},
	"a note that comes again": func(m *machine) {
		a, id := m.noter()
		m.noteOne(a, a.hand[id], oneStep)
		m.again(a, 0)
		m.lookAt(id)
	},
	"a note that comes again after the next": func(m *machine) {
		a, id := m.noter()
		m.noteOne(a, a.hand[id], oneStep)
		m.noteOne(a, a.hand[id], twoStep)
		m.again(a, 1)
	},
	"the first note of the next run": func(m *machine) {
		a, id := m.noter()
		m.noteOne(a, a.hand[id], oneStep)
		m.anotherRun(a, id)
		m.noteOne(a, a.hand[id], twoStep)
	},
	"a state in place of another": func(m *machine) {
		a, id := m.noter()
		m.noteOne(a, a.hand[id], Note{Kind: StateNote, Value: 1234567})
		m.noteOne(a, a.hand[id], Note{Kind: StateNote, Value: 1})
	},
	"a step of a task that counts": func(m *machine) {
		m.choose(map[string]int{"bytes": 3}, m.limit)
		a, id := m.noter()
		for range 3 {
			m.choose(map[string]int{"looks at": 2}, m.weigh)
		}
		require.Empty(m.t, m.spec.Weighing)
		m.noteOne(a, a.hand[id], oneStep)
	},
	"a step of a task that counts already, while its queue is weighed": func(m *machine) {
		m.choose(map[string]int{"bytes": 3}, m.limit)
		a, id := m.noter()
		require.NotEmpty(m.t, m.spec.Weighing)
		m.noteOne(a, a.hand[id], oneStep)
	},
	"a step of a task that does not count yet": func(m *machine) {
		a, id := m.noter()
		m.choose(map[string]int{"bytes": 3}, m.limit)
		m.noteOne(a, a.hand[id], oneStep)
	},
	"a task with steps is weighed": func(m *machine) {
		a, id := m.noter()
		m.noteOne(a, a.hand[id], oneStep)
		m.choose(map[string]int{"bytes": 3}, m.limit)
		for range 3 {
			m.choose(map[string]int{"looks at": 2}, m.weigh)
		}
		require.Empty(m.t, m.spec.Weighing)
	},
	"the steps of a task that is kept": func(m *machine) {
		a, id := m.noter()
		m.noteOne(a, a.hand[id], oneStep)
		m.step(func() {
			m.commitAs(a, a.session, []*Run{m.outcome(a.hand[id], func(o *Run) { o.outcome.verb, o.outcome.args = Done, []any{5000, 5000, "1"} })})
		})
	},
	"the steps of a task that is done and nothing more": func(m *machine) {
		a, id := m.noter()
		m.noteOne(a, a.hand[id], oneStep)
		m.step(func() { require.False(m.t, m.workAs(a, m.done(a.hand[id]), 1)) })
	},
	"the steps of a task that is deleted, dead": func(m *machine) {
		a, id := m.noter()
		m.noteOne(a, a.hand[id], oneStep)
		m.buried(a, id)
		m.drop(id)
	},
	"a sleep that is rescheduled": func(m *machine) {
		id := m.asleep()
		for _, ms := range []int{2000, 4000, 500} { // from a second ago on: sooner, later, at once
			m.choose(map[string]int{"task": slices.Index(m.spec.ids(), id), "ms": ms}, m.reschedule)
		}
		m.checkSteps(id)
	},
	"a sleep that is over, rescheduled": func(m *machine) {
		id := m.asleep()
		m.step(func() { m.sleep(7000) })
		m.choose(map[string]int{"task": slices.Index(m.spec.ids(), id), "ms": 2000}, m.reschedule)
	},
	"a step after a sleep, rescheduled": func(m *machine) {
		a, id := m.noter()
		m.noteOne(a, a.hand[id], Note{SleepNote, "nap", 1, 5000})
		m.noteOne(a, a.hand[id], twoStep)
		m.noteOne(a, a.hand[id], Note{Kind: StateNote, Place: 3, Value: 3})
		m.step(func() {
			m.commitAs(a, a.session, []*Run{m.outcome(a.hand[id], func(o *Run) { o.outcome.verb, o.outcome.args = Snooze, []any{5000, "0|0"} })})
		})
		m.choose(map[string]int{"task": slices.Index(m.spec.ids(), id), "ms": 2000}, m.reschedule)
	},
	"a note that is refused stores no body of its follow-up": func(m *machine) {
		a, id := m.noter()
		follow := m.ready(draft{Queue: "a", Large: true, Payload: "xxxxxxxxxxxxxxxx"})[0]
		refused := NewEffect("increment", m.cache.EntryKey("list"), m.cache.LockKey("list"), "", 1)
		m.step(func() { m.noteAs(a, a.hand[id], oneStep, []Effect{EnqueueEffect(follow), refused}) })
	},
	"a sleep with a state after it, rescheduled": func(m *machine) {
		a, id := m.noter()
		m.noteOne(a, a.hand[id], Note{SleepNote, "nap", 1, 5000})
		m.noteOne(a, a.hand[id], Note{Kind: StateNote, Place: 3, Value: 3})
		m.step(func() {
			m.commitAs(a, a.session, []*Run{m.outcome(a.hand[id], func(o *Run) { o.outcome.verb, o.outcome.args = Snooze, []any{5000, "0|0"} })})
		})
		m.choose(map[string]int{"task": slices.Index(m.spec.ids(), id), "ms": 2000}, m.reschedule)
	},
	"a rerun from the last step": func(m *machine) {
		id := m.asleep()
		m.worker() // idles, and is woken
		m.step(func() { m.rerunFrom(id, "nap") })
	},
	"a rerun from the first step": func(m *machine) {
		id := m.asleep()
		m.step(func() { m.rerunFrom(id, "other") })
		m.step(func() { m.rerunFrom(id, "one") })
	},
	"a rerun from the beginning": func(m *machine) {
		id := m.asleep()
		m.step(func() { m.rerunFrom(id, "") })
	},
	"a rerun keeps an older state, and forgets another": func(m *machine) {
		for _, place := range []int{0, 1, 2} {
			a, id := m.noter()
			m.noteOne(a, a.hand[id], Note{Kind: StateNote, Place: place, Value: 1})
			m.noteOne(a, a.hand[id], oneStep)
			m.noteOne(a, a.hand[id], twoStep)
			m.step(func() { m.rerunFrom(id, "two") }) // it runs
			m.buried(a, id)
			m.step(func() { m.rerunFrom(id, "two") })
			m.drop(id)
		}
	},
	"a rerun of a dead task whose unique key is taken": func(m *machine) {
		a := m.worker()
		id := m.enqueueOne(1, draft{Unique: "k0"})
		m.take(a, 1)
		m.noteOne(a, a.hand[id], oneStep)
		m.buried(a, id)
		other := m.enqueueOne(1, draft{Unique: "k0"})
		m.step(func() { m.rerunFrom(id, "one") })
		m.drop(other)
		m.step(func() { m.rerunFrom(id, "one") })
	},
	"a rerun of a task that is done": func(m *machine) {
		a, id := m.noter()
		m.step(func() {
			m.commitAs(a, a.session, []*Run{m.outcome(a.hand[id], func(o *Run) { o.outcome.verb, o.outcome.args = Done, []any{5000, 5000, "1"} })})
		})
		m.step(func() { m.rerunFrom(id, "") })
	},
	"a rerun in a queue with a bound on its bytes": func(m *machine) {
		m.choose(map[string]int{"bytes": 3}, m.limit)
		for range 3 {
			m.choose(map[string]int{"looks at": 2}, m.weigh)
		}
		id := m.asleep()
		m.step(func() { m.rerunFrom(id, "nap") })
	},
	"crashes are forgiven": func(m *machine) {
		a, id := m.noter()
		for _, n := range []Note{oneStep, {SleepNote, "nap", 2, 10}} {
			a = m.crashes(a, id)
			m.noteOne(a, a.hand[id], n)
		}
		a = m.crashes(a, id)
		m.noteOne(a, a.hand[id], Note{Kind: StateNote, Value: 1})
		require.Equal(m.t, "0|1", m.spec.Tasks[id].Tries, "a first state shows nothing")
		m.noteOne(a, a.hand[id], Note{Kind: StateNote, Value: 2})
		require.Equal(m.t, "0|0", m.spec.Tasks[id].Tries)
	},
	"attempts are not forgiven": func(m *machine) {
		a, id := m.noter()
		a = m.crashes(a, id)
		m.step(func() {
			m.commitAs(a, a.session, []*Run{m.outcome(a.hand[id], func(o *Run) {
				o.outcome.verb, o.outcome.args = Later, []any{10, "1|1", `{"attempt":1}`}
			})})
		})
		m.step(func() { m.rerunFrom(id, "") })
		require.Equal(m.t, []string{id}, m.take(a, 1))
		m.noteOne(a, a.hand[id], oneStep)
	},
}
