package queue

import (
	"strings"

	"github.com/stretchr/testify/require"
)

// batchMutants are mistakes in what makes and ends batches.
var batchMutants = []mutant{
	{"commit", "    refused = refused or decided[i] or false\n", ""},
	{"commit", "apart = apart or decided[i] == 'FENCED' or exists", "apart = apart or exists"},
	{"commit", "apart = apart or decided[i] == 'FENCED' or exists('cancelling') and redis.call('HEXISTS', key('cancelling'), id) == 1", "apart = apart or decided[i] == 'FENCED'"},
	{"commit", "    if decided[i] ~= 'FENCED' then decided[i] = apart and 'APART' or refused end\n", ""},
	{"commit", "if decided[i] ~= 'FENCED' then decided[i] = apart", "if true then decided[i] = apart"},
	{"commit", "    c = skip_effects(e, effects)\n", "    c = e\n"},
	{"commit", "    part(incarnation, entries[id], queue_of(line))\n", ""},
	{"effects", "  for _ = 1, n do e = e + 1 + effect_words[ARGV[e]] end\n", "  for _ = 2, n do e = e + 1 + effect_words[ARGV[e]] end\n"},
	{"takeover", "    part(incarnation, entries[id], queue)\n", ""},
	{"sharing", ", 1) > 1 then shares", ", 1) > 0 then shares"},
	{"sharing", ", -1) > 0 then\n", ", -1) > 1 then\n"},
	{"sharing", "    redis.call('HDEL', key('stream:' .. incarnation), field)\n", ""},
	{"sharing", "'#' .. number .. '|' .. queue, 1)", "'#' .. number .. '|', 1)"},
	{"places", " + count_of(active[2]))", ")"},
	{"places", "  if places(queue) ~= 0 then return rouse(queue) end\n", "  if places(queue) ~= 0 then return rouse(queue) else return end\n"},
	{"sharing", "  redis.call('HSET', key('active'), queue .. '|gathers', incarnation .. '|' .. number)\n", ""},
	{"sharing", "    if redis.call('HGET', key('active'), queue .. '|gathers') == incarnation .. '|' .. number then", "    if true then"},
	{"sharing", " then redis.call('HDEL', key('active'), queue .. '|gathers') end\n", " then end\n"},
	{"places", "count('active', queue .. '|shared', n) == 0 then redis.call('HDEL', key('active'), queue .. '|shared') end", "count('active', queue .. '|shared', n) == 0 then end"},
	{"claim", "    if gathered and tonumber(string.match(tried or '', '%d+$') or 0) >= suspect then gathered = nil end\n", ""},
	{"claim", "'%d+$') or 0) >= suspect", "'%d+$') or 0) > suspect"},
	{"claim", "      filled_up = true\n", ""},
	{"claim", "gathered.tasks <= 0 or gathered.bytes <= 0", "gathered.bytes <= 0"},
	{"claim", "gathered.tasks <= 0 or gathered.bytes <= 0", "gathered.tasks <= 0"},
	{"claim", "or not gathered and asked >= want then", "or asked >= want then"},
	{"claim", "or not gathered and asked >= want then", "then"},
	{"claim", "if not joins and free <= 0 or", "if free <= 0 or"},
	{"claim", "if not joins and free <= 0 or", "if"},
	{"claim", "    if tokens <= 0 then return false end\n", ""},
	{"claim", "    tokens = tokens - 1\n", ""},
	{"claim", "    if not joins then free = free - 1 end\n", "    free = free - 1\n"},
	{"claim", "    if not joins then free = free - 1 end\n", ""},
	{"claim", "tokens, free = tokens - (hands[queue] or 0),", "tokens, free = tokens,"},
	{"claim", "(free or math.huge) - (hands[queue] or 0) + (shares[queue] or 0)", "(free or math.huge)"},
	{"claim", "(free or math.huge) - (hands[queue] or 0) + (shares[queue] or 0)", "(free or math.huge) - (hands[queue] or 0)"},
	{"claim", "    if not limited then return '' end\n", ""},
	{"claim", "    join(incarnation, gathered.batch, queue)\n", ""},
	{"claim", "  if starts(queue) == 0 then return end\n", ""},
	{"claim", "    confine()\n    if at_once == 0 then return end\n", "    confine()\n"},
	{"claim", "    confine()\n    if at_once == 0 then return end\n", "    if at_once == 0 then return end\n"},
	{"claim", "local limit = (gathers and starts or room)(queue)", "local limit = room(queue)"},
	{"claim", "math.min(at_once > 0 and math.max(0, at_once - asked) + gatherable() or 0, may, some, 500)", "math.min(math.max(0, at_once - asked) + gatherable(), may, some, 500)"},
	{"claim", "math.max(0, at_once - asked) + gatherable()", "math.max(0, at_once - asked)"},
	{"claim", "math.max(0, at_once - asked) + gatherable()", "at_once - asked + gatherable()"},
	{"claim", "    if gathered.bytes > 0 then n = n + math.max(0, gathered.tasks) end\n", "    n = n + math.max(0, gathered.tasks)\n"},
	{"claim", "      if left <= 0 and ends[i] > ends[i - 1] then break end -- it keeps its turn, as all after it do\n", ""},
	{"claim", "    if took < #ids then break end\n", ""},
	{"claim", "    if gathers or not limit or", "    if not limit or"},
	{"claim", "      if gathers or not full() then", "      if not full() then"},
	{"claim", "    if not admit or not record then asked = asked + 1 end\n", "    asked = asked + 1\n"},
	{"claim", "gathered.bytes - size", "gathered.bytes - #record"},
}

