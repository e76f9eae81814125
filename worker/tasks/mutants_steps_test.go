package tasks

import (
	"cmp"

	"github.com/stretchr/testify/require"
)

// takeAll has a new node claim as much as it can.
func (m *machine) takeAll() {
	m.step(func() {
		for _, a := range m.actors {
			if m.spec.Incarnations[a.name].Deadline > 0 && len(m.owned(a.name)) == 0 {
				m.setLease(a.name, -m.spec.Now)
			}
		}
	})
	m.step(m.join)
	a := m.actors[len(m.actors)-1]
	a.stream.queues = modelQueues
	m.step(func() {
		got, _ := m.claimAs(a, a.stream, 9)
		for _, c := range got {
			a.hand[c.id] = c
		}
	})
}

// ends has all that waits end like that.
func (m *machine) ends(verb string, args ...any) {
	m.takeAll()
	a := m.actors[len(m.actors)-1]
	m.step(func() {
		var batch []outcome
		for _, id := range m.owned(a.name) {
			batch = append(batch, m.outcome(a.hand[id], func(o *outcome) { o.verb, o.args = verb, args }))
		}
		m.commitAs(a, a.stream, batch)
	})
}

// enqueueOne stores a task of queue a.
func (m *machine) enqueueOne(payload any, o Options) string {
	o.Queue = cmp.Or(o.Queue, "a")
	some, err := m.client.prepareMany([]New{{Name: "t", Payload: payload, Options: o}})
	require.NoError(m.t, err)
	m.step(func() { m.sendNew("p0", some) })
	return some[0].id
}

// sendNew sends tasks as a producer's next batch.
func (m *machine) sendNew(producer string, some []prepared) {
	p := m.senders[producer]
	p.batches = append(p.batches, &submission{tasks: some})
	m.send(producer, len(p.batches), nil, false)
	p.waits = []int{len(p.batches)}
}

// newBatch gives a producer another batch, of one task, and returns its number.
func (m *machine) newBatch(producer string) int {
	some, err := m.client.prepareMany([]New{{Name: "t", Options: Options{Queue: "a"}}})
	require.NoError(m.t, err)
	p := m.senders[producer]
	p.batches = append(p.batches, &submission{tasks: some})
	return len(p.batches)
}

// drop deletes a task.
func (m *machine) drop(id string) {
	m.step(func() {
		m.run(deleteScript, id)
		if t := m.spec.Tasks[id]; t.State == Done {
			delete(m.spec.Tasks, id)
		} else {
			m.spec.drop(t, "deleted")
		}
	})
}

// end has a task done by somebody; its id and result are remembered where somebody waits.
func (m *machine) end(id string) {
	m.step(m.join)
	m.step(m.claim)
	a := m.actors[len(m.actors)-1]
	m.step(func() {
		o := m.outcome(a.hand[id], func(o *outcome) { o.verb, o.args = verbDone, []any{"", "", "2"} })
		m.commitAs(a, a.stream, []outcome{o})
	})
}

// awaitAll has somebody wait for each task.
func (m *machine) awaitAll() {
	for id, t := range m.spec.Tasks {
		m.step(func() {
			m.run(waitScript, id, "1")
			t.Awaited = true
		})
	}
}
