package queue

import (
	"fmt"
	"strconv"
	"time"

	"github.com/stretchr/testify/require"
)

// indexMutants are mistakes with the indexes, and with who is responsible for what time moves.
var indexMutants = []mutant{
	{"names", "if redis.pcall('SADD', key('ready'), queue) == 0", "if true"},
	{"names", "local failed = known(queue)", "local failed"},
	{"places", "if length <= #ids then filled(queue) end", ""},
	{"places", "redis.pcall('SREM', key('ready'), queue)", ""},
	{"places", "'LT', 'CH', int(due)", "'CH', int(due)"},
	{"places", "'LT', 'CH', int(due)", "'LT', int(due)"},
	{"places", "== 1 and redis.call('ZRANGE', key('next'), 0, 0)[1] == queue then", "== 1 then"},
	{"clear", "emptied(queue)", ""},
	{"clear", "redis.pcall('ZREM', key('next'), queue)", ""},
	{"due", "if till and responsible ~= mover then", "if till then"},
	{"due", "if till and responsible ~= mover then", "if false then"},
	{"due", "if first then left = math.min(left, first + patience - at) end", ""},
	{"due", "if left > 0 and left <= longest + patience then", "if left > 0 then"},
	{"due", "if left > 0 and left <= longest + patience then", "if left <= longest + patience then"},
	{"due", "left = left - #ids", ""},
	{"due", "if first then redis.call('ZADD', key('next'), int(first), queue) else", "if not first then"},
	{"due", "int(first), queue) else redis.call('ZREM', key('next'), queue) end", "int(first), queue) end"},
	{"due", "      emptied(queue)\n", ""},
	{"due", "if ready[i] == 0 and pending(queue) then", "if false then"},
	{"due", "if ready[i] == 0 and pending(queue) then", "if ready[i] == 0 then"},
	{"due", "      touched[queue] = true\n    end\n  end\n  table", "    end\n  end\n  table"},
	{"due", "for _, queue in ipairs(lacking) do bring(queue) end", ""},
	{"due", "more = more or nextup and nextup <= at\n", ""},
	{"due", "more and 0 or", ""},
	{"due", "math.min(wait or longest, longest)", "(wait or longest)"},
	{"due", "if type(promise) ~= 'table' then", "if promise == false then"},
	{"due", "then touched[queue_of(line)] = true end", "then end"},
	{"claim", "if list and not again and redis.call('EXISTS', key('serves:' .. list)) == 0 then return {'UNKNOWN'} end", ""},
	{"claim", "note('idlers:' .. list)", ""},
	{"claim", "if again or last == 0 or #ARGV > served then return false end", "if last == 0 or #ARGV > served then return false end"},
	{"claim", "if again or last == 0 or #ARGV > served then return false end", "if again or #ARGV > served then return false end"},
	{"claim", "if again or last == 0 or #ARGV > served then return false end", "if again or last == 0 then return false end"},
	{"claim", "return redis.call('SCARD', key('ready')) == 0 end", "return true end"},
	{"claim", "#lines == 0 or redis.call('EXISTS', unpack(lines)) == 0", "true"},
	{"claim", "redis.call('HSET', stream, 'claim', ARGV[2])", ""},
	{"claim", "note_idle(true)", ""},
	{"claim", "{}, {}, {}, 1, int(at)}", "{}, {}, {}, 0, int(at)}"},
	{"claim", "at = -math.log(x / 2147483647) / at", "at = x"},
	{"claim", "  table.sort(order)\n", ""},
	{"claim", "order[#order + 1], names[at] = at, some[i]", "order[#order + 1], names[i] = i, some[i]"},
	{"claim", "names, i, from = {}, 1, from + 100", "names, i, from = {}, 1, from + 101"},
	{"claim", "        emptied(queue)\n", ""},
	{"claim", "      if not pending(queue) then\n        emptied", "      if true then\n        emptied"},
	{"claim", "if gathers or not limit or limit > (hands[queue] or 0) then", "if true then"},
	{"claim", "    if claimable(queue) then wake(queue) end\n", ""},
	{"claim", "list and 'list' or 'queues'", "'queues'"},
	{"names", "if rouse_of('idle:' .. queue) then return end", "rouse_of('idle:' .. queue, queue)"},
	{"names", "    if rouse_of(sets[i]) then return end\n", ""},
	{"names", "    if rouse_of(sets[i]) then return end\n", "    rouse_of(sets[i], queue)\n"},
	{"resign", "redis.call('SREM', key('idlers:' .. list), ARGV[1])", ""},
	{"resign", "    if pending(queue) then wake(queue) end\n  end\n  return", "  end\n  return"},
	{"serve", "if kept[other] then some =", "if false then some ="},
	{"serve", "kept[other] = redis.call('EXISTS', key('serves:' .. other)) == 1", "kept[other] = true"},
	{"serve", ".. list .. ' '\n", ".. list\n"},
	{"serve", "local kept = {[list] = false}", "local kept = {}"},
	{"takeover", "redis.call('SREM', key('idlers:' .. list), incarnation)", ""},
	{"leave", "~= ARGV[1] then", "== ARGV[1] then"},
	{"leave", "redis.call('DEL', key('mover'))", ""},
}