// batchCases are what mistakes in batches must not survive.
var batchCases = map[string]func(*machine){
	"a batch takes one place of its queue, and gives it back with its last task": func(m *machine) {
		m.choose(map[string]int{"at a time": 2}, m.limit)
		for range 6 {
			m.enqueueOne(1, draft{})
		}
		one, two := m.gatherer(0), m.gatherer(0)
		m.gatherAs(one, 1, 3)
		m.gatherAs(two, 1, 2)
		require.Len(m.t, one.hand, 3)
		for id := range one.hand {
			m.lookAt(id)
		}
		require.Len(m.t, two.hand, 2)
		m.gatherAs(one, 2, 9)
		require.Len(m.t, one.hand, 3, "the queue has no place left")
		m.endJoint(one, nil)
		m.gatherAs(one, 2, 9)
		require.Len(m.t, one.hand, 1)
		m.endJoint(two, nil)
		m.endJoint(one, nil)
		m.enqueueOne(1, draft{})
		m.enqueueOne(1, draft{})
		m.gatherAs(two, 3, 9)
		m.step(func() {
			m.setLease(two.name, -m.spec.Now)
			m.takeOverOf(two, Remains{})
		})
	},
	"a batch leaves the other places of its queue to others": func(m *machine) {
		m.choose(map[string]int{"at a time": 2}, m.limit)
		m.enqueueOne(1, draft{})
		a := m.gatherer(0)
		m.gatherAs(a, 1, 1)
		for _, name := range []string{"", "", "u", "u"} {
			m.enqueueOne(1, draft{Name: name})
		}
		m.gatherAs(a, 1, 9)
		require.Len(m.t, a.hand, 4)
	},
	"a batch of an urgent line leaves the other places to the next line": func(m *machine) {
		m.choose(map[string]int{"at a time": 2}, m.limit)
		for range 3 {
			m.enqueueOne(1, draft{Mark: HighMark})
		}
		m.enqueueOne(1, draft{Name: "u"})
		a := m.gatherer(0)
		m.gatherAs(a, 1, 9)
		require.Len(m.t, a.hand, 4)
	},
	"a batch gathers nothing of a queue that is paused": func(m *machine) {
		m.choose(map[string]int{"at a time": 2}, m.limit)
		m.enqueueOne(1, draft{})
		a := m.gatherer(0)
		m.gatherAs(a, 1, 9)
		m.enqueueOne(1, draft{})
		m.step(func() { m.pauseAs("a", true) })
		m.gatherAs(a, 1, 9)
		require.Len(m.t, a.hand, 1)
	},
	"a batch with the only place of a queue of a stored list": func(m *machine) {
		m.choose(map[string]int{"at a time": 1}, m.limit)
		m.enqueueOne(1, draft{})
		a := m.gatherer(1)
		m.gatherAs(a, 1, 3)
		m.enqueueOne(1, draft{})
		m.enqueueOne(1, draft{Name: "u"})
		m.gatherAs(a, 1, 2)
		require.Len(m.t, a.hand, 2)
		m.enqueueOne(1, draft{Queue: "b"})
		m.gatherAs(a, 1, 1)
		require.Len(m.t, a.hand, 3)
	},
	"a suspect takes a place of its own": func(m *machine) {
		m.choose(map[string]int{"at a time": 2}, m.limit)
		for range 3 {
			id := m.enqueueOne(1, draft{})
			m.step(func() {
				if m.spec.Tasks[id].Tries = "0|2"; len(m.spec.Tasks) == 3 {
					m.spec.Tasks[id].Tries = "0|1"
				}
				require.NoError(m.t, m.redis.HSet(m.ctx, m.keys.Tries(), id, m.spec.Tasks[id].Tries).Err())
			})
		}
		a := m.gatherer(0)
		m.gatherAs(a, 1, 3)
		require.Len(m.t, a.hand, 1, "one more than it asked for is another's")
	},
	"a batch is full at its bytes": func(m *machine) {
		for range 3 {
			m.enqueueOne(strings.Repeat("x", 100), draft{Large: true})
		}
		a := m.gatherer(0)
		m.step(func() {
			a.session.Gather([]Gathering{{Name: "t", Number: 1, Tasks: 9, Bytes: 250}}, true)
			got, _ := m.claimAs(a, a.session, 1)
			require.Len(m.t, got, 2)
		})
	},
	"an effect of a batch is refused": func(m *machine) {
		m.spoiled(func(_ *actor, batch []*Run) {
			batch[0].outcome.effects = append(batch[0].outcome.effects, NewEffect("increment", m.cache.EntryKey("list"), m.cache.LockKey("list"), "", 1))
		})
	},
	"a task of a batch is cancelled": func(m *machine) {
		m.spoiled(func(_ *actor, batch []*Run) {
			m.run(cancelScript, `{"reason":"cancelled"}`, batch[2].ID)
			m.spec.Tasks[batch[2].ID].Asked = true
		})
	},
	"a task of a batch is not in hand any more": func(m *machine) {
		m.spoiled(func(a *actor, batch []*Run) {
			m.commitAs(a, a.session, []*Run{m.outcome(a.hand[batch[1].ID], func(o *Run) { o.outcome.verb = Back })})
			m.then()
		})
	},
}

