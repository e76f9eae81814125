package queue

import (
	"time"

	"github.com/stretchr/testify/require"
)

// gatherOf has an actor claim want tasks, of which some begin at once, and gather others for that batch. It
// returns the new ones.
func (m *machine) gatherOf(a *actor, number uint64, most, want, atOnce int) (ids []string) {
	m.step(func() {
		a.session.Gather([]Gathering{{Name: "t", Number: number, Tasks: most, Bytes: 1000}}, true)
		got, _ := m.claimAsking(a, a.session, want, atOnce)
		for _, c := range got {
			a.hand[c.ID] = c
			ids = append(ids, c.ID)
		}
	})
	return ids
}

// gatheringCases are about batches in queues with rates or groups.
var gatheringCases = map[string]func(*machine){
	"each task of a batch takes a token, and the batch one place": func(m *machine) {
		limit := &Limits{Rate: Rate{1000, time.Second, 4}, Concurrency: 1}
		m.step(func() { m.limitAs("a", "operator", limit) })
		a := m.gatherer(0)
		ids := m.enqueueMany(7, "")
		require.Equal(m.t, ids[:2], m.gatherOf(a, 1, 2, 1, 1))
		require.Equal(m.t, ids[2:4], m.gatherOf(a, 1, 9, 1, 1), "as many as there are tokens")
		require.Empty(m.t, m.gatherOf(a, 1, 9, 1, 1))
		m.later(2)
		require.Empty(m.t, m.gatherOf(a, 2, 9, 1, 1), "another batch has no place")
		require.Equal(m.t, ids[4:6], m.gatherOf(a, 1, 9, 1, 1))
	},
	"lines of a queue with a rate share its tokens": func(m *machine) {
		m.step(func() { m.limitAs("a", "operator", &Limits{Rate: Rate{1000, time.Second, 3}}) })
		a := m.gatherer(0)
		for _, mark := range []string{HighMark, HighMark, "", ""} {
			m.enqueueOne(1, draft{Mark: mark})
		}
		require.Len(m.t, m.gatherOf(a, 1, 9, 1, 1), 3)
	},
	"nothing is gathered ahead from a queue with a rate": func(m *machine) {
		m.step(func() { m.limitAs("a", "operator", &Limits{Rate: Rate{1000, time.Second, 9}}) })
		a := m.gatherer(0)
		m.enqueueMany(3, "")
		m.enqueueOne(1, draft{Name: "u"})
		require.Empty(m.t, m.gatherOf(a, 1, 9, 4, 0))
		require.Len(m.t, m.gatherOf(a, 1, 9, 4, 1), 4)
		m.enqueueOne(1, draft{Name: "u"})
		m.enqueueOne(1, draft{Name: "u"})
		require.Len(m.t, m.gatherOf(a, 2, 9, 4, 1), 1, "the others are taken for free slots alone")
	},
	"a queue without tokens keeps nothing of the others from being claimed ahead": func(m *machine) {
		m.step(func() { m.limitAs("a", "operator", &Limits{Rate: Rate{1, time.Second, 1}}) })
		a := m.gatherer(0)
		m.enqueueMany(2, "")
		require.Len(m.t, m.gatherOf(a, 1, 9, 1, 1), 1)
		for range 3 {
			m.enqueueOne(1, draft{Queue: "b", Name: "u"})
		}
		require.Len(m.t, m.gatherOf(a, 1, 9, 3, 0), 3)
	},
	"a batch is gathered from groups in their turns": func(m *machine) {
		m.step(func() { m.limitAs("a", "operator", &Limits{PerGroup: 2, Concurrency: 1}) })
		a := m.gatherer(0)
		x, y := m.enqueueMany(5, "x"), m.enqueueMany(1, "y")
		require.Equal(m.t, []string{x[0], y[0]}, m.gatherOf(a, 1, 2, 1, 1)[:2])
		require.Equal(m.t, x[1:2], m.gatherOf(a, 1, 9, 1, 1), "two of a group at a time")
		z := m.enqueueMany(3, "z")
		require.Empty(m.t, m.gatherOf(a, 2, 9, 1, 1), "another batch has no place")
		require.Equal(m.t, z[:2], m.gatherOf(a, 1, 9, 1, 1))
		m.endJoint(a, nil)
		require.Equal(m.t, []string{x[2], z[2], x[3]}, m.gatherOf(a, 3, 9, 1, 1))
	},
	"nothing is gathered ahead from groups": func(m *machine) {
		a := m.gatherer(0)
		m.enqueueMany(3, "x")
		require.Empty(m.t, m.gatherOf(a, 1, 9, 4, 0))
		require.Len(m.t, m.gatherOf(a, 1, 9, 4, 1), 3)
	},
	"groups that a claim passed over keep their turns": func(m *machine) {
		a := m.gatherer(0)
		names := map[string]string{}
		for _, group := range []string{"v", "w", "x", "y"} {
			names[group] = m.enqueueOne(1, draft{Group: group, Name: "u"})
			m.enqueueOne(1, draft{Group: group, Name: "u"})
		}
		require.Equal(m.t, []string{names["v"]}, m.gatherOf(a, 1, 9, 1, 1), "the next one has no slot")
		require.Equal(m.t, []string{names["w"]}, m.gatherOf(a, 1, 9, 1, 1))
		require.Equal(m.t, []string{names["x"], names["y"]}, m.gatherOf(a, 1, 9, 2, 2))
	},
	"a batch that is full gathers no more of groups": func(m *machine) {
		a := m.gatherer(0)
		x := m.enqueueMany(3, "x")
		require.Equal(m.t, x[:2], m.gatherOf(a, 1, 2, 1, 1))
		require.Empty(m.t, m.gatherOf(a, 1, 0, 1, 1))
		m.step(func() {
			a.session.Gather([]Gathering{{Name: "t", Number: 1, Tasks: 9, Bytes: 0}}, true)
			got, _ := m.claimAs(a, a.session, 1)
			require.Empty(m.t, got)
		})
	},
	"a batch has no more of a queue that is claimed ahead before it": func(m *machine) {
		a := m.gatherer(0)
		for range 3 {
			m.enqueueOne(1, draft{Queue: "a", Name: "u"})
		}
		m.enqueueOne(1, draft{Queue: "b", Group: "x", Name: "t"})
		m.enqueueOne(1, draft{Queue: "b", Group: "x", Name: "t"})
		require.Len(m.t, m.gatherOf(a, 1, 9, 3, 1), 5)
	},
	"a group of which only some of what it may have is taken keeps a turn": func(m *machine) {
		m.step(func() { m.limitAs("a", "operator", &Limits{PerGroup: 2}) })
		m.choose(map[string]int{"queues": 1}, m.join)
		a := m.actors[0]
		other, x := m.enqueueOne(1, draft{Queue: "b", Name: "u"}), m.enqueueMany(0, "x")
		for range 3 {
			x = append(x, m.enqueueOne(1, draft{Group: "x", Name: "u"}))
		}
		require.Equal(m.t, []string{other, x[0]}, m.gatherOf(a, 1, 9, 2, 2))
		require.Equal(m.t, x[1:2], m.gatherOf(a, 1, 9, 2, 2))
	},
	"a node is woken for its batch, which has the only place of its queue": func(m *machine) {
		m.step(func() { m.limitAs("a", "operator", &Limits{Concurrency: 1}) })
		m.worker()
		m.worker()
		first := m.enqueueOne(1, draft{})
		b := m.woken()
		require.Equal(m.t, []string{first}, m.gatherOf(b, 1, 9, 1, 1))
		require.Len(m.t, m.spec.Idle["a"], 2)
		second := m.enqueueOne(1, draft{})
		require.Len(m.t, m.spec.Idle["a"], 1)
		require.NotContains(m.t, m.spec.Idle["a"], b.name)
		require.Equal(m.t, []string{second}, m.gatherOf(b, 1, 9, 1, 1))
		m.endJoint(b, nil)
	},
	"a node with a stored list is woken for its batch": func(m *machine) {
		m.step(func() { m.limitAs("a", "operator", &Limits{Concurrency: 1}) })
		a := m.idleByList("a", "b")
		m.idleByList("b", "a")
		first := m.enqueueOne(1, draft{})
		b := m.actors[0]
		if m.spec.Idle["@"+a.session.list][a.name] {
			b = m.actors[1]
		}
		require.Equal(m.t, []string{first}, m.gatherOf(b, 1, 9, 1, 1))
		m.enqueueOne(1, draft{})
		require.NotContains(m.t, m.spec.Idle["@"+b.session.list], b.name)
		m.step(func() {
			m.setLease(b.name, -m.spec.Now)
			m.takeOverOf(b, Remains{})
		})
	},
	"a task of an urgent line takes the place of a batch": func(m *machine) {
		m.step(func() { m.limitAs("a", "operator", &Limits{Concurrency: 1}) })
		a := m.gatherer(0)
		urgent := m.enqueueOne(1, draft{Name: "u", Mark: HighMark})
		m.enqueueOne(1, draft{})
		require.Equal(m.t, []string{urgent}, m.gatherOf(a, 1, 9, 1, 1))
	},
	"a batch that ends is no other's": func(m *machine) {
		m.step(func() { m.limitAs("a", "operator", &Limits{Concurrency: 2}) })
		a, b := m.gatherer(0), m.gatherer(0)
		m.enqueueMany(2, "")
		m.gatherOf(a, 1, 1, 1, 1)
		m.gatherOf(b, 1, 1, 1, 1)
		m.endJoint(a, nil)
	},
	"a batch gathers nothing of groups of a queue that is paused or rests": func(m *machine) {
		a := m.gatherer(0)
		x := m.enqueueMany(3, "x")
		require.Equal(m.t, x[:1], m.gatherOf(a, 1, 1, 1, 1))
		m.step(func() { m.pauseAs("a", true) })
		require.Empty(m.t, m.gatherOf(a, 1, 9, 1, 1))
	},
}
