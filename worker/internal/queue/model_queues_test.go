package queue

import "github.com/stretchr/testify/require"

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
	verb := "resume"
	if set.Paused {
		verb = "pause"
	}
	got, err := m.store.SetQueue(m.ctx, queue, verb, "")
	require.NoError(m.t, err)
	require.Equal(m.t, Settings{set.Paused, set.limits()}, got)
	if set.Paused != was && m.spec.pending(queue) {
		m.spec.wake(queue)
	}
}

func (m *machine) limit() {
	queue, set := m.settings()
	was := set.limits()
	l := &Limits{Concurrency: m.draw("at a time", 4), Tasks: 3 * m.draw("tasks", 4), Bytes: 100 * int64(m.draw("bytes", 4))}
	verb := []string{"program", "operator", "reset"}[m.draw("who", 3)]
	text := l.String()
	switch verb {
	case "program":
		set.Program = l
	case "operator":
		set.Operator = l
	default:
		set.Program, set.Operator, text = nil, nil, ""
	}
	effective, err := m.store.SetQueue(m.ctx, queue, verb, text)
	require.NoError(m.t, err)
	require.Equal(m.t, set.limits(), effective.Limits)
	if set.limits() != was && m.spec.pending(queue) {
		m.spec.wake(queue)
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
	if m.spec.active(queue) == 0 {
		delete(m.spec.Queues, queue)
		delete(m.spec.Ready, queue)
		delete(m.spec.Next, queue)
	}
	deleted, _, err := m.store.Clear(m.ctx, queue)
	require.NoError(m.t, err)
	require.Equal(m.t, n, deleted)
}
