package queue

import (
	"slices"
	"strings"

	"github.com/stretchr/testify/require"
)

// Mistakes in the flat script that commits and claims.
var workMutants = []mutant{
	{"work", "if tonumber(redis.call('ZSCORE', key('leases'), incarnation) or 0) <= at then return {'OTHER'} end", ""},
	{"work", "ARGV[2] ~= '' and tonumber(last[1] or 0) ~= ARGV[2] - 1 or ", ""},
	{"work", " or tonumber(last[2] or 0) ~= ARGV[3] - 1", ""},
	{"work", " or last[4] then", " then"},
	{"work", "  if set then return {'OTHER'} end", ""},
	{"work", "{unpack(ARGV, c + 2, c + 1 + n)}, ARGV[c]", "{unpack(ARGV, c + 2, c + 1 + n)}, nil"},
	{"work", "if not mine then return {'OTHER'} end", ""},
	{"work", "if hangs then return {'OTHER'} end", ""},
	{"work", "{'followers', 'waiting', 'steps'}", "{'followers', 'steps'}"},
	{"work", "{'followers', 'waiting', 'steps'}", "{'waiting', 'steps'}"},
	{"work", "{'followers', 'waiting', 'steps'}", "{'followers', 'waiting'}"},
	{"work", "for _, name in ipairs({'cancelling', 'progress', 'tries', 'history'}) do redis.call(", "for _, name in ipairs({'progress', 'tries', 'history'}) do redis.call("},
	{"work", "for _, name in ipairs({'cancelling', 'progress', 'tries', 'history'}) do redis.call(", "for _, name in ipairs({'cancelling', 'tries', 'history'}) do redis.call("},
	{"work", "for _, name in ipairs({'cancelling', 'progress', 'tries', 'history'}) do redis.call(", "for _, name in ipairs({'cancelling', 'progress', 'history'}) do redis.call("},
	{"work", "for _, name in ipairs({'cancelling', 'progress', 'tries', 'history'}) do redis.call(", "for _, name in ipairs({'cancelling', 'progress', 'tries'}) do redis.call("},
	{"work", "key('tries'),\n", "\n"},
	{"work", "  redis.call('HDEL', key('tasks'), unpack(ids))\n", ""},
	{"work", "  redis.call('HDEL', owned, unpack(ids))\n", ""},
	{"work", "  count('stats', queue .. '|done', #ids)\n", ""},
	{"work", "  hands[queue] = (hands[queue] or 0) - #ids\n", ""},
	{"work", "hands[ARGV[i]] = (hands[ARGV[i]] or 0) + 1", ""},
	{"work", "  redis.call('HSET', stream, 'claim', ARGV[3])\n", ""},
	{"work", "'commit', ARGV[2], 'claim', ARGV[3])", "'claim', ARGV[3])"},
	{"work", "'commit', ARGV[2], 'claim', ARGV[3])", "'commit', ARGV[2])"},
	{"work", "  if last[3] and last[3] ~= '' then redis.call('HSET', stream, 'refused', '') end\n", ""},
	{"work", "{'^', '', '~'}", "{'', '^', '~'}"},
	{"work", "math.min(want - asked, some)", "some"},
	{"work", "for back = #got, j, -1 do redis.call('RPUSH', list, got[back]) end", ""},
	{"work", "for back = #got, j, -1 do", "for back = j, #got do"},
	{"work", "for from = 1, #own, 500 do redis.call('HSET', owned,", "for from = 501, #own, 500 do redis.call('HSET', owned,"},
	{"work", "ARGV[3] .. '|' .. int(at)", "'0|' .. int(at)"},
	{"work", "if n ~= 0 and count('active', queue, n) == 0 then redis.call('HDEL', key('active'), queue) end", ""},
	{"work", "count('active', queue, n) == 0 then", "false then"},
	{"work", "    redis.pcall('ZREM', key('deadlines'), unpack(some)) -- the node ends them now\n", ""},
	{"work", "if counts then tried", "if false then tried"},
	{"work", "parked = fits(key('parked'), 'set') and", "parked = false and"},
	{"work", "local idle = asked < want and bytes < most", "local idle = asked < want"},
	{"work", "local idle = asked < want and bytes < most", "local idle = true"},
	{"work", "if idle or ARGV[5] == '1' then\n  for i", "if idle then\n  for i"},
	{"work", "waits and 'SADD' or 'SREM'", "'SREM'"},
	{"work", "> 0 then rouse(ARGV[i]) end", "< 0 then rouse(ARGV[i]) end"},
}

