package queue

import (
	"maps"
	"slices"

	"github.com/stretchr/testify/require"
)

// settings draws a queue to be changed.
func (m *machine) settings() (string, *specSettings) {
	queue := modelQueues[m.draw("queue", 2)]
	return queue, m.settingsOf(queue)
}

func (m *machine) settingsOf(queue string) *specSettings {
	if m.spec.Settings[queue] == nil {
		m.spec.Settings[queue] = &specSettings{}
	}
	m.spec.Queues[queue] = true
	return m.spec.Settings[queue]
}

func (m *machine) pause() {
	queue, _ := m.settings()
	m.pauseAs(queue, m.draw("paused", 2) == 1)
}

func (m *machine) pauseAs(queue string, paused bool) {
	set := m.settingsOf(queue)
	was := set.Paused
	set.Paused = paused
	_, rested := m.spec.Groups.Resting[queue]
	if rested = rested && !paused; rested {
		delete(m.spec.Groups.Resting, queue)
	}
	verb := "resume"
	if set.Paused {
		verb = "pause"
	}
	got, err := m.store.setQueue(m.ctx, queue, verb, "", "")
	require.NoError(m.t, err)
	require.Equal(m.t, m.spec.Weighing[queue] != nil, got.weighing)
	require.Equal(m.t, Settings{set.Paused, set.limits()}, got.Settings)
	if (set.Paused != was || rested) && m.spec.pending(queue) {
		m.spec.wake(queue)
	}
}

func (m *machine) limit() {
	queue := modelQueues[m.draw("queue", 2)]
	l := &Limits{Concurrency: m.draw("at a time", 4), Tasks: 3 * m.draw("tasks", 4), Bytes: 100 * int64(m.draw("bytes", 4))}
	if m.draw("groups", 2) == 1 {
		m.groupLimits(l)
	}
	verb := []string{"program", "operator", "reset"}[m.draw("who", 3)]
	if verb == "operator" && m.draw("in vain", 3) == 1 {
		m.limitInVain(queue, l)
		return
	}
	m.limitAs(queue, verb, l)
}

func (m *machine) limitAs(queue, verb string, l *Limits) {
	set := m.settingsOf(queue)
	was, text, expected := set.limits(), l.String(), ""
	if verb == "operator" && m.draw("expects", 2) == 1 {
		expected = was.String()
	}
	switch verb {
	case "program":
		set.Program = l
	case "operator":
		set.Operator = l
	default:
		if text = ""; set.Operator == nil {
			set.Program = nil
		}
		set.Operator = nil
	}
	if set.limits().Bytes == 0 {
		delete(m.spec.Weighing, queue)
	} else if was.Bytes == 0 {
		m.spec.Stats[queue+"|weighings"]++
		m.spec.Weighing[queue] = &specWeighing{IDs: map[string]bool{}}
	}
	offers := m.spec.Groups.Special[queue] || len(m.spec.Groups.Rates) > 0
	if set.limits().GroupRate != was.GroupRate {
		m.starts.forget(queue, true)
	}
	if set.limits().Rate != was.Rate {
		m.starts.forget(queue, false)
		m.spec.rescale(queue, was.Rate, set.limits().Rate)
	}
	effective, err := m.store.setQueue(m.ctx, queue, verb, text, expected)
	require.NoError(m.t, err)
	require.False(m.t, effective.other)
	require.Equal(m.t, set.limits(), effective.Limits)
	require.Equal(m.t, m.spec.Weighing[queue] != nil, effective.weighing)
	if set.limits() != was && m.spec.pending(queue) {
		m.spec.wake(queue)
	}
	of := func(l Limits) []any { return []any{l.PerGroup, l.Strict, l.GroupRate} }
	require.Equal(m.t, !slices.Equal(of(set.limits()), of(was)) && offers, effective.offers != "")
	if effective.offers != "" {
		m.then()
		require.NoError(m.t, m.store.offerGroups(m.ctx, queue, effective.offers))
		for party := range m.spec.parties(queue) {
			m.spec.rescale(party, was.GroupRate, set.limits().GroupRate)
			m.spec.offer(party)
		}
	}
}