// indexCases are cases as mutantCases.
var indexCases = map[string]func(*machine){
	"a look moves so many tasks of all queues": func(m *machine) {
		for _, queue := range modelQueues {
			m.enqueueOne(1, draft{Queue: queue, In: time.Second})
			m.enqueueOne(1, draft{Queue: queue, In: time.Second})
		}
		m.sleep(2000)
		for range 4 {
			m.step(func() { m.dueAs("m0", "", 3, 9) })
		}
	},
	"a visit wakes for a queue whose wake was lost": func(m *machine) { m.visitWakes(VisitReady, func() {}) },
	"a visit wakes for a queue that it finds": func(m *machine) {
		m.visitWakes(VisitFirst, func() {
			m.draw = func(string, int) int { return 0 }
			m.step(m.loseIndex)
		})
	},
	"a visit finds the queues that have tasks, and no others": func(m *machine) {
		m.enqueueOne(1, draft{})
		m.drop(m.enqueueOne(1, draft{Queue: "b"}))
		m.choose(nil, m.loseIndex)
		m.step(func() { m.dueAs("m0", VisitFirst, 9, 9) })
	},
	"tasks that are moved wake": func(m *machine) {
		m.enqueueOne(1, draft{In: time.Second})
		m.step(m.join)
		m.step(m.claim)
		require.Len(m.t, m.spec.Idle["a"], 1)
		m.sleep(2000)
		m.step(func() { m.dueAs("m0", "", 9, 9) })
		require.Empty(m.t, m.spec.Idle["a"])
	},
	"one node of all lists is woken, and passes on what it leaves": func(m *machine) {
		a, b := m.idleByList("a", "b"), m.idleByList("b", "a")
		idle := func() int { return len(m.spec.Idle["@"+a.session.list]) + len(m.spec.Idle["@"+b.session.list]) }
		require.Equal(m.t, 2, idle())
		m.step(func() { m.sendNew("p0", m.ready(draft{Queue: "a"}, draft{Queue: "a"}, draft{Queue: "a"})) })
		require.Equal(m.t, 1, idle())
		woken := a
		if m.spec.Idle["@"+a.session.list][a.name] {
			woken = b
		}
		m.step(func() { m.claimAs(woken, woken.session, 1) })
		require.Zero(m.t, idle())
	},
	"one node is woken, whether it has a list or names its queues": func(m *machine) {
		listed, named := m.idleByList("a", "b"), m.worker()
		m.enqueueOne(1, draft{})
		require.Len(m.t, m.spec.Idle["@"+listed.session.list], 1)
		require.NotContains(m.t, m.spec.Idle["a"], named.name)
	},
	"a node that ends passes on": func(m *machine) {
		gone := m.idleByList("a", "b")
		m.step(func() { m.resignAs(gone, false) })
		a := m.idleByList("a", "b")
		m.enqueueOne(1, draft{})
		require.Empty(m.t, m.spec.Idle["@"+a.session.list])
		m.step(func() { m.pauseAs("a", true) })
		b := m.idleByList("b", "a")
		m.spec.Settings["a"].Paused = false // by something that wakes nobody
		require.NoError(m.t, m.redis.HDel(m.ctx, m.keys.Settings(), "a").Err())
		m.step(func() { m.resignAs(a, false) })
		require.Empty(m.t, m.spec.Idle["@"+b.session.list])
	},
	"lists that are forgotten": func(m *machine) {
		m.step(m.join)
		a := m.actors[0]
		a.session.cfg.Queues = modelQueues
		for _, list := range []string{"one", "two", "one"} {
			a.session.list = list
			m.step(m.claim)
			for queue := range m.spec.Lists {
				m.spec.Lists[queue] = nil // stored no more
			}
			require.NoError(m.t, m.redis.Del(m.ctx, m.keys.Serves(list)).Err())
		}
		m.step(m.claim)
	},
	"the first of many queues that have tasks": func(m *machine) {
		m.join()
		s := m.actors[0].session
		var all []string
		for i := range 250 {
			all = append(all, fmt.Sprintf("q%03d", 249-i))
		}
		s.cfg.Queues = all
		s.list = listOf(s.cfg)
		claim := func(want int, expected ...string) {
			got, _, err := s.Claim(m.ctx, Ask{Want: want, AtOnce: want})
			require.NoError(m.t, err)
			var queues []string
			for _, c := range got {
				queues = append(queues, c.Record.Queue())
			}
			require.Equal(m.t, expected, queues)
		}
		put := func(queues ...string) {
			for _, q := range queues {
				m.put(q)
			}
		}
		put(all[3:]...) // as many that the list is looked through
		claim(2, all[3:5]...)
		claim(120, all[5:125]...)
		put(all[0])
		claim(2, all[0], all[125])
		claim(200, all[126:]...)
		put(all[200], all[7], all[100])
		claim(9, all[7], all[100], all[200])
		require.Zero(m.t, m.redis.Exists(m.ctx, m.keys.Ready()).Val())
		claim(9)
		put(all[:6]...)
		for _, queue := range all[1:5] { // paused ones keep nobody from being woken for others
			require.NoError(m.t, m.redis.HSet(m.ctx, m.keys.Settings(), queue, "1|0|0|0").Err())
		}
		require.NoError(m.t, m.redis.SAdd(m.ctx, m.keys.Idlers(s.list), "another").Err())
		claim(1, all[0])
		require.False(m.t, m.redis.SIsMember(m.ctx, m.keys.Idlers(s.list), "another").Val())
	},
	"queues by their weights": func(m *machine) {
		m.join()
		s := m.actors[0].session
		s.cfg.Queues = modelQueues
		s.cfg.Weights = map[string]int{"a": 1, "b": 4}
		s.list = listOf(s.cfg)
		first := 0
		for range 500 {
			for _, queue := range modelQueues {
				m.put(queue)
			}
			got, _, err := s.Claim(m.ctx, Ask{Want: 2, AtOnce: 2})
			require.NoError(m.t, err)
			require.Len(m.t, got, 2)
			if got[0].Record.Queue() == "b" {
				first++
			}
		}
		require.InDelta(m.t, 400, first, 50, "four times of five")
	},
	"only the first task of all that is due in 5 s is told": func(m *machine) {
		sub := m.redis.Subscribe(m.ctx, m.keys.Due())
		defer sub.Close()
		_, err := sub.Receive(m.ctx)
		require.NoError(m.t, err)
		for _, in := range []struct {
			queue string
			ms    int64
		}{{"a", 9000}, {"a", 4000}, {"b", 4500}, {"a", 4200}, {"b", 4100}, {"b", 2000}, {"b", 2000}} {
			m.enqueueOne(1, draft{Queue: in.queue, At: m.spec.now().Add(time.Duration(in.ms) * time.Millisecond)})
		}
		require.NoError(m.t, m.redis.Publish(m.ctx, m.keys.Due(), "end").Err())
		for _, want := range []string{strconv.FormatInt(m.spec.Now+4000, 10), strconv.FormatInt(m.spec.Now+2000, 10), "end"} {
			told, err := sub.ReceiveMessage(m.ctx)
			require.NoError(m.t, err)
			require.Equal(m.t, want, told.Payload)
		}
	},
}

