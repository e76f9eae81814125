package queue

import (
	"github.com/stretchr/testify/require"
)

// turnMutants are mistakes with groups and rates.
var turnMutants = []mutant{
	{"line", "if slash then return string.sub(line, 1, slash - 1) end", ""},
	{"places", "if string.find(line, '/', 1, true) then return turns().push(line, ids, command) end", ""},
	{"places", "key('queue:' .. queue .. '~'), key('groups:' .. queue)) > 0", "key('queue:' .. queue .. '~')) > 0"},
	{"places", "if set.paused or set.special and turns().rests(queue) then", "if set.paused then"},
	{"places", "free and may and math.min(free, may) or free or may", "free and may and math.min(free, may) or free"},
	{"places", "free and may and math.min(free, may) or free or may", "free or may"},
	{"places", "free and may and math.min(free, may) or free or may", "may or free"},
	{"places", "  hands[party] = (hands[party] or 0) + n\n", ""},
	{"places", "  if n < 0 then freed[#freed + 1] = party end\n", ""},
	{"places", "{interval = us / tasks,", "{interval = math.floor(us / tasks / 1000) * 1000,"},
	{"turns", "f[1] and table.concat(f, '|', 2, 8) or no_limits", "no_limits"},
	{"places", "if text == '|' .. no_limits .. '|' then", "if false then"},
	{"places", "  all_set[queue] = nil\n", ""},
	{"turns", "if not settings(queue).special then note_mark(queue, true) end", ""},
	{"turns", "      if string.match(list, '^([^|]*)|') == queue then return end\n", ""},
	{"turns", "redis.call('EXISTS', key('groups:' .. queue), key('returned'))", "redis.call('EXISTS', key('returned'))"},
	{"turns", "key('returned')) == 0 and not redis.call('ZSCORE', key('resting'), queue)", "key('returned')) == 0"},
	{"turns", "time_of('resting', party) > now()", "time_of('resting', party) > now() + 1000"},
	{"turns", "      full = latest\n", ""},
	{"turns", "      redis.pcall('ZADD', key('rates'), int(full), party)\n", ""},
	{"turns", "math.floor((at - full) / rate.interval + rate.burst + 1e-7)", "math.ceil((at - full) / rate.interval + rate.burst)"},
	{"turns", "rate.interval + rate.burst + 1e-7)", "rate.interval + rate.burst + 1)"},
	{"turns", "if redis.call('ZRANGE', key(name), 0, 0)[1] == party then announce(time) end", ""},
	{"turns", "full = full + math.ceil(n * rate.interval)", "full = full + math.ceil(rate.interval)"},
	{"turns", "if had <= n then", "if false then"},
	{"turns", "math.min(full, at + 4000)", "at + 4000"},
	{"turns", "if halted[i] == 1 or", "if"},
	{"turns", "(tonumber(resting[i] or 0) or 0) > now() then n = 0", "false then n = 0"},
	{"turns", "set.per_group - count_of(active[i])", "set.per_group"},
	{"turns", "n = math.min(n, (t.tokens(party, set.group_rate)))", "t.tokens(party, set.group_rate)"},
	{"turns", "(settings(queue_of(party)).strict and counted('held', party) > 0", "(counted('held', party) > 0"},
	{"turns", " or counted('held', party .. '!') > 0)", ")"},
	{"turns", "redis.call('LLEN', key('queue:' .. party .. '!')) or 0", "0 or 0"},
	{"turns", "if not parked and n > 0 and t.held(party)", "if false"},
	{"turns", "if not parked and n > 0 and t.held(party)", "if n > 0 and t.held(party)"},
	{"turns", "return tonumber(last[2]) or 0", "return 0"},
	{"turns", "if pending(queue) then touched[queue] = true end", ""},
	{"turns", "turn and tonumber(turn) >= t.stopped", "turn"},
	{"turns", " or t.allowances(queue, {party}, not stops)[1] == 0 then return end", " then return end"},
	{"turns", "    t.place(queue, group)\n    touched[queue] = true\n", "    t.place(queue, group)\n"},
	{"turns", "    for _, group in ipairs(some) do t.offer(queue .. '/' .. group) end\n", ""},
	{"turns", "if n > 0 and count('grouped', queue, -n) == 0 then redis.call('HDEL', key('grouped'), queue) end", ""},
	{"turns", "redis.call('ZREM', key('groups:' .. queue), group_of(party))", ""},
	{"turns", "if redis.call('HEXISTS', key('holders'), id) == 1 then back", "if false then back"},
	{"turns", "    t.mark(queue)\n    if redis.call('ZSCORE'", "    if redis.call('ZSCORE'"},
	{"turns", "      if #back > 0 then t.offer(party) end\n", ""},
	{"turns", "    filled(queue)\n", ""},
	{"turns", "local stops = t.allowance(party) == 0", "local stops = false"},
	{"turns", "    return not stops\n", "    return false\n"},
	{"turns", "if time_of('resting', party) < time then", "if true then"},
	{"turns", "    if not group then\n      t.mark(queue)\n    elseif", "    if group and"},
	{"turns", "      t.place(queue, group, true)\n    end\n  end\n\n  -- Has a task", "    end\n  end\n\n  -- Has a task"},
	{"turns", "if redis.call('HSETNX', key('holders'), id, party) == 0 then return end", "redis.call('HSET', key('holders'), id, party)"},
	{"turns", "if count('held', party, -1) <= 0 then redis.call('HDEL', key('held'), party) end", "redis.call('HDEL', key('held'), party)"},
	{"turns", "redis.call('HDEL', key('held'), party) end\n    t.offer(t.party(party))", "redis.call('HDEL', key('held'), party) end"},
	{"endings", "    if exists('holders') then turns().let_go(id) end\n", ""},
	{"ties", " or exists('holders')", ""},
	{"commit", "elseif settings(queue).strict and party then", "elseif party then"},
	{"commit", "elseif settings(queue).strict and party then", "elseif false then"},
	{"commit", "      turns().rest(party or queue, at + tonumber(ARGV[a]))\n", ""},
	{"commit", "      tally(queue, 'throttled', 1)\n", ""},
	{"queue", "if not paused and redis.call('ZREM', key('resting'), queue) == 1 then offers = true end", ""},
	{"queue", "if text ~= was or offers then", "if text ~= was then"},
	{"queue", " == 0 then redis.call('HDEL', key('settings'), queue .. '|program') end", " == 0 then end"},
	{"queue", "if redis.call('HDEL', key('settings'), queue .. '|operator') == 0 then redis", "redis.call('HDEL', key('settings'), queue .. '|operator') if true then redis"},
	{"group", "  if verb == 'resume' then redis.call('ZREM', key('resting'), party) end\n", ""},
	{"commit", "turns().rest(party or queue,", "turns().rest(queue,"},
	{"finding", "    if party then turns().left(party, 1) end\n", ""},
	{"finding", " or party and redis.call('LREM', key('queue:' .. party .. '!'), -1, id) > 0", ""},
	{"due", "    redis.call('ZREM', key(name), party)\n", ""},
	{"due", "    turns().offer(party)\n", ""},
	{"due", "'ZRANGEBYSCORE', key(name), '-inf', int(at), 'LIMIT', 0, 100) or {}", "'ZRANGEBYSCORE', key(name), '-inf', int(at - 1), 'LIMIT', 0, 100) or {}"},
	{"due", "if time then first = math.min(first or time, time) end", ""},
	{"due", "if settings(queue).special and offers > 0 then offers = offers - turns().mend(queue, offers) end", ""},
	{"due", "if settings(names[i]).special then turns().unmark(names[i]) end", ""},
	{"group", "redis.call(verb == 'pause' and 'SADD' or 'SREM', key('halted'), party)", "redis.call('SADD', key('halted'), party)"},
	{"group", "if waits and verb == 'pause' then t.place(queue, group, true) else", "if verb ~= 'pause' then"},
	{"group", "flush()\n", ""},
	{"queue", "and (special or exists('rates')) and '=' .. (old_words[8] or '') or ''", "and '' or ''"},
	{"queue", "(special or exists('rates'))", "special"},
	{"queue", "(special or exists('rates'))", "exists('rates')"},
	{"queue", "'=' .. (old_words[8] or '')", "'='"},
	{"queue", "(differs(5) or", "(false or"},
	{"queue", "or differs(8))", ")"},
	{"turns", "(full - at) * rate.interval / old.interval)", "(full - at))"},
	{"turns", "    redis.call('ZREM', key('refills'), party)\n    if not rate", "    if not rate"},
	{"turns", "    t.spend(party, rate, 0, words)\n    redis.call('ZADD', key('rates'), unpack(words))\n", ""},
	{"turns", "if not rate then return redis.call('ZREM', key('rates'), party) end", "if not rate then return end"},
	{"turns", "    if full <= at then return end\n", ""},
	{"queue", "or differs(6) or", "or"},
	{"queue", "if differs(7) and exists('rates')", "if false"},
	{"group", "if old and exists('rates') then t.rescale(party, rate_of(old), settings(queue).group_rate) end", ""},
	{"group", "  if verb == 'pause' then known(queue) end\n", ""},
	{"due", "if exists('rates') then over('rates', at * 1000) end", ""},
	{"clear", "    if exists(name) then redis.call('ZREM', key(name), queue) end\n", ""},
	{"clear", "  if settings(queue).special then turns().unmark(queue) end\n", ""},
	{"commit", "if string.find(line_of(record) or '', '/', 1, true) then turns().mark(queue) end", ""},
	{"edit", "if string.find(other, '/', 1, true) then turns().mark(queue) end", ""},
	{"claim", "  if not parked then hand(party, found) end\n", "  hand(party, found)\n"},
	{"claim", "local seen = parked and function", "local seen = false and function"},
	{"claim", "    if claimable(ARGV[i]) then wake(ARGV[i]) end\n", "    if pending(ARGV[i]) then wake(ARGV[i]) end\n"},
	{"claim", "  return turns().waits(queue) or fits", "  return fits"},
	{"places", "older and older .. '|0|||' or text", "text"},
	{"places", ".. '|' .. (special and '1' or '')", ".. '|'"},
	{"adding", "if settings(queue).special then n = n + counted('grouped', queue) end", ""},
	{"clear", "  turns().left(party, #ids - before)\n", ""},
	{"clear", "    if fits(key('queue:' .. party .. mark), 'list') then gather('queue:' .. party .. mark) end\n", ""},
	{"show", "    position = '0'\n    return 'pending'\n", "    return 'parked'\n"},
	{"show", "ipairs(party and turns().marks or {'^', '', '~'})", "ipairs({'^', '', '~'})"},
	{"claim", "  want, confined = at_once, true\n", "  want = at_once\n"},
	{"claim", "if settings(queue).rate and redis.call('EXISTS', list) == 1 and room(queue) > 0 then confine() end", ""},
	{"claim", "    and not redis.call('ZSCORE', groups, '') then t.place(queue, '') end", "    and false then t.place(queue, '') end"},
	{"claim", "    confine()\n    if n <= 0", "    if n <= 0"},
	{"claim", "or 0, may, some, 500)", "or 0, some, 500)"},
	{"claim", "math.floor(n / #round))", "n)"},
	{"claim", "    if may <= 0 or n <= 0 and confined then break end\n", "    if n <= 0 and confined then break end\n"},
	{"claim", "mark == '' or mark == '~' or marked(plain, mark) > 0", "mark == '' or mark == '~'"},
	{"claim", "all_wait = {}, {}, marked(plain, '') == #plain", "all_wait = {}, {}, true"},
	{"claim", "all_wait = {}, {}, marked(plain, '') == #plain", "all_wait = {}, {}, marked(plain, '') > 0"},
	{"claim", "    turned[queue] = nil\n", ""},
	{"turns", "rates[party] = tonumber(times[i] or 0) or 0", "rates[party] = 0"},
	{"places", "  rated = rated or all_set[queue].rate ~= nil or all_set[queue].group_rate ~= nil\n", "  rated = rated or all_set[queue].rate ~= nil\n"},
	{"places", "  rated = rated or all_set[queue].rate ~= nil or all_set[queue].group_rate ~= nil\n", "  rated = rated or all_set[queue].group_rate ~= nil\n"},
	{"places", "  rated = rated or all_set", "  rated = all_set"},
	{"claim", "allowed[i] - (hands[party] or 0)", "allowed[i]"},
	{"claim", "if party ~= queue then hands[party], grouped = (hands[party] or 0) + got, grouped + left end", "hands[party], grouped = (hands[party] or 0) + (party ~= queue and got or 0), grouped + left"},
	{"claim", "  if grouped > 0 and count('grouped', queue, -grouped) == 0 then redis.call('HDEL', key('grouped'), queue) end\n", ""},
	{"claim", "    for back = #ids, took + 1, -1 do redis.call('RPUSH', lines[back], ids[back]) end\n", ""},
	{"claim", "ipairs(exists('holders') and t.marks or marks)", "ipairs(marks)"},
	{"claim", "      if seen then seen(i, record) end\n", ""},
	{"claim", "turn, turned[queue] = turn + 1, true", "turned[queue] = true"},
	{"claim", "local stop = stops[i] and took >= ends[i]", "local stop = stops[i]"},
	{"claim", "popped - before >= may or popped == before", "popped == before"},
	{"claim", "return sound and draw_turns(queue) end", "if sound then draw_turns(queue) end end"},
	{"places", "then there[kinds[i]] = kind ~= 'none' end", "then there[kinds[i]] = false end"},
	{"places", "if kind ~= 'none' then left = left - 1 end", "if kind ~= 'none' then left = 0 end"},
	{"places", "if not sound then return key(kinds[i]) end", "if not sound then return end"},
	{"places", "if sum == 0 then gone[#gone + 1] = field else", "if false then gone[#gone + 1] = field else"},
	{"places", "local sum = count_of(text) + sums[field]", "local sum = sums[field]"},
	{"places", "if text and text ~= '0' and count_of(text) == 0 then alien(name) end", ""},
	{"claim", "local spent = {}\n", "local spent = {}\nif again then redis.call('DEL', key('rates')) end\n"}, // tokens are given back on a repeated request
	{"claim", "if rate and n > 0 then turns().spend(party, rate, n, spent) end", ""},
	{"claim", "local rate = grouped and set.group_rate or not grouped and set.rate", "local rate = set.rate"},
	{"claim", "      push(line, {id}, 'RPUSH')\n", "      push(line, {id})\n"},
	{"claim", "idle and 1 or confined and 3 or 0", "idle and 1 or 0"},
	{"edit", "if other ~= party and exists('holders') then turns().let_go(id) end\n", ""},
	{"edit", "(ARGV[5] ~= '=' and ARGV[5] or string.sub(party, #old + 1))", "string.sub(party, #old + 1)"},
	{"edit", "(ARGV[5] ~= '=' and ARGV[5] or string.sub(party, #old + 1))", "(ARGV[5] ~= '=' and ARGV[5] or '')"},
	{"edit", "string.sub(line, #party + 1)", "string.sub(line, #old + 1)"},
}

