package queue

import (
	"time"

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
	{"turns", "if f[5] == '' then f[5] = '0' end\n", ""},
	{"turns", "if text == '|0|0|0|0||||' then", "if false then"},
	{"turns", "    all_set[queue] = nil\n", ""},
	{"turns", "if not settings(queue).special then note_mark(queue, '1') end", ""},
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
	{"claim", "  if unready[queue] then return end\n", ""},
	{"claim", "redis.call('LPOP', list, 200)", "redis.call('RPOP', list, 200)"},
	{"claim", "    if claimable(ARGV[i]) then wake(ARGV[i]) end\n", "    if pending(ARGV[i]) then wake(ARGV[i]) end\n"},
	{"claim", "  return turns().waits(queue) or fits", "  return fits"},
	{"queue", "if string.find(text, '^%d+|%d+|%d+$') then text = text .. '|0|||' end", ""},
	{"queue", ".. '|' .. (special and '1' or '')", ".. '|'"},
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
	{"claim", "    if #gone > 0 then redis.call('ZREM', groups, unpack(gone)) end\n", ""},
	{"claim", "popped - before >= may or popped == before", "popped == before"},
	{"claim", "popped - before >= may or popped == before", "popped - before >= may"},
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
	{"claim", "if not settings(queue).special then draw(queue, list, true) elseif not draw_parked(queue, 'parked:' .. ARGV[i]) then unready[queue] = true end", "draw(queue, list, true)"},
	{"group", "  there.halted = nil -- it may be there now\n", ""},
	{"claim", "  if room(queue) ~= 0 then confine() end\n", ""},
	{"claim", "t.allowances(queue, {party}, true)[1] - (hands[party] or 0) end", "t.allowances(queue, {party}, true)[1] end"},
	{"claim", "t.allowances(queue, {party}, true)[1] -", "t.allowances(queue, {party})[1] -"},
	{"claim", "not t.held(party) or", "true or"},
	{"claim", " or redis.call('HEXISTS', key('holders'), got[i]) == 1", ""},
	{"claim", "begin[#begin + 1], may[party] = got[i], may[party] - 1", "begin[#begin + 1] = got[i]"},
	{"claim", "          left = true\n", ""},
	{"claim", "left, some = left or took < #begin,", "some ="},
	{"claim", "if limit then n = math.min(n, limit - (hands[queue] or 0)) end", "if limit then n = math.min(n, limit) end"},
	{"claim", "if (places[i] or math.huge) > took then", "if not places[i] then"},
	{"claim", "  for i = 1, #stay / 2 do stay[i], stay[#stay + 1 - i] = stay[#stay + 1 - i], stay[i] end\n", ""},
	{"claim", "  return not left and (whole or unpark(list))\n", "  return not left\n"},
	{"claim", "  return not left and (whole or unpark(list))\n", "  return whole or unpark(list)\n"},
	{"claim", "string.match(record, '^[^|\\n]*|([^|\\n]*)|') or queue, 1) end) or 0", "queue, 1) end) or 0"},
	{"turns", "      if exists('parked') then offer_parked(queue) end\n      return", "      return"},
	{"turns", "    if exists('parked') then offer_parked(queue) end\n    if not stops", "    if not stops"},
	{"turns", "if not stops and not exists('parked') or", "if not stops or"},
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
	"a rate of a queue": func(m *machine) {
		a := m.limited(Limits{Rate: Rate{3, time.Second, 1}})
		ids := m.enqueueMany(6, "")
		require.Equal(m.t, ids[:1], m.take(a, 4))
		m.later(333)
		require.Empty(m.t, m.take(a, 4))
		m.later(1)
		require.Equal(m.t, ids[1:2], m.take(a, 4))
		m.later(5000)
		require.Equal(m.t, ids[2:3], m.take(a, 4), "no more than one at once")
		m.sleep(-60000)
		require.Empty(m.t, m.take(a, 4))
		m.later(334)
		require.Equal(m.t, ids[3:4], m.take(a, 4), "the clock was ahead")
	},
	"a rate that changes while its groups have no tasks": func(m *machine) {
		a := m.limited(Limits{GroupRate: Rate{1, time.Second, 2}})
		x := m.enqueueMany(2, "x")
		require.Equal(m.t, x, m.take(a, 9))
		m.finish(a, x, Done)
		m.visit(VisitFirst) // forgets that the queue has groups
		require.False(m.t, m.spec.Groups.Special["a"])
		m.step(func() { m.limitAs("a", "operator", &Limits{GroupRate: Rate{1, 10 * time.Second, 2}}) })
		x = m.enqueueMany(1, "x")
		require.Empty(m.t, m.take(a, 9), "what it has spent stays spent")
		m.later(9999)
		require.Empty(m.t, m.take(a, 9))
		m.later(1)
		require.Equal(m.t, x, m.take(a, 9))
	},
	"a rate that changes": func(m *machine) {
		a := m.limited(Limits{Rate: Rate{1, time.Second, 4}, GroupRate: Rate{1, time.Second, 2}})
		ids, x := m.enqueueMany(9, ""), m.enqueueMany(9, "x")
		require.Len(m.t, m.take(a, 9), 4)
		for _, paused := range []bool{true, false} {
			m.step(func() { m.pauseAs("a", paused) })
		}
		require.Empty(m.t, m.take(a, 9), "its tokens are spent")
		limit := func(rate, group Rate) {
			m.step(func() { m.limitAs("a", "operator", &Limits{Rate: rate, GroupRate: group}) })
		}
		limit(Rate{1, 10 * time.Second, 4}, Rate{1, 10 * time.Second, 2})
		require.Empty(m.t, m.take(a, 9))
		m.later(9999)
		require.Empty(m.t, m.take(a, 9))
		limit(Rate{1, 100 * time.Millisecond, 4}, Rate{1, 10 * time.Second, 2})
		m.later(1)
		require.Len(m.t, m.take(a, 9), 1)
		limit(Rate{}, Rate{1, 10 * time.Second, 2})
		require.Len(m.t, m.take(a, 20), 7, "of group x as many as may")
		limit(Rate{}, Rate{1, 20 * time.Second, 2})
		require.Empty(m.t, m.take(a, 20))
		limit(Rate{}, Rate{1, time.Second, 2})
		m.later(1000)
		require.Len(m.t, m.take(a, 20), 1)
		m.step(func() { m.sleep(5000) })
		m.step(func() { m.renew(a) })
		limit(Rate{}, Rate{1, 2 * time.Second, 2})
		limit(Rate{}, Rate{})
		m.take(a, 20)
		require.Len(m.t, a.hand, len(ids)+len(x))
		require.Empty(m.t, m.spec.Groups.Rates)
	},
	"a rate with a burst": func(m *machine) {
		a := m.limited(Limits{Rate: Rate{1000, time.Second, 3}, Concurrency: 9})
		ids := m.enqueueMany(9, "")
		require.Equal(m.t, ids[:3], m.take(a, 9))
		m.later(2)
		require.Equal(m.t, ids[3:5], m.take(a, 9))
		m.later(9)
		require.Equal(m.t, ids[5:8], m.take(a, 9))
	},
	"a rate of groups": func(m *machine) {
		a := m.limited(Limits{GroupRate: Rate{1, time.Second, 2}})
		x, y := m.enqueueMany(4, "x"), m.enqueueMany(1, "y")
		require.Equal(m.t, []string{x[0], x[1], y[0]}, m.take(a, 9))
		m.later(999)
		require.Empty(m.t, m.take(a, 9))
		m.later(1)
		require.Equal(m.t, x[2:3], m.take(a, 9))
		m.later(3000)
		m.haltAs("a", "x", true)
		m.step(func() { m.haltAs("a", "x", false) })
		require.Equal(m.t, x[3:], m.take(a, 9))
	},
	"a queue rests": func(m *machine) {
		a := m.worker()
		ids := m.enqueueMany(3, "")
		require.Len(m.t, m.take(a, 1), 1)
		idle := m.worker()
		m.enqueueMany(1, "")
		m.take(idle, 9)
		m.take(idle, 9)
		require.True(m.t, idle.session.idle)
		m.finish(a, ids[:1], Throttle, 1000)
		require.Empty(m.t, m.take(a, 9))
		m.step(func() { m.pauseAs("a", false) })
		require.Equal(m.t, ids[:1], m.take(a, 9))
		m.take(idle, 9)
		m.finish(a, ids[:1], Throttle, 1000)
		m.visit(VisitFirst)
		m.later(999)
		require.Empty(m.t, m.take(a, 9))
		m.later(1)
		require.Equal(m.t, ids[:1], m.take(a, 9))
		m.finish(a, ids[:1], Throttle, 1000)
		m.sleep(1) // it rests for longer already
		m.step(func() { m.setLease(idle.name, m.spec.Now+15000) })
		m.finish(idle, ids[1:2], Throttle, 10)
		m.later(500)
		require.Empty(m.t, m.take(a, 9))
		m.later(500)
		require.Len(m.t, m.take(a, 9), 2)
		m.visit(VisitFirst)
	},
	"a group rests": func(m *machine) {
		a := m.worker()
		x, y := m.enqueueMany(2, "x"), m.enqueueMany(2, "y")
		require.Equal(m.t, []string{x[0], y[0]}, m.take(a, 2))
		m.finish(a, x[:1], Throttle, 1000)
		require.Equal(m.t, y[1:], m.take(a, 9))
		m.later(1000)
		require.Equal(m.t, x, m.take(a, 9))
		m.finish(a, x[:1], Throttle, 1000)
		m.step(func() { m.haltAs("a", "x", false) })
		require.Equal(m.t, x[:1], m.take(a, 9))
		m.visit(VisitFirst)
		m.visit(VisitFirst)
	},
	"parked tasks are offered when they may begin": func(m *machine) {
		a := m.limited(Limits{PerGroup: 1, Rate: Rate{1, time.Second, 2}})
		x := []string{m.enqueueOne(1, draft{Group: "x", Name: "u"}), m.enqueueOne(1, draft{Group: "x", Name: "u"})}
		for _, id := range x {
			require.Equal(m.t, []string{id}, m.take(a, 1))
			m.finish(a, []string{id}, Park, "u")
		}
		a.session.cfg.Handles = func(string) bool { return true }
		m.take(a, 9) // learns of them
		wakes := func(f func()) {
			sub := m.redis.Subscribe(m.ctx, m.keys.Wake(a.name))
			defer sub.Close() //nolint:errcheck // it has told what it had to
			_, err := sub.Receive(m.ctx)
			require.NoError(m.t, err)
			f()
			_, err = sub.ReceiveTimeout(m.ctx, time.Second)
			require.NoError(m.t, err)
		}
		require.Empty(m.t, m.take(a, 9), "no token is left")
		wakes(func() { m.later(1000) })
		require.Equal(m.t, x[:1], m.take(a, 9))
		m.later(1000)
		require.Empty(m.t, m.take(a, 9), "one runs")
		wakes(func() { m.finish(a, x[:1], Done) })
		require.Equal(m.t, x[1:], m.take(a, 9))
	},
	"a parked task of a group": func(m *machine) {
		a := m.limited(Limits{PerGroup: 1})
		id, other := m.enqueueOne(1, draft{Group: "x", Name: "u"}), m.enqueueOne(1, draft{Group: "x", Name: "u"})
		for _, id := range []string{id, other} {
			m.take(a, 1)
			m.finish(a, []string{id}, Park, "u")
		}
		m.visit(VisitFirst)
		a.session.cfg.Handles = func(string) bool { return true }
		m.take(a, 9) // learns of them
		require.Equal(m.t, []string{id}, m.take(a, 9))
		m.finish(a, []string{id}, Done)
		require.Equal(m.t, []string{other}, m.take(a, 9))
	},
	"a task of a group is parked when nothing else is left of groups": func(m *machine) {
		a := m.worker()
		id := m.enqueueOne(0, draft{Group: "x", Name: "u"})
		require.Equal(m.t, []string{id}, m.take(a, 1))
		m.visit(VisitFirst) // forgets that the queue has groups
		m.finish(a, []string{id}, Park, "u")
	},
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
	"a queue with a rate has fewer places than tokens": func(m *machine) {
		a := m.limited(Limits{Rate: Rate{1000, time.Second, 9}, Concurrency: 2})
		m.enqueueMany(5, "")
		require.Len(m.t, m.take(a, 9), 2)
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
	"limits of an operator and of a program": func(m *machine) {
		for _, step := range []struct {
			verb string
			l    *Limits
		}{{"program", &Limits{Concurrency: 1}}, {"operator", &Limits{Concurrency: 2}}, {"reset", &Limits{}}, {"reset", &Limits{}}} {
			m.step(func() { m.limitAs("a", step.verb, step.l) })
		}
	},
	"limits of an older program": func(m *machine) {
		a := m.worker()
		require.NoError(m.t, m.redis.HSet(m.ctx, m.keys.Settings(), "a", "|3|0|0", "a|program", "3|0|0").Err())
		m.store.OnEnd = nil
		id := m.ready(draft{Queue: "a", Group: "x", Payload: 1})[0]
		_, err := m.try(m.senders["p0"].producer, &batch{number: 1, parts: []*submission{{
			ctx: m.ctx, caller: m.senders["p0"].producer.Caller(m.ctx, errClosed), tasks: []Task{id}, done: make(chan struct{}),
		}}}, nil, nil)
		require.NoError(m.t, err)
		require.Equal(m.t, "|3|0|0|0||||1", m.redis.HGet(m.ctx, m.keys.Settings(), "a").Val())
		got, _, err := a.session.Claim(m.ctx, Ask{Want: 1, AtOnce: 1})
		require.NoError(m.t, err)
		require.Len(m.t, got, 1)
		set, err := m.store.SetQueue(m.ctx, "a", "pause", "")
		require.NoError(m.t, err)
		require.Equal(m.t, Settings{Paused: true, Limits: Limits{Concurrency: 3}}, set)
	},
	"the movers are told of a rest": func(m *machine) {
		a := m.worker()
		sub := m.redis.Subscribe(m.ctx, m.keys.Due())
		defer func() { _ = sub.Close() }()
		_, err := sub.Receive(m.ctx)
		require.NoError(m.t, err)
		ids := m.enqueueMany(1, "")
		m.take(a, 1)
		m.finish(a, ids, Throttle, 1000)
		message, err := sub.ReceiveTimeout(m.ctx, time.Second)
		require.NoError(m.t, err, "%v", message)
	},
}