// limitInVain expects other limits than are in effect.
func (m *machine) limitInVain(queue string, l *Limits) {
	set := specSettings{}
	if has := m.spec.Settings[queue]; has != nil {
		set = *has
	}
	got, err := m.store.setQueue(m.ctx, queue, "operator", l.String(), "?")
	require.NoError(m.t, err)
	limits := set.limits()
	require.Equal(m.t, setDone{Settings: Settings{set.Paused, limits}, other: true, limits: limits.String()}, got)
}

// weigh has one of two weighers begin, or go on.
func (m *machine) weigh() {
	w := &m.weighers[m.draw("weigher", 2)]
	if w.cursor == "" || w.cursor == "0" || m.draw("begins", 4) == 0 {
		*w = weighing{cursor: "0"}
		if at := m.draw("queue", 3); at < 2 {
			w.queue = modelQueues[at]
		}
	}
	begins, before := w.number == "", m.spec.Weighing[w.queue]
	_, did, err := m.store.weighSome(m.ctx, w, 1+m.draw("looks at", 3))
	require.NoError(m.t, err)
	queue := w.queue
	of := m.spec.Weighing[queue]
	if !did {
		for name, of := range m.spec.Weighing {
			idle := m.spec.Now-of.Last >= weighingPause.Milliseconds()
			require.False(m.t, (!begins || idle) && name == queue, "somebody has to go on with %s", name)
		}
		require.True(m.t, queue != "" || len(m.spec.Weighing) == 0 || slices.ContainsFunc(slices.Collect(maps.Values(m.spec.Weighing)), func(of *specWeighing) bool {
			return m.spec.Now-of.Last < weighingPause.Milliseconds()
		}))
		*w = weighing{}
		return
	}
	require.NotNil(m.t, of)
	require.True(m.t, before == nil || before == of)
	require.False(m.t, begins && m.spec.Now-of.Last < weighingPause.Milliseconds(), "two begin at once")
	of.Last = m.spec.Now
	if w.cursor == "0" {
		delete(m.spec.Weighing, queue) // all have been weighed: see compare
		return
	}
	weighed := m.redis.SMembers(m.ctx, m.keys.Weighed(queue)).Val()
	for id := range of.IDs {
		if t := m.spec.Tasks[id]; t != nil && m.spec.weighs(t, queue) {
			require.Contains(m.t, weighed, id)
		}
	}
	for _, id := range weighed {
		require.True(m.t, m.spec.weighs(m.spec.Tasks[id], queue), "%s does not count in %s", id, queue)
		of.IDs[id] = true
	}
}

func (m *machine) clear() {
	queue, n := modelQueues[m.draw("queue", 2)], 0
	for _, id := range m.spec.ids() {
		if t := m.spec.Tasks[id]; t != nil && t.queue() == queue && t.waiting() && t.State != stateBlocked {
			m.spec.drop(t, "deleted")
			n++
		}
	}
	m.spec.leave(queue, "")
	if m.spec.active(queue) == 0 {
		delete(m.spec.Queues, queue)
		maps.DeleteFunc(m.spec.Groups.Halted, func(party string, _ bool) bool { return queueOf(party) == queue })
		for _, times := range []map[string]int64{m.spec.Groups.Resting, m.spec.Groups.Rates, m.spec.Groups.Refills} {
			maps.DeleteFunc(times, func(party string, _ int64) bool { return queueOf(party) == queue })
		}
		if len(m.spec.Groups.Returned) == 0 && !slices.ContainsFunc(modelTaskNames, func(name string) bool { return len(m.spec.Parked[queue+"|"+name]) > 0 }) {
			delete(m.spec.Groups.Special, queue)
		}
		m.starts.forget(queue, false)
		m.starts.forget(queue, true)
		delete(m.spec.Tended, queue)
		delete(m.spec.Ready, queue)
		delete(m.spec.Next, queue)
	}
	deleted, _, err := m.store.Clear(m.ctx, queue)
	require.NoError(m.t, err)
	require.Equal(m.t, n, deleted)
}
