package queue

import (
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
)

// Mistakes with payloads that have keys of their own.
var bodyMutants = []mutant{
	{"adding", "    redis.call('PERSIST', name)\n", ""},
	{"adding", "    redis.call('HSET', key('bodies'), id, body)\n", ""},
	{"adding", "elseif redis.call('PTTL', name) >= 0 then", "else"},
	{"adding", "    redis.call('UNLINK', name)\n", ""},
	{"adding", "redis.call('STRLEN', body) == bytes", "true"},
	{"adding", "redis.call('STRLEN', body) == bytes", "redis.call('STRLEN', body) > 0"},
	{"adding", "settle(group.body, fresh[1])", "settle(group.body)"},
	{"adding", "settle(group.body, fresh[1])", "settle(group.body, ARGV[group.first])"},
	{"adding", "local more = group.body and select(2, body_of(group.body)) or 0", "local more = 0"},
	{"adding", "#record + more, rest", "#record, rest"},
	{"adding", "weight = weight + #record + more", "weight = weight + #record"},
	{"claim", "key('deadlines'), key('bodies'))", "key('deadlines'))"},
	{"claim", "#record + (bodies and bodies[i] and select(2, body_of(bodies[i])) or 0)", "#record"},
	{"commit", "  disembody(gone)\n", ""},
	{"commit", "    disembody({id})\n", ""},
	{"effects", "not embodied(group) and 'EXPIRED' or nil", "nil"},
	{"effects", "withhold(e + 1)", ""},
	{"endings", "  disembody({id})\n", ""},
	{"enqueue", "  if not embodied(group) then return {'EXPIRED'} end\n", ""},
	{"moving", "(body and select(2, body_of(body)) or 0)", "0"},
	{"ties", "      if body then redis.call('UNLINK', (body_of(body))) end\n", ""},
	{"ties", "    redis.call('HDEL', key('bodies'), unpack(some))\n", ""},
	{"weigh", "(large and size_of(id) or length)", "length"},
	{"work", "key('parked'), key('bodies'), ", "key('parked'), "},
	{"work", "      if body then redis.call('UNLINK', key('body:' .. string.match(body, '^%w+'))) end\n", ""},
	{"work", "    redis.call('HDEL', key('bodies'), unpack(ids))\n", ""},
	{"work", "          if bodies and bodies[j] then bytes = bytes + tonumber(string.match(bodies[j], '%d+$')) end\n", ""},
}

// claimsLarge has large bodies come in several claims.
func (m *machine) claimsLarge(a *actor) {
	var ids []string
	for range 4 {
		ids = append(ids, m.enqueueOne(1, draft{}))
	}
	for range 6 {
		ids = append(ids, m.enqueueOne(strings.Repeat("x", 400<<10), draft{Large: true}))
	}
	for _, want := range [][]string{ids[:7], ids[7:]} {
		got, _, err := a.session.Claim(m.ctx, 10, false)
		require.NoError(m.t, err)
		var came []string
		for _, c := range got {
			came = append(came, c.ID)
			require.Equal(m.t, m.spec.Tasks[c.ID].Payload, string(c.Record.Payload))
		}
		require.Equal(m.t, want, came)
	}
}

// bare returns the reply of a script that stores tasks whose bodies are not there, or are other ones.
func (m *machine) bare(there string, script *link.Script, some Task, args ...any) []any {
	if there != "" {
		require.NoError(m.t, m.redis.Set(m.ctx, m.keys.Body(some.body.name), there, time.Minute).Err())
	}
	reply, err := script.Run(m.ctx, m.redis, []string{m.keys.Tasks()}, args...).Slice()
	require.NoError(m.t, err)
	return reply
}

