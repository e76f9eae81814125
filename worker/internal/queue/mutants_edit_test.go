package queue

import (
	"github.com/stretchr/testify/require"
)

// editCases are changes of tasks.
var editCases = map[string]func(*machine){
	"tasks that are edited": func(m *machine) {
		edits := func(id string) {
			for _, to := range []struct{ queue, mark, payload string }{
				{"", "=", "12"}, {"b", "=", ""}, {"b", HighMark, ""}, {"", "=", "123"}, {"a", LowMark, "9"}, {"", "", ""}, {"b", "=", ""}, {"a", "=", ""},
			} {
				m.step(func() { m.editAs(id, edition{to.queue, "=", to.mark, to.payload, to.payload == "123"}) })
			}
		}
		m.choose(map[string]int{"queue": 0, "who": 1, "bytes": 100}, m.limit)
		id := m.enqueueOne(1, draft{})
		m.enqueueOne(2, draft{})
		edits(id)
		edits(m.enqueueOne(1, draft{In: 1e9}))
		edits(m.enqueueOne(1, draft{After: []string{id}}))
		edits(m.enqueueOne(1, draft{Large: true}))
		m.takeAll()
		edits(id)
		a := m.actors[len(m.actors)-1]
		m.step(func() {
			var batch []*Run
			for n, id := range m.owned(a.name) {
				batch = append(batch, m.outcome(a.hand[id], func(o *Run) {
					if o.outcome.verb, o.outcome.args = Dead, []any{"1|0", `{"reason":"failed","error":"x"}`}; n == 0 {
						o.outcome.verb, o.outcome.args = Park, []any{o.Record.Name}
					}
				}))
			}
			m.commitAs(a, a.session, batch)
		})
		for _, id := range m.spec.ids() {
			edits(id)
		}
		m.step(func() { m.editAs("c9", edition{"", "=", "=", "1", true}) })
		m.enqueueOne(1, draft{ID: "c1"})
		m.ends(Done, 9000, "", "")
		m.step(func() { m.editAs("c1", edition{"", "=", "=", "1", true}) })
	},
	"a task that is parked is edited": func(m *machine) {
		id := m.enqueueOne(1, draft{})
		m.ends(Park, "t")
		m.step(func() { m.editAs(id, edition{"", "=", HighMark, "2", false}) })
		require.Equal(m.t, stateParked, m.spec.Tasks[id].State)
		m.step(func() { m.editAs(id, edition{"b", "=", "=", "", false}) })
		require.Equal(m.t, statePending, m.spec.Tasks[id].State)
	},
	"a task is edited before it has been weighed": func(m *machine) {
		id := m.enqueueOne(1, draft{})
		m.enqueueOne(1, draft{})
		m.choose(map[string]int{"queue": 0, "who": 1, "bytes": 100}, m.limit)
		m.step(func() { m.editAs(id, edition{"", "=", "=", "12345", false}) })
	},
	"a dead task is edited where bytes count": func(m *machine) {
		m.choose(map[string]int{"queue": 0, "who": 1, "bytes": 100}, m.limit)
		m.choose(map[string]int{}, m.weigh)
		require.Empty(m.t, m.spec.Weighing)
		id := m.enqueueOne(1, draft{})
		m.ends(Dead, "1|0", `{"reason":"failed","error":"x"}`)
		m.step(func() { m.editAs(id, edition{"", "=", "=", "12345", false}) })
	},
	"a task of which a key is something else's is edited": func(m *machine) {
		id := m.enqueueOne(1, draft{})
		require.NoError(m.t, m.redis.Set(m.ctx, m.keys.Queue("b"), "alien", 0).Err())
		word, err := m.store.Edit(m.ctx, id, Edit{Queue: "b"})
		require.NoError(m.t, err)
		require.Equal(m.t, "broken", word)
		reply := m.bare("other", editScript, Task{body: body{name: "x1"}}, id, "", "=", "@x1|1")
		require.Equal(m.t, []any{"EXPIRED"}, reply)
	},
}

// Mistakes with these.
var editMutants = []mutant{
	{"edit", "if retained(record) or redis.call('ZSCORE', key('done'), id) then return refuse('done') end", ""},
	{"edit", "  if body then settle(body) end\n  return", "  return"},
	{"edit", "return refuse('active') ", ""},
	{"edit", " or record_refuses(edited) then", " then"},
	{"edit", "if not ends then weigh(old, id, -1) end", ""},
	{"edit", "if not ends then weigh(old, id, -1) end", "weigh(old, id, -1)"},
	{"edit", "if not ends then weigh(queue, id, 1) end", ""},
	{"edit", "  disembody({id})\n", ""},
	{"edit", "if body then settle(body, id) end", ""},
	{"edit", "or moves and queue ~= old and take_list(id, line, record)", ""},
	{"edit", "or moves and queue ~= old and", "or moves and"},
	{"edit", "local moves = waits and other .. mark ~= line", "local moves = waits"},
	{"edit", "  tally(old, 'deleted', 1)\n", ""},
	{"edit", "  tally(queue, 'enqueued', 1)\n", ""},
	{"edit", "  known(queue)\n", ""},
	{"edit", "if due and queue ~= old then", "if false then"},
	{"edit", "  redis.call('ZREM', key('delayed:' .. old), id)\n", ""},
	{"edit", "  place(id, other .. mark, {}, at)\n", ""},
	{"edit", "note(id, at, 'edited', '{}')\n", ""},
	{"edit", "flush()\n", ""},
	{"edit", "if not embodied({body = body}) then return {'EXPIRED'} end", ""},
	{"edit", "(ARGV[4] ~= '' and ARGV[4] or payload)", "ARGV[4]"},
}