// limited has queue a limits, and a worker, and returns that.
func (m *machine) limited(l Limits) *actor {
	a := m.worker()
	m.step(func() { m.limitAs("a", "operator", &l) })
	return a
}

// enqueueMany stores n tasks of queue a and returns their ids.
func (m *machine) enqueueMany(n int, group string) (ids []string) {
	for range n {
		ids = append(ids, m.enqueueOne(1, draft{Group: group}))
	}
	return ids
}

// woken returns a live worker that does not idle.
func (m *machine) woken() *actor {
	for _, a := range m.actors {
		if !m.spec.Idle["a"][a.name] && m.spec.Incarnations[a.name].Deadline > 0 && len(a.hand) == 0 {
			return a
		}
	}
	require.Fail(m.t, "all idle")
	return nil
}

// finish ends tasks that a worker has in hand.
func (m *machine) finish(a *actor, ids []string, verb Verb, args ...any) {
	m.step(func() {
		var batch []*Run
		for _, id := range ids {
			batch = append(batch, m.outcome(a.hand[id], func(o *Run) { o.outcome.verb, o.outcome.args = verb, args }))
		}
		m.commitAs(a, a.session, batch)
	})
}

// look has the movers look after some time.
func (m *machine) later(ms int64) {
	m.sleep(ms)
	m.step(func() { m.renew(m.actors[len(m.actors)-1]) })
	m.step(func() { m.dueAs("m0", "", 9, 100) })
}

