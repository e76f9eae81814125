package queue

import (
	"slices"

	"github.com/stretchr/testify/require"
)

// nodeCases are about nodes: their leases, ends and wakes, and the suspects that crashed them.
var nodeCases = map[string]func(*machine){
	"who has more to do wakes another": func(m *machine) {
		for range 2 {
			m.step(m.join)
			m.step(m.claim)
		}
		m.step(func() {
			some := m.ready(draft{Queue: "a"}, draft{Queue: "a"})
			m.sendNew("p0", some)
		})
		require.Len(m.t, m.spec.Idle["a"], 1)
		woken := slices.IndexFunc(m.actors, func(a *actor) bool { return !m.spec.Idle["a"][a.name] })
		m.step(func() { m.claimAs(m.actors[woken], m.actors[woken].session, 1) })
		require.Empty(m.t, m.spec.Idle["a"])
	},
	"only the suspect that ran is quarantined": func(m *machine) {
		id, other := m.enqueueOne(1, draft{}), m.enqueueOne(1, draft{})
		crash := func(solo string, r Remains) {
			m.takeAll()
			a := m.actors[len(m.actors)-1]
			m.step(func() {
				m.soloAs(a, solo)
				m.setLease(a.name, -m.spec.Now)
			})
			m.step(func() { m.takeOverOf(a, r) })
		}
		crash("none", Remains{Suspects: []string{id, other}})
		crash("none", Remains{Unknown: true})
		crash("none", Remains{Unknown: true})
		require.Equal(m.t, "0|2", m.spec.Tasks[id].Tries)
		crash(id, Remains{Unknown: true})
		require.Equal(m.t, stateDead, m.spec.Tasks[id].State)
		require.Equal(m.t, statePending, m.spec.Tasks[other].State)
	},
	"a suspect runs until it has ended": func(m *machine) {
		id, other := m.enqueueOne(1, draft{}), m.enqueueOne(1, draft{})
		m.takeAll()
		a := m.actors[len(m.actors)-1]
		m.step(func() { m.soloAs(a, id) })
		for _, ends := range []string{other, id} {
			m.step(func() {
				m.commitAs(a, a.session, []*Run{m.outcome(a.hand[ends], func(o *Run) { o.outcome.verb = Done })})
			})
		}
	},
	"a lease that ran out": func(m *machine) {
		m.step(m.join)
		m.sleep(15000)
		m.step(func() {
			_, answered := m.claimAs(m.actors[0], m.actors[0].session, 1)
			require.False(m.t, answered)
		})
	},
	"who resigns passes its wake on": func(m *machine) {
		for range 3 {
			m.step(m.join)
			m.step(m.claim)
		}
		m.enqueueOne(1, draft{})
		m.step(m.resign)
	},
	"who was asked to end is no crash, whoever takes over": func(m *machine) {
		id := m.enqueueOne(1, draft{})
		m.step(m.join)
		a := m.actors[0]
		m.step(func() { m.resignAs(a, true) }) // it has claimed nothing: nothing is noted
		m.step(m.claim)
		m.step(func() { m.resignAs(a, true) })
		m.step(func() {
			m.setLease(a.name, -m.spec.Now)
			m.takeOverOf(a, Remains{Unknown: true})
		})
		require.Zero(m.t, ParseTries(m.spec.Tasks[id].Tries).Crashes)
		m.step(func() { m.resignAs(a, true) }) // late: it is over
	},
	"a node that was quiet and is over": func(m *machine) {
		m.step(m.join)
		a := m.actors[0]
		m.step(func() { m.quietAs(a, "1") })
		m.step(func() { m.quietAs(a, "") })
		m.step(func() {
			m.setLease(a.name, -m.spec.Now)
			m.takeOverOf(a, Remains{})
		})
		m.step(func() { m.quietAs(a, "1") })
	},
}
