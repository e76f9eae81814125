package queue

import "github.com/stretchr/testify/require"

// bulkMutants are mistakes with batches whose records are ready.
var bulkMutants = []mutant{
	{"bulk", "math.abs(at - ARGV[7]) > 1000", "at - ARGV[7] > 1000"},
	{"bulk", "math.abs(at - ARGV[7]) > 1000", "ARGV[7] - at > 1000"},
	{"bulk", "math.abs(at - ARGV[7]) > 1000", "math.abs(at - ARGV[7]) >= 1000"},
	{"bulk", " or redis.call('HGET', key('settings'), queue)", ""},
	{"bulk", "'stats', 'hash', 'queue:' .. line, 'list'}", "'stats', 'hash'}"},
	{"bulk", "redis.call('SET', producer, remembered .. ';', 'PX', ARGV[5])", ""},
	{"bulk", "remembered .. ';'", "ARGV[2] .. '|' .. ARGV[2] .. ':;'"},
	{"bulk", "redis.call('LPUSH',", "redis.call('RPUSH',"},
	{"bulk", "redis.call('HSET', key('tasks'), unpack(ARGV, 8, #ARGV))", ""},
	{"bulk", "count('stats', queue .. '|enqueued', many)", ""},
	{"bulk", "if length <= many then filled(queue) end", ""},
	{"bulk", "if rises(queue, length, many) then rouse(queue) end", ""},
	{"bulk", "if rises(queue, length, many) then rouse(queue) end", "rouse(queue)"},
}

// bulkCases are runs with batches whose records are ready.
var bulkCases = map[string]func(*machine){
	"a plain batch that was refused is stored when it comes again": func(m *machine) {
		p := m.senders["p0"].producer
		s := &submission{ctx: m.ctx, caller: p.Caller(m.ctx, errClosed), tasks: m.ready(draft{Queue: "a"}), done: make(chan struct{})}
		b := &batch{number: 1, parts: []*submission{s}}
		require.NoError(m.t, m.redis.Set(m.ctx, m.keys.Stats(), "alien", 0).Err())
		_, err := p.try(m.ctx, b, nil, nil)
		require.Error(m.t, err)
		require.NoError(m.t, m.redis.Del(m.ctx, m.keys.Stats()).Err())
		_, err = p.try(m.ctx, b, nil, nil)
		require.NoError(m.t, err)
		require.EqualValues(m.t, 1, m.redis.LLen(m.ctx, m.keys.Queue("a")).Val())
	},
	"ready records": func(m *machine) {
		for off := range 5 {
			m.draw = func(what string, _ int) int { return map[string]int{"ready": 1, "off": off}[what] }
			m.ends(Done)
			for range 2 { // of two who idle one is woken
				m.step(m.join)
				a := m.actors[len(m.actors)-1]
				m.step(func() { m.claimAs(a, a.session, 1) })
			}
			plain := draft{Queue: "a", Payload: 1}
			m.step(func() { m.sendNew("p0", m.ready(plain, plain, plain)) })
			m.step(func() { m.sendNew("p0", m.ready(plain)) }) // behind others
			m.step(func() { m.send("p0", len(m.senders["p0"].batches), nil, false) })
			m.step(m.enqueueCrossed)
		}
		m.step(func() { m.pauseAs("a", true) })
		m.draw = func(what string, _ int) int { return map[string]int{"ready": 1}[what] }
		m.step(func() { m.sendNew("p1", m.ready(draft{Queue: "a", Payload: 1})) })
	},
	"ready records for something else's line": func(m *machine) {
		require.NoError(m.t, m.redis.Set(m.ctx, m.keys.Queue("a"), "alien", 0).Err())
		p := m.senders["p0"].producer
		s := &submission{ctx: m.ctx, tasks: m.ready(draft{Queue: "a", Payload: 1})}
		b := &batch{number: 1, parts: []*submission{s}}
		_, err := p.tryReady(m.ctx, p.numbering(b, nil, nil), b, plainKind(b), m.spec.now())
		require.True(m.t, isOther(err), err)
		require.NoError(m.t, m.redis.Del(m.ctx, m.keys.Queue("a")).Err())
		m.step(func() {})
	},
}
