package queue

import "github.com/stretchr/testify/require"

// Mistakes in what notes steps, and in what forgets them.
var stepMutants = []mutant{
	{"step", "if tonumber(redis.call('ZSCORE', key('leases'), incarnation) or 0) <= 0 then return {'FENCED'} end", ""},
	{"step", "if not claim or string.match(claim, '^%d+') ~= ARGV[3] then", "if not claim then"},
	{"step", "if run == this and tonumber(number) >= tonumber(ARGV[4]) then", "if false then"},
	{"step", "if run == this and tonumber(number) >= tonumber(ARGV[4]) then", "if run == this and tonumber(number) == tonumber(ARGV[4]) then"},
	{"step", "if run == this and tonumber(number) >= tonumber(ARGV[4]) then", "if run and tonumber(number) >= tonumber(ARGV[4]) then"},
	{"step", "string.match(before or '', 'until|(%d+)$') or ''}", "''}"},
	{"step", "  apply_effects(10, effects, 0, code)\n", ""},
	{"step", "local code = effects_refused(10, effects)", "local code"},
	{"step", "if kind ~= 'checkpoint' then value =", "if false then value ="},
	{"step", ", '#', this .. '|' .. ARGV[4])", ")"},
	{"step", "redis.call('HSET', key('steps'), id, int(counted('steps', id) + more))", ""},
	{"step", "(before and #before or -#field)", "-#field"},
	{"step", "  count('bytes', queue, more)\n", ""},
	{"step", "redis.call('HEXISTS', key('weighing'), queue) == 0 or ", ""},
	{"step", " or redis.call('SISMEMBER', key('weighed:' .. queue), id) == 1)", ")"},
	{"step", "(redis.call('HEXISTS', key('weighing'), queue) == 0 or redis.call('SISMEMBER', key('weighed:' .. queue), id) == 1)", "true"},
	{"step", "apply_effects(10, effects, at)\n", ""},
	{"step", "flush()\n", ""},
	{"commit", "  unstep(gone)\n", ""},
	{"commit", "  unstep({id})\n", ""},
	{"endings", "  unstep({id})\n", ""},
	{"ties", "redis.call('UNLINK', key('steps:' .. id))", "do end"},
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
	oneStep = Note{StepNote, "one", 1, 7}
	twoStep = Note{StepNote, "two", 2, 77}
)

// stepCases are notes of steps.
var stepCases = map[string]func(*machine){
	"a note of an earlier run of the same node": func(m *machine) {
		a, id := m.noter()
		before := a.hand[id]
		m.anotherRun(a, id)
		m.noteOne(a, before, oneStep)
	},
	"a note that comes again": func(m *machine) {
		a, id := m.noter()
		m.noteOne(a, a.hand[id], oneStep)
		m.again(a, 0)
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
	"a step of a task that counts, in a queue that is weighed": func(m *machine) {
		m.choose(map[string]int{"bytes": 3}, m.limit)
		a, id := m.noter()
		for range 3 {
			m.choose(map[string]int{"looks at": 2}, m.weigh)
		}
		require.Empty(m.t, m.spec.Weighing)
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
		m.step(func() {
			m.commitAs(a, a.session, []*Run{m.outcome(a.hand[id], func(o *Run) { o.outcome.verb, o.outcome.args = Dead, []any{"1|0", `{"reason":"failed"}`} })})
		})
		m.drop(id)
	},
}