// gatherer is a new actor that gathers.
func (m *machine) gatherer(list int) *actor {
	m.choose(map[string]int{"stored list": list}, m.join)
	return m.actors[len(m.actors)-1]
}

// gatherAs has an actor claim one task and gather some for that batch.
func (m *machine) gatherAs(a *actor, number uint64, most int) {
	m.step(func() {
		a.session.Gather([]Gathering{{Name: "t", Number: number, Tasks: most, Bytes: 1000}}, true)
		got, _ := m.claimAs(a, a.session, 1)
		for _, c := range got {
			a.hand[c.ID] = c
		}
	})
}

// endJoint has all that an actor has in hand be done together, once spoil is done.
func (m *machine) endJoint(a *actor, spoil func(*actor, []*Run)) {
	m.step(func() {
		var batch []*Run
		for _, id := range m.owned(a.name) {
			batch = append(batch, m.outcome(a.hand[id], func(o *Run) { o.outcome.verb, o.outcome.args = Done, []any{"", "", ""} }))
		}
		batch[0].outcome.effects = []Effect{NewEffect("increment", m.cache.EntryKey("effects"), m.cache.LockKey("effects"), "", 1)}
		if spoil != nil {
			spoil(a, batch)
		}
		m.commitAs(a, a.session, m.joint(batch))
	})
}

// spoiled ends a batch of three, of which none can be done.
func (m *machine) spoiled(spoil func(*actor, []*Run)) {
	for range 3 {
		m.enqueueOne(1, draft{})
	}
	a := m.gatherer(0)
	m.gatherAs(a, 1, 3)
	m.endJoint(a, spoil)
	require.Zero(m.t, m.spec.Effects)
	require.Len(m.t, m.spec.Tasks, 3)
}
