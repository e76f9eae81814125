package queue

import "cmp"

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
	a.session.cfg.Queues = modelQueues
	m.step(func() {
		got, _ := m.claimAs(a, a.session, 9)
		for _, c := range got {
			a.hand[c.ID] = c
		}
	})
}

// ends has all that waits end like that.
func (m *machine) ends(verb Verb, args ...any) {
	m.takeAll()
	a := m.actors[len(m.actors)-1]
	m.step(func() {
		var batch []*Run
		for _, id := range m.owned(a.name) {
			batch = append(batch, m.outcome(a.hand[id], func(o *Run) { o.outcome.verb, o.outcome.args = verb, args }))
		}
		m.commitAs(a, a.session, batch)
	})
}

// choose takes a step with these choices; all others are 0.
func (m *machine) choose(choices map[string]int, action func()) {
	m.draw = func(what string, _ int) int { return choices[what] }
	m.step(action)
}

// enqueueOne stores a task of queue a.
func (m *machine) enqueueOne(payload any, d draft) string {
	d.Queue, d.Payload = cmp.Or(d.Queue, "a"), payload
	some := m.ready(d)
	m.step(func() { m.sendNew("p0", some) })
	return some[0].ID
}

// sendNew sends tasks as a producer's next batch.
func (m *machine) sendNew(producer string, some []Task) {
	p := m.senders[producer]
	p.batches = append(p.batches, &submission{tasks: some})
	m.send(producer, len(p.batches), nil, false)
	p.waits = []int{len(p.batches)}
}

// newBatch gives a producer another batch, of one task, and returns its number.
func (m *machine) newBatch(producer string) int {
	some := m.ready(draft{Queue: "a"})
	p := m.senders[producer]
	p.batches = append(p.batches, &submission{tasks: some})
	return len(p.batches)
}

// drop deletes a task.
func (m *machine) drop(id string) {
	m.step(func() {
		m.run(deleteScript, id)
		if t := m.spec.Tasks[id]; t.State == stateDone {
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
		o := m.outcome(a.hand[id], func(o *Run) { o.outcome.verb, o.outcome.args = Done, []any{"", "", "2"} })
		m.commitAs(a, a.session, []*Run{o})
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
