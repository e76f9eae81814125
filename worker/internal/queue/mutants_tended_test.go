package queue

import (
	"maps"
	"slices"
	"time"

	"github.com/stretchr/testify/require"
)

// Mistakes in what the scripts know of queues that are tended.
var tendedMutants = []mutant{
	{"names", "till >= at and ", ""},
	{"names", " and till <= at + 100", ""},
	{"names", "  redis.call('HDEL', key('tended'), queue)\n", ""},
	{"names", " or string.match(text, '|(.+)$') ~= incarnation", ""},
	{"names", "return length % 100 < n and length >= 100 or", "return"},
	{"names", " and not tender(queue, now())", ""},
	{"plain", "rises and length < 100", "false"},
	{"plain", "rises and length < 100", "rises"},
	{"plain", "till + 0 < ms or ", ""},
	{"plain", " or till - 100 > ms", ""},
	{"places", "if not tender(queue, now()) then", "if true then"},
	{"work", "(tender(ARGV[i], at) or incarnation) ~= incarnation", "false"},
	{"work", "theirs and redis.call('LLEN', list) < 100", "theirs"},
	{"work", "tended = tended or theirs", "tended = theirs"},
	{"work", "idle and ARGV[6] ~= ''", "ARGV[6] ~= ''"},
	{"work", "ARGV[6] ~= '' and ", ""},
	{"work", "#ids > 0 and ", ""},
	{"work", "#parked == 0 and ", ""},
	{"work", " and not tended, {}", ", {}"},
	{"work", "if ready[i - 7] == 1 then till", "if true then till"},
	{"work", "(tends and ready[i - 7] == 1)", "tends"},
	{"work", "(tends and ready[i - 7] == 1)", "false"},
	{"work", "if ARGV[5] == '1' and (waits or not tends) then untend(ARGV[i], incarnation) end", ""},
	{"work", "(waits or not tends)", "waits"},
	{"work", "(waits or not tends)", "not tends"},
	{"work", "tends and 2 or idle", "idle"},
	{"claim", "untend(ARGV[i], incarnation) end\n", "end\n"},
	{"claim", "local idle = not full() and not again", "local idle = not full()"},
	{"resign", "  untend(ARGV[i], ARGV[1])\n", ""},
	{"takeover", "  untend(queue, incarnation)\n", ""},
	{"takeover", "if pending(queue) then touched", "if left == 0 and pending(queue) then touched"},
	{"takeover", "if pending(queue) then touched", "if false then touched"},
	{"takeover", "if pending(queue) then touched", "if true then touched"},
	{"clear", "  redis.pcall('HDEL', key('tended'), queue)\n", ""},
}

// tender joins an incarnation that tends the queues, with one task in hand.
func (m *machine) tender() *actor {
	a := m.worker()
	m.enqueueOne(1, draft{})
	a.tend = true
	m.take(a, 9)
	require.True(m.t, a.session.Tends())
	return a
}

// besideTender stores a task beside a tender and a node that idles, after some time.
func (m *machine) besideTender(after time.Duration, d draft) {
	m.tender()
	m.worker()
	m.sleep(after.Milliseconds())
	m.enqueueOne(1, d)
	require.Equal(m.t, after == 0, len(m.spec.Idle["a"]) == 1)
}

// behindTender stores more tasks than are left to a tender.
func (m *machine) behindTender(many []Task) {
	m.tender()
	b := m.worker()
	m.step(func() { m.sendNew("p0", many) })
	require.Empty(m.t, m.spec.Idle["a"])
	require.Len(m.t, m.take(b, 3), 3)
}