// visit has the movers visit queues.
func (m *machine) visit(visit string) { m.step(func() { m.dueAs("m0", visit, 9, 100) }) }

// turnCases are what the model meets too seldom.
var turnCases = map[string]func(*machine){
	"a claim of groups leaves the places of a queue to others": func(m *machine) {
		a := m.limited(Limits{Concurrency: 3})
		m.enqueueMany(2, "x")
		m.enqueueMany(2, "y")
		require.Len(m.t, m.take(a, 9), 3)
	},
	"a claim that leaves only stopped groups wakes nobody": func(m *machine) {
		m.limited(Limits{PerGroup: 1})
		m.worker()
		m.step(func() { m.sendNew("p0", m.ready(draft{Queue: "a", Group: "x"}, draft{Queue: "a", Group: "x"})) })
		require.Len(m.t, m.spec.Idle["a"], 1)
		m.take(m.woken(), 1)
		require.Len(m.t, m.spec.Idle["a"], 1)
	},
	"a claim of several rounds that leaves only stopped groups wakes nobody": func(m *machine) {
		m.limited(Limits{PerGroup: 2})
		m.worker()
		m.step(func() {
			m.sendNew("p0", m.ready(draft{Queue: "a", Group: "x"}, draft{Queue: "a", Group: "x"}, draft{Queue: "a", Group: "x"}, draft{Queue: "a", Group: "y"}))
		})
		require.Len(m.t, m.take(m.woken(), 3), 3)
		require.Len(m.t, m.spec.Idle["a"], 1)
	},
	"a claim that is full wakes another for the tasks without a group of a queue that it did not reach": func(m *machine) {
		a := m.worker()
		m.step(func() { m.limitAs("b", "operator", &Limits{PerGroup: 1}) })
		m.step(func() { m.sendNew("p0", m.ready(draft{Queue: "b", Group: "x"}, draft{Queue: "b", Group: "x"})) })
		m.take(a, 1)
		b, c := m.idleByList("a", "b"), m.idleByList("a", "b")
		m.step(func() { m.pauseAs("b", true) })
		m.enqueueOne(1, draft{Queue: "b"})
		set := m.spec.Settings["b"]
		set.Paused = false // by something that wakes nobody
		require.NoError(m.t, m.redis.HSet(m.ctx, m.keys.Settings(), "b", set.String()+"1").Err())
		m.enqueueOne(1, draft{Queue: "a"})
		idle := m.spec.Idle["@"+b.session.list]
		require.Len(m.t, idle, 1)
		if idle[b.name] {
			b = c
		}
		m.take(b, 1)
		require.Empty(m.t, m.spec.Idle["@"+b.session.list])
	},
	"a task changes its group": func(m *machine) {
		a := m.limited(Limits{PerGroup: 1, Strict: true})
		x := m.enqueueMany(3, "x")
		edit := func(id string, e edition) { m.step(func() { m.editAs(id, e) }) }
		require.Equal(m.t, x[:1], m.take(a, 9))
		m.finish(a, x[:1], Later, 1000, "1|0", `{}`)
		edit(x[0], edition{"", "y", "=", "", false})
		require.Equal(m.t, x[1:2], m.take(a, 9))
		edit(x[2], edition{"", "=", HighMark, "", false})
		edit(x[2], edition{"", "=", "=", "3", false})
		edit(x[2], edition{"b", "=", "=", "", false})
		edit(x[2], edition{"a", "", "=", "", false})
		m.later(1000)
		require.ElementsMatch(m.t, []string{x[0], x[2]}, m.take(a, 9))
	},
}
