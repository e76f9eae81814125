package queue

import (
	"strconv"
	"time"

	"github.com/stretchr/testify/require"
)

// indexMutants are mistakes with the indexes, and with who is responsible for what time moves.
var indexMutants = []mutant{
	{"names", "if redis.pcall('SADD', key('ready'), queue) == 0", "if true"},
	{"names", "local failed = known(queue)", "local failed"},
	{"places", "if risen then filled(queue_of(line)) end", ""},
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
	{"due", "if till or promise == false then", "if promise == false then"},
	{"due", "then touched[queue_of(line)] = true end", "then end"},
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
	"a visit wakes for a queue whose wake was lost": func(m *machine) { m.visitWakes(func() {}) },
	"a visit wakes for a queue that it finds": func(m *machine) {
		m.visitWakes(func() {
			m.draw = func(string, int) int { return 0 }
			m.step(m.loseIndex)
		})
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

// visitWakes has a task wait beside an idle node, then f, then a visit.
func (m *machine) visitWakes(f func()) {
	m.step(m.join)
	m.step(m.claim)
	m.step(func() { m.pauseAs("a", true) })
	m.enqueueOne(1, draft{})
	f()
	m.spec.Settings["a"].Paused = false // by something that wakes nobody
	require.NoError(m.t, m.redis.HDel(m.ctx, m.keys.Settings(), "a").Err())
	require.Len(m.t, m.spec.Idle["a"], 1)
	m.step(func() { m.dueOf(9, 9) })
	require.Empty(m.t, m.spec.Idle["a"])
}