// idleByList returns a new node that serves a stored list of queues and idles.
func (m *machine) idleByList(queues ...string) *actor {
	m.step(m.join)
	a := m.actors[len(m.actors)-1]
	a.session.cfg.Queues = queues
	a.session.list = listOf(a.session.cfg)
	m.step(func() { m.claimAs(a, a.session, 1) })
	return a
}

// put has a task stand in a queue, without the spec.
func (m *machine) put(queue string) {
	id := m.ids.Next()
	require.NoError(m.t, m.redis.HSet(m.ctx, m.keys.Tasks(), id, "t|"+queue+"|1|\n1").Err())
	require.NoError(m.t, m.redis.LPush(m.ctx, m.keys.Queue(queue), id).Err())
	require.NoError(m.t, m.redis.SAdd(m.ctx, m.keys.Ready(), queue).Err())
}

// visitWakes has a task wait beside an idle node, then f, then a visit.
func (m *machine) visitWakes(visit string, f func()) {
	m.step(m.join)
	m.step(m.claim)
	m.step(func() { m.pauseAs("a", true) })
	m.enqueueOne(1, draft{})
	f()
	m.spec.Settings["a"].Paused = false // by something that wakes nobody
	require.NoError(m.t, m.redis.HDel(m.ctx, m.keys.Settings(), "a").Err())
	require.Len(m.t, m.spec.Idle["a"], 1)
	m.step(func() { m.dueAs("m0", visit, 9, 9) })
	require.Empty(m.t, m.spec.Idle["a"])
}
