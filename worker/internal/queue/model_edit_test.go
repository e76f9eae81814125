package queue

import (
	"cmp"
	"strings"

	"github.com/stretchr/testify/require"
)

// edit changes a task.
func (m *machine) edit() {
	queue := append([]string{""}, modelQueues...)[m.draw("other queue", 3)]
	mark := []string{"=", "=", "", HighMark, LowMark}[m.draw("other priority", 5)]
	payload := ""
	if m.draw("other payload", 2) == 1 {
		payload = strings.Repeat("7", 1+m.draw("bytes", 50))
	}
	group := append([]string{"=", "="}, append(modelGroups, "")...)[m.draw("other group", 5)]
	m.editAs(m.task(), edition{queue, group, mark, payload, m.draw("large", 3) == 1})
}

// edition is what an edit changes; "=" for the same group and mark.
type edition struct {
	queue, group, mark, payload string
	large                       bool
}

func (m *machine) editAs(id string, e edition) {
	var bodies []body
	payload, text, group := e.payload, e.payload, e.group
	if group != "=" {
		group = Line("", group, "")
	}
	if e.large && payload != "" {
		bodies = []body{{m.names.Next(), []byte(payload)}}
		text = refMark + bodies[0].ref().String()
	}
	reply, err := callWith(m.ctx, editScript, m.redis, m.keys, bodies, []any{id, e.queue, e.mark, text, group})
	require.NoError(m.t, err)
	var word string
	require.NoError(m.t, reply.Scan(&word))
	require.Equal(m.t, m.spec.edit(id, e, bodies), word)
	if len(bodies) > 0 {
		n, err := m.redis.Exists(m.ctx, m.keys.Body(bodies[0].name)).Result()
		require.NoError(m.t, err)
		require.Equal(m.t, word == "edited", n == 1, "its body")
	}
}

func (s *spec) edit(id string, e edition, bodies []body) string {
	t := s.Tasks[id]
	switch {
	case t == nil:
		return Gone
	case t.State == stateDone:
		return "done"
	case t.State == stateActive:
		return "active"
	}
	queue, group, mark, payload := e.queue, e.group, e.mark, e.payload
	was, line, party := t.queue(), t.Line, t.party()
	if queue == "" {
		queue = was
	}
	if mark == "=" {
		mark = strings.TrimPrefix(line, cmp.Or(party, was))
	}
	if group == "=" {
		group = groupOf(line)
	}
	moves := (t.State == statePending || t.State == stateParked && queue != was) && Line(queue, group, mark) != line
	if moves {
		s.takeOut(t)
	}
	if payload != "" {
		t.Payload, t.Body = payload, BodyRef{}
		if len(bodies) > 0 {
			t.Body = bodies[0].ref()
		}
	}
	stored := t.Payload
	if t.Body.Name != "" {
		stored = refMark + t.Body.String()
	}
	head, _, _ := strings.Cut(t.Record, "\n")
	f := strings.SplitN(head, "|", 4)
	t.Line = Line(queue, group, mark)
	t.Record = strings.Join([]string{f[0], t.Line, f[2], f[3]}, "|") + "\n" + stored
	if t.party() != party {
		s.letGo(id)
	}
	if t.Line != line {
		delete(s.Groups.Returned, id)
	}
	if w := s.Weighing[was]; w != nil {
		delete(w.IDs, id)
	}
	if t.waiting() {
		s.weigh(t)
	}
	if queue != was {
		s.Stats[was+"|deleted"]++
		s.Stats[queue+"|enqueued"]++
		s.Queues[queue] = true
	}
	if t.State == stateDelayed && queue != was {
		s.delay(t, t.Due)
	}
	if moves {
		s.push(t)
	}
	if t.party() != "" {
		s.Groups.Special[t.queue()] = true
	}
	s.note(t, "edited")
	return "edited"
}