// bodyCases are runs with payloads that have keys of their own.
var bodyCases = map[string]func(*machine){
	"large bodies come in several claims": func(m *machine) {
		m.join()
		m.claimsLarge(m.actors[0])
	},
	"large bodies come in several claims, also flat ones": func(m *machine) { m.claimsLarge(m.worker()) },
	"no task is stored without its body": func(m *machine) {
		some := m.ready(draft{Queue: "a", Payload: "large", Large: true})[0]
		for _, there := range []string{"", "short"} {
			args := append([]any{"p0", 1, "", "", 1000}, some.alone()...)
			require.Equal(m.t, []any{"EXPIRED"}, m.bare(there, enqueueScript, some, args...))
			m.step(func() {})
		}
		m.redis.Del(m.ctx, m.keys.Body(some.body.name))
		id := m.enqueueOne(1, draft{})
		m.takeAll()
		a := m.actors[len(m.actors)-1]
		for range 2 {
			m.step(func() {
				run := m.outcome(a.hand[id], func(o *Run) {
					o.outcome.verb, o.outcome.args, o.outcome.effects = Done, []any{"", "", ""}, []Effect{EnqueueEffect(some)}
				})
				i := m.spec.Incarnations[a.name]
				i.Commit++
				a.session.commits++
				refused := "1=EXPIRED"
				i.Refused = &refused
				args, _ := commitArguments([]*Run{run}, nil)
				reply := m.bare("", commitScript, some, append([]any{a.name, i.Commit}, args...)...)
				require.Equal(m.t, []any{"OK", int64(1), "EXPIRED"}, reply)
			})
		}
	},
	"a refused run stores no body": func(m *machine) {
		id := m.enqueueOne(1, draft{})
		m.takeAll()
		a := m.actors[len(m.actors)-1]
		m.step(func() {
			run := m.outcome(a.hand[id], func(o *Run) {
				alien := NewEffect("increment", m.cache.EntryKey("list"), m.cache.LockKey("list"), "", 1)
				follow := m.ready(draft{Queue: "a", Payload: "large", Large: true})[0]
				o.outcome.verb, o.outcome.args, o.outcome.effects = Done, []any{"", "", ""}, []Effect{alien, EnqueueEffect(follow)}
			})
			m.commitAs(a, a.session, []*Run{run})
		})
		require.Equal(m.t, stateActive, m.spec.Tasks[id].State)
	},
	"a copy that comes when its producer is forgotten": func(m *machine) {
		m.enqueueOne("large", draft{ID: "c1", Large: true})
		m.step(func() {
			require.NoError(m.t, m.redis.Del(m.ctx, m.keys.Producer("p0")).Err())
			delete(m.spec.Producers, "p0")
		})
		m.step(func() { m.send("p0", 1, nil, false) })
		require.Equal(m.t, "1 taken", m.spec.Producers["p0"].States[1])
	},
	"a copy that comes when its task is gone": func(m *machine) {
		id := m.enqueueOne("large", draft{Large: true})
		name := m.spec.Tasks[id].Body.Name
		m.drop(id)
		m.step(func() { m.send("p0", 1, nil, false) })
		left := m.redis.PTTL(m.ctx, m.keys.Body(name)).Val()
		require.True(m.t, left >= 0 && left <= bodyExpiry, "%s", left)
	},
	"Redis forgets the scripts": func(m *machine) {
		require.NoError(m.t, m.redis.ScriptFlush(m.ctx).Err())
		m.enqueueOne("large", draft{Large: true})
		require.NoError(m.t, m.redis.ScriptFlush(m.ctx).Err())
		m.takeAll()
	},
	"bytes of large payloads": func(m *machine) {
		large := func(bytes int) draft {
			return draft{Queue: "a", Payload: strings.Repeat("x", bytes), Large: true}
		}
		m.step(func() { m.sendNew("p0", m.ready(large(100))) })
		m.choose(map[string]int{"who": 1, "bytes": 3}, m.limit)
		for range 9 {
			m.choose(nil, m.weigh)
		}
		m.step(func() { m.sendNew("p0", m.ready(large(200), large(10))) }) // the first is too large
		m.step(func() { m.sendNew("p0", m.ready(large(60), draft{Queue: "a", Payload: strings.Repeat("x", 60)})) })
		m.ends(Done)
		small := draft{Queue: "a", Payload: strings.Repeat("x", 160)}
		m.step(func() { m.sendNew("p0", m.ready(small, small)) }) // there is room for one
		require.Len(m.t, m.spec.Lines["a"], 1)
	},
	"a large task that is kept, and forgotten": func(m *machine) {
		m.enqueueOne("large", draft{Large: true, ID: "c1"})
		m.ends(Done, 9000, 5000, "1")
		m.sleep(6000)
		m.step(func() { m.dueOf(9, 9) })
		m.enqueueOne("large", draft{Large: true, ID: "c2"})
		m.ends(Done, 9000, "", "")
	},
	"a large task of a flat commit": func(m *machine) {
		a := m.worker()
		id := m.enqueueOne("large", draft{Large: true})
		m.take(a, 1)
		m.step(func() { require.True(m.t, m.workAs(a, m.done(a.hand[id]), 1)) })
		id = m.enqueueOne("large", draft{Large: true})
		m.take(a, 1)
		m.step(func() { m.commitAs(a, a.session, m.done(a.hand[id])) })
	},
	"a body that is gone": func(m *machine) {
		id := m.enqueueOne("large", draft{Large: true})
		m.join()
		require.NoError(m.t, m.redis.Del(m.ctx, m.keys.Body(m.spec.Tasks[id].Body.Name)).Err())
		got, _, err := m.actors[0].session.Claim(m.ctx, 1, false)
		require.NoError(m.t, err)
		require.ErrorIs(m.t, got[0].Malformed, errNoBody)
	},
}
