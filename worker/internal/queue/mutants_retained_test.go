package queue

import (
	"slices"
	"strconv"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// retainedMutants are mistakes with the records of tasks that are done.
var retainedMutants = []mutant{
	{"retaining", "while step * 128 <= keep do", "while step * 64 <= keep do"},
	{"retaining", "math.ceil(", "math.floor("},
	{"retaining", "'+' .. hex(at) ..", "'+' .. hex(till) .."},
	{"retaining", "string.gsub(incarnation, ':%x+$', '')", "incarnation"},
	{"retaining", " .. string.sub(record, last + 1))", ")"},
	{"retaining", "redis.call('RPUSH',", "redis.call('LPUSH',"},
	{"retaining", "  if not last then return nil end\n", ""},
	{"retaining", "redis.call('ZADD', key('retained'), int(till), list)", "till = till"},
	{"commit", "if exists('history') and redis.call('HEXISTS', key('history'), id) == 1 then", "if true then"},
	{"commit", "if exists('history') and redis.call('HEXISTS', key('history'), id) == 1 then", "if false then"},
	{"commit", "if till and kept and till <= kept then", "if till and kept then"},
	{"commit", "if till and kept and till <= kept then", "if false then"},
	{"commit", "if awaited[id] then redis.call('ZREM', key('done'), id) end", ""},
	{"commit", "if not kept and at + 60000 ~= till then", "if at + 60000 ~= till then"},
	{"commit", "not kept and not awaited[id] then return", "not awaited[id] then return"},
	{"commit", "if verb == 'done' and ARGV[a + 1] ~= '' then list =", "if false then list ="},
	{"wait", "retained(record) or redis", "redis"},
	{"cancel", "retained(record) or redis", "redis"},
	{"finding", "  if retained(record) then\n", "  if false then\n"},
	{"finding", "    redis.call('ZREM', key('done'), id)\n    return 'done'", "    return 'done'"},
	{"show", "  if kept then return 'done' end\n", ""},
	{"show", "stamp = kept and int(tonumber(kept, 16)) or ''", "stamp = ''"},
	{"adding", "if not record or retained(record) then return end", "if not record then return end"},
	{"adding", "if not record or retained(record) then return end", "if retained(record) then return end"},
	{"binding", " and not retained(record)", ""},
	{"weigh", " and not retained(record)", ""},
	{"due", "redis.call('ZRANGEBYSCORE', key('retained'), '-inf', int(at),", "redis.call('ZRANGEBYSCORE', key('retained'), '-inf', int(at + 500),"},
	{"due", "if retained(record) == time then erase", "if record then erase"},
	{"due", "if retained(record) == time then erase", "if retained(record) then erase"},
	{"due", "fits(list, 'list') and", ""},
	{"due", "  kept = kept - #ids\n", ""},
	{"due", "if kept > 0 then redis.call('ZREM', key('retained'), time) end", "redis.call('ZREM', key('retained'), time)"},
	{"due", "if kept > 0 then redis.call('ZREM', key('retained'), time) end", ""},
	{"due", "more = more or (first_of('retained') or at + 1) <= at\n", ""},
}

// keeps has all that waits done and kept, and returns the ids.
func (m *machine) keeps(d draft, taken, keep int, result string) string {
	id := m.enqueueOne(1, d)
	m.ends(Done, taken, keep, result)
	require.NotZero(m.t, m.spec.Tasks[id].Retained)
	return id
}

// ofTask takes a step for one task: see [machine.task].
func (m *machine) ofTask(id string, choices map[string]int, action func()) {
	m.draw = func(what string, _ int) int {
		if what == "task" {
			return slices.Index(m.spec.ids(), id)
		}
		return choices[what]
	}
	m.step(action)
}

// retainedCases are runs with tasks that are kept when they are done.
var retainedCases = map[string]func(*machine){
	"what one asks of a task that is kept": func(m *machine) {
		for _, aged := range []bool{false, true} {
			id := m.keeps(draft{ID: "c1"}, 9000, 5000, "1")
			first := m.keeps(draft{}, 5000, 5000, "1")
			if aged {
				m.ageAll()
			}
			for _, of := range []string{id, first} {
				for _, action := range []func(){m.look, m.wait, m.cancel, m.retry, m.reschedule} {
					m.ofTask(of, nil, action)
				}
			}
			m.enqueueOne(2, draft{After: []string{first}})
			require.Len(m.t, m.spec.Lines["a"], 1)
			m.enqueueOne(1, draft{ID: "c2", After: []string{m.enqueueOne(1, draft{})}})
			m.ends(Done, "", "", "")
			m.ends(Done, "", "", "")
			m.ofTask(id, nil, m.remove)
			m.ofTask(first, nil, m.remove)
			m.sleep(10000)
			m.step(func() { m.dueOf(9, 9) })
			require.Empty(m.t, m.spec.Tasks)
		}
	},
	"somebody waits for a task that is kept": func(m *machine) {
		m.enqueueOne(1, draft{Await: true})
		m.ends(Done, 5000, 5000, "1")
		m.enqueueOne(1, draft{Await: true})
		m.ends(Done, 90000, 90000, "1")
		m.sleep(6000)
		m.step(func() { m.dueOf(9, 9) })
		m.sleep(70000)
		m.step(func() { m.dueOf(9, 9) })
		require.Len(m.t, m.spec.Tasks, 1)
	},
	"the result of a task that somebody waits for": func(m *machine) {
		m.enqueueOne(1, draft{ID: "c1", Await: true})
		m.ends(Done, 9000, "", "2")
		m.sleep(10000)
		m.step(func() { m.dueOf(9, 9) })
	},
	"another task with the id of one that is kept": func(m *machine) {
		id := m.keeps(draft{ID: "c1"}, 5000, 5000, "1")
		m.step(func() { m.sendNew("p0", m.ready(draft{ID: id, Queue: "a", Await: true})) })
		m.drop(id)
		m.keeps(draft{ID: "c1"}, 9000, 9000, "2")
		m.sleep(6000)
		m.step(func() { m.dueOf(9, 9) })
		require.Equal(m.t, "2", m.spec.Tasks[id].Result)
		m.drop(id)
		m.enqueueOne(1, draft{ID: "c1"})
		m.sleep(6000)
		m.step(func() { m.dueOf(9, 9) })
		require.Equal(m.t, statePending, m.spec.Tasks[id].State)
	},
	"one id after the other is forgotten": func(m *machine) {
		for range 3 {
			m.enqueueOne(1, draft{})
		}
		m.ends(Done, 5000, 5000, "1")
		m.sleep(100)
		m.keeps(draft{}, 5000, 5000, "")
		m.sleep(4990)
		m.step(func() { m.dueOf(2, 9) })
		m.step(func() { m.dueOf(2, 9) })
		require.Len(m.t, m.spec.Tasks, 1, "the last one is not over yet")
		m.sleep(6000)
		for range 3 {
			m.step(func() { m.dueOf(1, 9) })
		}
		require.Empty(m.t, m.spec.Retained.Due)
	},
	"a task that failed before it is kept": func(m *machine) {
		id := m.enqueueOne(1, draft{})
		m.ends(Later, 1, "1|0", `{}`)
		m.sleep(10)
		m.step(m.due)
		m.ends(Done, 5000, 5000, "")
		require.Equal(m.t, 2, len(m.spec.Tasks[id].Past)/len("1700000000000|failed"))
		m.sleep(6000)
		m.step(func() { m.dueOf(9, 9) })
	},
	"what is kept is not weighed": func(m *machine) {
		m.keeps(draft{}, 5000, 5000, "1")
		m.draw = func(what string, _ int) int { return map[string]int{"bytes": 3, "who": 1, "looks at": 2}[what] }
		m.step(m.limit)
		for range 4 {
			m.step(m.weigh)
		}
	},
	"lists of something else, and records that are gone": func(m *machine) {
		first, second := m.enqueueOne(1, draft{}), m.enqueueOne(1, draft{})
		m.takeAll()
		a := m.actors[len(m.actors)-1]
		kept := func(id string) *Run {
			return m.outcome(a.hand[id], func(o *Run) { o.outcome.verb, o.outcome.args = Done, []any{5000, 5000, "1"} })
		}
		till := (m.spec.Now + 5000 + 63) / 64 * 64
		list := m.keys.Retained(strconv.FormatInt(till, 16))
		require.NoError(m.t, m.redis.Set(m.ctx, list, "alien", 0).Err())
		refused, _, err := a.session.Commit(m.ctx, []*Run{kept(first)})
		require.NoError(m.t, err)
		require.Equal(m.t, map[string]string{first: "WRONGTYPE"}, refused)
		require.NoError(m.t, m.redis.HDel(m.ctx, m.keys.Tasks(), second).Err())
		require.NoError(m.t, m.redis.Del(m.ctx, list).Err())
		refused, _, err = a.session.Commit(m.ctx, []*Run{kept(first), kept(second)})
		require.NoError(m.t, err)
		require.Empty(m.t, refused)
		require.Equal(m.t, []redis.Z{{Score: float64(m.spec.Now + 5000), Member: second}}, m.redis.ZRangeWithScores(m.ctx, m.keys.Done(), 0, -1).Val())
		require.NoError(m.t, m.redis.Set(m.ctx, list, "alien", 0).Err())
		require.NoError(m.t, m.redis.ZAdd(m.ctx, m.keys.RetainedLists(), redis.Z{Score: 1, Member: "alien"}).Err())
		m.sleep(6000)
		moved, err := m.store.MoveDue(m.ctx, Look{Mover: "m", Most: 9, Keep: 9})
		require.NoError(m.t, err)
		require.True(m.t, moved.Responsible)
		require.Zero(m.t, m.redis.Exists(m.ctx, m.keys.RetainedLists(), m.keys.Done()).Val())
	},
}
