package queue

import "github.com/stretchr/testify/require"

// boundCases are about the limits of queues: parked tasks, and what counts against a bound.
var boundCases = map[string]func(*machine){
	"a bound on bytes goes and comes back while the queue is weighed": func(m *machine) {
		for range 6 {
			m.enqueueOne(1, draft{})
		}
		m.choose(map[string]int{"bytes": 3}, m.limit)
		m.choose(nil, m.weigh)
		m.choose(map[string]int{"weigher": 1}, m.weigh)
		require.Empty(m.t, m.weighers[1].number, "one is enough")
		m.choose(map[string]int{"who": 2}, m.limit)
		m.choose(map[string]int{"bytes": 3}, m.limit)
		for m.spec.Weighing["a"] != nil {
			m.choose(map[string]int{"begins": 1}, m.weigh)
		}
	},
	"what is kept of an ended task counts no bytes": func(m *machine) {
		m.draw = func(what string, _ int) int { return map[string]int{"bytes": 3}[what] }
		m.step(m.limit)
		m.enqueueOne(1, draft{})
		m.ends(Done, 5000, 5000, "1")
		m.enqueueOne(1, draft{})
		m.ends(Dead, "1|0", `{"reason":"failed"}`)
	},
	"a dead task that is deleted counts no bytes": func(m *machine) {
		m.draw = func(what string, _ int) int { return map[string]int{"bytes": 3}[what] }
		m.step(m.limit)
		m.step(m.weigh)
		id := m.enqueueOne(1, draft{})
		m.ends(Dead, "1|0", `{"reason":"failed"}`)
		m.enqueueOne(2, draft{})
		m.drop(id)
	},
	"a parked task is cancelled": func(m *machine) {
		id := m.enqueueOne(1, draft{})
		m.ends(Park, "t")
		m.draw = func(string, int) int { return 0 }
		m.step(m.cancel)
		require.Equal(m.t, stateCancelled, m.spec.Tasks[id].State)
	},
	"a queue of a parked task is cleared": func(m *machine) {
		m.enqueueOne(1, draft{})
		m.ends(Park, "t")
		m.draw = func(string, int) int { return 0 }
		m.step(m.clear)
		require.Empty(m.t, m.spec.Tasks)
	},
	"limits that are said again wake nobody": func(m *machine) {
		for range 2 {
			m.step(m.join)
			m.step(m.claim)
		}
		m.draw = func(what string, most int) int {
			if what == "queue" || what == "who" {
				return 0
			}
			return most - 1
		}
		m.step(m.limit)
		m.enqueueOne(1, draft{})
		require.Len(m.t, m.spec.Idle["a"], 1)
		m.step(m.limit)
		require.Len(m.t, m.spec.Idle["a"], 1)
	},
	"parked tasks keep their order": func(m *machine) {
		first, second := m.enqueueOne(1, draft{}), m.enqueueOne(1, draft{})
		m.ends("park", "t")
		m.takeAll() // learns of them
		m.step(m.claim)
		require.Equal(m.t, []state{stateActive, stateActive}, []state{m.spec.Tasks[first].State, m.spec.Tasks[second].State})
	},
}