// tendedCases are cases as mutantCases, of queues that are tended.
var tendedCases = map[string]func(*machine){
	"plain tasks of a queue that is tended wake nobody": func(m *machine) { m.besideTender(0, draft{}) },
	"tasks of a queue that is tended wake nobody":       func(m *machine) { m.besideTender(0, draft{ID: "c1"}) },
	"a tender that is late, and a plain task":           func(m *machine) { m.besideTender(tendedFor+1e6, draft{}) },
	"a tender that is late":                             func(m *machine) { m.besideTender(tendedFor+1e6, draft{ID: "c1"}) },
	"a tender on a clock that was ahead, and a plain task": func(m *machine) {
		m.besideTender(-time.Second, draft{})
	},
	"a tender on a clock that was ahead": func(m *machine) { m.besideTender(-time.Second, draft{ID: "c1"}) },
	"what is tended is left to whoever tends it": func(m *machine) {
		a := m.tender()
		b := m.worker()
		m.enqueueOne(1, draft{})
		require.Empty(m.t, m.take(b, 1))
		require.Len(m.t, m.take(a, 9), 1)
	},
	"a tender that falls behind is helped": func(m *machine) { m.behindTender(m.ready(slices.Repeat([]draft{{Queue: "a"}}, 100)...)) },
	"a tender that falls behind is helped by other ways": func(m *machine) {
		m.behindTender(m.ready(slices.Repeat([]draft{{Queue: "a", Deadline: 60000}}, 100)...))
	},
	"a tender that finds nothing idles": func(m *machine) {
		a := m.tender()
		m.take(a, 9)
		m.enqueueOne(1, draft{})
		require.Empty(m.t, m.spec.Idle["a"])
	},
	"a tender without room passes on": func(m *machine) {
		a := m.tender()
		m.worker()
		for range 3 {
			m.enqueueOne(1, draft{})
		}
		m.take(a, 1)
		require.Empty(m.t, m.spec.Idle["a"])
	},
	"a tender whose answer was lost looks again": func(m *machine) {
		a := m.worker()
		m.enqueueOne(1, draft{})
		a.tend = true
		before := *a.session
		m.take(a, 9)
		before.lost, before.tends = 9, true
		m.enqueueOne(1, draft{}) // nobody is told
		m.step(func() { m.claimAs(a, &before, 9) })
		require.False(m.t, before.Idle())
		require.Empty(m.t, m.spec.Idle["a"])
	},
	"a tender that claims with the other script idles": func(m *machine) {
		a := m.tender()
		m.enqueueOne(1, draft{})
		a.session.others = 1
		require.Len(m.t, m.take(a, 9), 1)
		m.enqueueOne(1, draft{})
		require.Empty(m.t, m.spec.Idle["a"])
	},
	"a tender that resigns": func(m *machine) {
		a := m.tender()
		b := m.worker()
		m.step(func() { m.resignAs(b, false) }) // which tends nothing
		m.worker()
		m.enqueueOne(1, draft{})
		m.step(func() { m.resignAs(a, false) })
		require.Empty(m.t, m.spec.Idle["a"])
		m.worker()
		m.enqueueOne(1, draft{Queue: "b"})
		require.Empty(m.t, m.spec.Idle["b"])
	},
	"a tender that is over": func(m *machine) {
		for _, pending := range []bool{true, false} {
			a := m.worker()
			m.enqueueOne(1, draft{Queue: "b"})
			a.tend = true
			m.take(a, 9)
			m.step(func() { require.True(m.t, m.workAs(a, m.done(slices.Collect(maps.Values(a.hand))...), 9)) })
			a.tend = true
			m.enqueueOne(1, draft{Queue: "b"})
			m.take(a, 9)
			if pending {
				m.enqueueOne(1, draft{})
			}
			m.worker()
			m.step(func() { m.setLease(a.name, -m.spec.Now) })
			m.step(func() { m.takeOverOf(a, Remains{}) })
			require.Equal(m.t, pending, len(m.spec.Idle["a"]) == 0)
		}
	},
	"a tender that is over while its handler runs on": func(m *machine) {
		a := m.tender()
		m.worker()
		m.enqueueOne(1, draft{})
		require.Len(m.t, m.spec.Idle["a"], 1)
		m.step(func() { m.setLease(a.name, -m.spec.Now) })
		m.step(func() { m.takeOverOf(a, Remains{Running: m.owned(a.name)}) })
		require.Empty(m.t, m.spec.Idle["a"])
	},
	"a queue that is tended stays in the index": func(m *machine) {
		m.tender()
		m.idleByList("a", "b")
		m.step(func() { m.dueAs("m0", VisitReady, 9, 9) })
		m.enqueueOne(1, draft{})
	},
	"a queue that is tended is cleared": func(m *machine) {
		a := m.worker()
		id := m.enqueueOne(1, draft{Queue: "b"})
		a.tend = true
		m.take(a, 9)
		m.step(func() { m.commitAs(a, a.session, m.done(a.hand[id])) })
		require.Equal(m.t, a.name, m.spec.tender("b"))
		m.enqueueOne(1, draft{Queue: "b"})
		m.step(m.clear)
		m.worker()
		m.enqueueOne(1, draft{Queue: "b"})
		require.Empty(m.t, m.spec.Idle["b"])
	},
	"whoever idles is woken for what is taken over from a node of many queues": func(m *machine) {
		a := m.idleByList("a", "b")
		m.enqueueOne(1, draft{})
		m.take(a, 1)
		m.worker()
		m.step(func() { m.setLease(a.name, -m.spec.Now) })
		m.step(func() { m.takeOverOf(a, Remains{}) })
		require.Empty(m.t, m.spec.Idle["a"])
	},
	"a queue that is not in the index is not tended": func(m *machine) {
		a := m.tender() // of "a"
		m.enqueueOne(1, draft{Queue: "b"})
		require.Empty(m.t, m.spec.Idle["b"])
		m.take(a, 9)
		require.Len(m.t, m.spec.Tended, 2)
		m.sleep(tendedFor.Milliseconds() + 1)
		m.step(func() { m.dueAs("m0", VisitReady, 9, 9) }) // which takes both out of the index
		m.enqueueOne(1, draft{})
		m.take(a, 9)
		require.Len(m.t, m.spec.Tended, 1)
		require.Len(m.t, m.spec.Idle["b"], 1)
		m.enqueueOne(1, draft{Queue: "b"})
		require.Empty(m.t, m.spec.Idle["b"])
	},
	"another tends one of the queues": func(m *machine) {
		m.step(m.join)
		a := m.actors[0] // which serves "a"
		m.take(a, 1)
		m.enqueueOne(1, draft{})
		a.tend = true
		m.take(a, 9)
		b := m.worker()
		m.enqueueOne(1, draft{Queue: "b"})
		b.tend = true
		require.Len(m.t, m.take(b, 9), 1)
		require.False(m.t, b.session.Tends())
	},
	"nobody tends while tasks are parked": func(m *machine) {
		m.enqueueOne(1, draft{})
		m.ends(Park, "t")
		a := m.worker()
		a.session.parked = nil
		m.enqueueOne(1, draft{})
		a.tend = true
		m.take(a, 9)
		require.False(m.t, a.session.Tends())
	},
}