// worker joins an incarnation whose later claims go to the flat script.
func (m *machine) worker() *actor {
	m.step(m.join)
	a := m.actors[len(m.actors)-1]
	a.session.cfg.Queues = modelQueues
	m.take(a, 1)
	return a
}

func (m *machine) take(a *actor, want int) (ids []string) {
	m.step(func() {
		got, did := m.claimAs(a, a.session, want)
		require.True(m.t, did)
		for _, c := range got {
			a.hand[c.ID] = c
			ids = append(ids, c.ID)
		}
	})
	return ids
}

// done returns the runs of tasks that are done and nothing more.
func (m *machine) done(some ...Claimed) (runs []*Run) {
	for _, c := range some {
		runs = append(runs, m.outcome(c, func(o *Run) { o.outcome.verb = Done }))
	}
	return runs
}

// endAfter has a task end in the flat script after another outcome.
func (m *machine) endAfter(verb Verb, args ...any) {
	a := m.worker()
	id := m.enqueueOne(1, draft{})
	m.take(a, 1)
	m.step(func() {
		m.commitAs(a, a.session, []*Run{m.outcome(a.hand[id], func(o *Run) { o.outcome.verb, o.outcome.args = verb, args })})
	})
	m.sleep(2000)
	m.step(func() { m.dueOf(9, 0) })
	m.take(a, 2)
	if verb == Later {
		m.step(func() {
			require.Equal(m.t, []any{"OK"}, m.run(progressScript, a.name, id, `{"fraction":1}`))
			m.spec.Tasks[id].Progress = true
		})
	}
	m.step(func() { require.True(m.t, m.workAs(a, m.done(a.hand[id]), 1)) })
}

