package queue

import (
	"time"

	"github.com/stretchr/testify/require"
)

// returnMutants are mistakes with tasks that were claimed and come back.
var returnMutants = []mutant{
	{"turns", "key('groups:' .. queue), key('returned')) == 0", "key('groups:' .. queue)) == 0"},
	{"turns", "return ms and ms .. string.format('%08d', tonumber(place) or 0) or ''", "return ms or ''"},
	{"turns", "then line = t.party(line) .. '!' end\n    local list", "then end\n    local list"},
	{"turns", "if not other or other > order then break end", "if not other then break end"},
	{"turns", "if not other or other > order then break end", "if not other or other >= order then break end"},
	{"turns", "if not other or other > order then break end", "if true then break end"},
	{"turns", "    for i = #before, 1, -1 do redis.call('RPUSH', list, before[i]) end\n", ""},
	{"turns", "before[i]) end\n    redis.call('HSET', key('returned'), id, order)\n", "before[i]) end\n"},
	{"turns", "settings(queue).strict and party or party .. '!'", "party"},
	{"turns", "settings(queue).strict and party or party .. '!'", "party .. '!'"},
	{"turns", "party or party .. '!')\n    redis.call('HSET', key('returned'), id, order)\n", "party or party .. '!')\n"},
	{"turns", "if exists('returned') then each('HDEL', 'returned', ids) end", ""},
	{"turns", "if exists('holders') and string.sub(redis.call('HGET', key('holders'), id) or '', -1) == '!' then", "if exists('holders') then"},
	{"turns", " or counted('held', party .. '!') > 0)", ")"},
	{"turns", "t.offer(t.party(party))", "t.offer(party)"},
	{"commit", "  if exists('holders') and verb ~= 'aside' and verb ~= 'back' then turns().begin(id) end\n", ""},
	{"commit", "verb ~= 'aside' and verb ~= 'back'", "verb ~= 'aside'"},
	{"commit", "if party or verb == 'throttle' then", "if party then"},
	{"commit", "if party or verb == 'throttle' then", "if verb == 'throttle' then"},
	{"commit", "if verb == 'aside' and party then", "if false then"},
	{"endings", ", 'progress', 'returned'}", ", 'progress'}"},
	{"edit", "if other .. mark ~= line then forget(id, {'returned'}) end\n", ""},
	{"solo", "turns().begin(ARGV[2])\n", ""},
	{"solo", "flush()\n", ""},
	{"reschedule", "come(line, id)", "push(line, {id})"},
	{"places", "  if order then return turns().give_back(line, id, order) end\n", ""},
	{"takeover", "if string.find(line, '/', 1, true) then turns().give_back(line, id, turns().order(entries[id])) else push(line, {id}, 'RPUSH') end", "push(line, {id}, 'RPUSH')"},
	{"due", "  if #ids > 1 and (of_group(ids[1]) or of_group(ids[#ids])) then in_order(ids, delayed) end\n", ""},
	{"due", "if dues[a] ~= dues[b] then return dues[a] < dues[b] end", ""},
	{"due", "if enqueued[a] ~= enqueued[b] then return enqueued[a] < enqueued[b] end", ""},
	{"due", "if #a ~= #b then return #a < #b end", ""},
	{"claim", "int(beyond * 100000 + #known_ids)", "'1'"},
	{"claim", "places[a] < places[b]", "places[a] > places[b]"},
	{"claim", "    if took > 0 then t.taken({unpack(ids, 1, took)}) end\n", ""},
	{"claim", "  if took > 0 and settings(party).special then turns().taken({unpack(got, 1, took)}) end\n", ""},
}