// workCases are runs of the flat script that commits and claims.
var workCases = map[string]func(*machine){
	"a commit that has run goes with no new claim": func(m *machine) {
		a := m.worker()
		first, second := m.enqueueOne(1, draft{}), m.enqueueOne(2, draft{})
		m.take(a, 2)
		m.step(func() { require.True(m.t, m.workAs(a, m.done(a.hand[first]), 1)) })
		m.step(func() {
			late := *a.session
			late.commits--
			w, err := late.Work(m.ctx, m.done(a.hand[second]), Ask{Want: 1, AtOnce: 1})
			require.NoError(m.t, err)
			require.False(m.t, w.Claimed)
		})
		m.step(func() { require.True(m.t, m.workAs(a, m.done(a.hand[second]), 1)) })
	},
	"a commit of a task that is not in hand": func(m *machine) {
		a := m.worker()
		mine := m.enqueueOne(1, draft{})
		m.take(a, 1)
		other := m.enqueueOne(2, draft{})
		record, _ := ParseRecord(m.spec.Tasks[other].Record)
		m.step(func() { require.False(m.t, m.workAs(a, m.done(a.hand[mine], Claimed{ID: other, Record: record}), 1)) })
	},
	"what is left of an earlier attempt ends with the task": func(m *machine) { m.endAfter(Later, 1000, "1|0", "{}") },
	"what is left of a snooze ends with the task":           func(m *machine) { m.endAfter(Snooze, 1000, "1|0") },
	"large records come in several replies, also to a flat claim": func(m *machine) {
		a := m.worker()
		var ids []string
		for range 4 {
			ids = append(ids, m.enqueueOne(1, draft{}))
		}
		for range 6 {
			ids = append(ids, m.enqueueOne(strings.Repeat("x", 400<<10), draft{}))
		}
		for _, want := range [][]string{ids[:7], ids[7:]} {
			got, _, err := a.session.Claim(m.ctx, Ask{Want: 10, AtOnce: 10})
			require.NoError(m.t, err)
			var came []string
			for _, c := range got {
				came = append(came, c.ID)
			}
			require.Equal(m.t, want, came)
			require.False(m.t, a.session.Idle(), "there may be more")
		}
	},
	"a lease that has run out": func(m *machine) {
		a := m.worker()
		id := m.enqueueOne(1, draft{})
		m.take(a, 1)
		m.step(func() { m.setLease(a.name, m.spec.Now) })
		m.step(func() { require.False(m.t, m.workAs(a, m.done(a.hand[id]), 1)) })
	},
	"a suspect that is done is announced no more": func(m *machine) {
		a := m.worker()
		id := m.enqueueOne(1, draft{})
		m.take(a, 1)
		m.step(func() { m.soloAs(a, id) })
		m.step(func() { require.False(m.t, m.workAs(a, m.done(a.hand[id]), 1)) })
	},
	"what follows a task that is done": func(m *machine) {
		a := m.worker()
		id := m.enqueueOne(1, draft{})
		m.take(a, 1)
		m.enqueueOne(1, draft{After: []string{id}})
		m.step(func() { require.False(m.t, m.workAs(a, m.done(a.hand[id]), 1)) })
	},
	"somebody waits for a task that is done": func(m *machine) {
		a := m.worker()
		id := m.enqueueOne(1, draft{})
		m.take(a, 1)
		m.awaitAll()
		m.step(func() { require.False(m.t, m.workAs(a, m.done(a.hand[id]), 1)) })
	},
	"a commit forgets what the last one was refused": func(m *machine) {
		a := m.worker()
		mine := m.enqueueOne(1, draft{})
		m.take(a, 1)
		other := m.enqueueOne(2, draft{})
		record, _ := ParseRecord(m.spec.Tasks[other].Record)
		m.step(func() { require.True(m.t, m.commitAs(a, a.session, m.done(Claimed{ID: other, Record: record}))) })
		m.step(func() { require.True(m.t, m.workAs(a, m.done(a.hand[mine]), 1)) })
	},
	"the urgent first": func(m *machine) {
		a := m.worker()
		for _, mark := range []string{LowMark, "", HighMark} {
			m.enqueueOne(1, draft{Mark: mark})
		}
		m.take(a, 3)
	},
	"a task that somebody asked to cancel is done": func(m *machine) {
		a := m.worker()
		id := m.enqueueOne(1, draft{})
		m.take(a, 1)
		m.step(func() {
			m.run(cancelScript, `{"reason":"cancelled"}`, id)
			m.spec.Tasks[id].Asked = true
		})
		m.step(func() { require.True(m.t, m.workAs(a, m.done(a.hand[id]), 1)) })
	},
	"a task behind others wakes nobody": func(m *machine) {
		m.worker()
		m.worker()
		m.enqueueOne(1, draft{})
		m.enqueueOne(2, draft{})
		m.step(func() { m.sendNew("p0", slices.Concat(m.ready(draft{Queue: "a"}), m.ready(draft{Queue: "a"}))) })
	},
	"whoever idles is woken for what is taken over": func(m *machine) {
		a := m.worker()
		m.enqueueOne(1, draft{})
		m.take(a, 1)
		m.worker()
		m.step(func() { m.setLease(a.name, -m.spec.Now) })
		m.step(func() { m.takeOverOf(a, Remains{}) })
	},
	"a flat claim tells of parked tasks": func(m *machine) {
		m.enqueueOne(1, draft{})
		m.ends(Park, "t")
		a := m.worker()
		a.session.parked = nil // as before the first claim
		m.take(a, 1)
		require.True(m.t, a.session.Parked())
	},
}