// returnCases are runs with tasks that come back in another order than they were claimed in.
var returnCases = map[string]func(*machine){
	"tasks of a group come back one by one": func(m *machine) {
		a, b := m.worker(), m.worker()
		x := m.enqueueMany(5, "x")
		require.Equal(m.t, x[:2], m.take(a, 2))
		m.later(1)
		require.Equal(m.t, x[2:4], m.take(b, 2))
		m.finish(b, x[2:3], Throttle, 1000)
		m.finish(a, x[:1], Throttle, 1000)
		m.finish(b, x[3:4], Back)
		m.finish(a, x[1:2], Throttle, 1000)
		m.later(1000)
		require.Equal(m.t, x, m.take(b, 9))
		m.finish(b, x[4:], Done)
		y := m.enqueueMany(1, "x")
		m.finish(b, x[1:2], Throttle, 1000)
		m.ofTask(x[1], map[string]int{}, m.cancel)
		m.finish(b, x[:1], Throttle, 1000)
		m.later(1000)
		require.Equal(m.t, []string{x[0], y[0]}, m.take(b, 9))
	},
	"tasks of a queue that rests come back one by one": func(m *machine) {
		a := m.worker()
		ids := m.enqueueMany(4, "")
		require.Equal(m.t, ids[:1], m.take(a, 1))
		m.later(1)
		require.Equal(m.t, ids[1:3], m.take(a, 2))
		m.finish(a, ids[:1], Throttle, 1000)
		m.finish(a, ids[1:2], Throttle, 1000)
		m.finish(a, ids[2:3], Throttle, 1000)
		m.later(1000)
		m.visit(VisitFirst)
		require.Equal(m.t, ids, m.take(a, 9))
		require.Empty(m.t, m.spec.Groups.Returned)
		m.visit(VisitFirst)
		require.Empty(m.t, m.spec.Groups.Special)
		m.finish(a, ids[:1], Throttle, 1000)
		m.ofTask(ids[0], map[string]int{}, m.remove)
		m.visit(VisitFirst)
		require.NotEmpty(m.t, m.spec.Groups.Special, "it rests")
	},
	"a node dies with tasks of a group that came in one call": func(m *machine) {
		a, b := m.worker(), m.worker()
		var x []string
		for _, id := range []string{"c3", "c1", "c2", "c0"} {
			x = append(x, m.enqueueOne(1, draft{ID: id, Group: "x"}))
		}
		require.Equal(m.t, x[:3], m.take(a, 3))
		again := *a.session
		again.claims--
		m.step(func() { m.claimAs(a, &again, 3) })
		m.finish(a, x[:1], Back)
		m.step(func() { m.setLease(a.name, -m.spec.Now) })
		m.step(func() { m.takeOverOf(a, Remains{}) })
		m.step(func() { m.renew(b) })
		require.Equal(m.t, x, m.take(b, 9))
	},
	"suspects hold their group until they begin": func(m *machine) {
		a := m.worker()
		x := m.enqueueMany(4, "x")
		require.Equal(m.t, x[:2], m.take(a, 2))
		m.finish(a, x[1:2], Aside, 2000)
		m.finish(a, x[:1], Aside, 1000)
		require.Empty(m.t, m.take(a, 9))
		m.later(1000)
		m.ofTask(x[1], map[string]int{"ms": 0}, m.reschedule)
		require.Equal(m.t, x[:2], m.take(a, 9))
		m.finish(a, x[:2], Back)
		require.Equal(m.t, x[:2], m.take(a, 9))
		m.step(func() { m.soloAs(a, x[0]) })
		require.Empty(m.t, m.take(a, 9))
		idle := m.worker()
		m.take(idle, 9)
		require.True(m.t, idle.session.idle)
		m.step(func() { m.soloAs(a, x[1]) })
		require.Len(m.t, m.spec.Idle["a"], 1, "one of the two was woken")
		require.Equal(m.t, x[2:], m.take(a, 9))
		m.finish(a, x[:1], Later, 1000, "1|0", "{}")
		require.Empty(m.t, m.spec.Groups.Holders)
	},
	"a suspect that is parked, or changes its group": func(m *machine) {
		a := m.worker()
		x := m.enqueueMany(3, "x")
		require.Equal(m.t, x[:1], m.take(a, 1))
		m.finish(a, x[:1], Aside, 1000)
		m.step(func() { m.editAs(x[0], edition{queue: "", mark: HighMark, group: "="}) })
		m.later(1000)
		require.Equal(m.t, x[:1], m.take(a, 9))
		m.finish(a, x[:1], Park, "t")
		require.Equal(m.t, x[1:2], m.take(a, 1))
		m.finish(a, x[1:2], Back)
		m.step(func() { m.editAs(x[1], edition{queue: "", mark: "=", group: "y"}) })
		require.Empty(m.t, m.spec.Groups.Returned)
	},
	"tasks of a group that are due together": func(m *machine) {
		a := m.worker()
		due := m.spec.now().Add(5 * time.Second)
		for _, id := range []string{"c10", "c2", "c1", "c3"} {
			if id == "c1" {
				m.later(2)
			}
			m.enqueueOne(1, draft{ID: id, Group: "x", At: due})
		}
		m.enqueueOne(1, draft{ID: "c4", Group: "x", At: due.Add(-time.Second)})
		m.later(6000)
		require.Equal(m.t, []string{"c4", "c2", "c10", "c1", "c3"}, m.take(a, 9))
	},
	"a suspect of a strict group": func(m *machine) {
		a := m.limited(Limits{PerGroup: 1, Strict: true})
		x := m.enqueueMany(2, "x")
		require.Equal(m.t, x[:1], m.take(a, 9))
		m.finish(a, x[:1], Aside, 1000)
		m.later(1000)
		require.Equal(m.t, x[:1], m.take(a, 9))
		m.step(func() { m.soloAs(a, x[0]) })
		m.finish(a, x[:1], Later, 1000, "1|0", "{}")
		require.Empty(m.t, m.take(a, 9))
		require.Len(m.t, m.spec.Groups.Holders, 1)
		m.step(func() { m.limitAs("a", "operator", &Limits{Rate: Rate{1, time.Second, 9}}) })
		require.Equal(m.t, x[1:], m.take(a, 9))
	},
}
