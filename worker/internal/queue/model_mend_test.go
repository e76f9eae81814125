package queue

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
)

// options draws those of a new task.
func (m *machine) options() draft {
	o := draft{Payload: 1, Queue: modelQueues[m.draw("queue", 2)], Mark: []string{"", "", "", HighMark, LowMark}[m.draw("priority", 5)]}
	if m.draw("grouped", 3) == 0 {
		o.Group = modelGroups[m.draw("group", len(modelGroups))]
	}
	switch m.draw("when", 8) {
	case 0:
		o.In = time.Duration(m.draw("ms", 4000)) * time.Millisecond
	case 1:
		o.At = m.spec.now().Add(time.Duration(m.draw("ms", 4000)-1000) * time.Millisecond)
	default:
	}
	switch m.draw("unique", 10) {
	case 0:
		o.Unique = "k" + strconv.Itoa(m.draw("key", 2))
	case 1:
		o.Unique, o.UniqueFor = "k"+strconv.Itoa(m.draw("key", 2)), time.Duration(1+m.draw("ms", 5000))*time.Millisecond
	default:
	}
	if m.draw("deadline", 6) == 0 {
		o.Deadline = m.spec.Now + int64(m.draw("ms", 6000)) - 1000
	}
	if m.draw("after", 4) == 0 {
		for range 1 + m.draw("tasks", 3) {
			o.After = append(o.After, m.task())
		}
	}
	o.Await = m.draw("await", 4) == 0
	if m.draw("large", 4) == 1 {
		o.Large, o.Payload = true, strings.Repeat("x", 10+m.draw("bytes", 50))
	}
	return o
}

// pass lets time go by, or steps Redis's clock back; most nodes renew their leases.
func (m *machine) pass() {
	m.sleep([]int64{1, 700, -4000, 3000, 6000, 70000}[m.draw("time", 6)])
	for _, a := range m.actors {
		if m.draw("renews", 6) > 0 {
			m.renew(a)
		}
	}
}

// mend gives a script some tasks and checks its word for each.
func (m *machine) mend(script *link.Script, first []any, word func(t *specTask, id string) string) {
	args, ids := first, []string{}
	for range 1 + m.draw("tasks", 3) {
		ids = append(ids, m.task())
		args = append(args, ids[len(ids)-1])
	}
	reply, err := m.store.call(m.ctx, script, args...)
	require.NoError(m.t, err)
	words, err := reply.Texts()
	require.NoError(m.t, err)
	for i, id := range ids {
		require.Equal(m.t, word(m.spec.Tasks[id], id), words[i], "%s of %v", id, ids)
	}
}

func (m *machine) cancel() {
	m.mend(cancelScript, []any{`{"reason":"cancelled","error":"by me"}`}, func(t *specTask, _ string) string {
		switch {
		case t == nil:
			return "gone"
		case t.State == stateDone || t.State == stateDead || t.State == stateCancelled:
			return "already " + string(t.State)
		case t.State == stateActive:
			t.Asked = true
			return "asked"
		}
		m.spec.cancel(t)
		return "cancelled"
	})
}

func (m *machine) remove() {
	m.mend(deleteScript, nil, func(t *specTask, id string) string {
		switch {
		case t == nil:
			return "gone"
		case t.State == stateActive:
			return "active"
		case t.State == stateDone:
			delete(m.spec.Tasks, id)
		default:
			m.spec.drop(t, "deleted")
		}
		return "deleted"
	})
}

func (m *machine) retry() {
	m.mend(retryScript, nil, func(t *specTask, _ string) string {
		switch {
		case t == nil || t.Record == "":
			return "gone"
		case t.State != stateDead && t.State != stateCancelled:
			return "other"
		}
		return m.spec.retry(t)
	})
}

// retry brings a task that has ended back to its line.
func (s *spec) retry(t *specTask) string {
	if t.Options.Unique != "" && s.seize(t.Options.Unique, t.ID, t.Options.UniqueFor) != "" {
		return "taken"
	}
	t.Ended, t.Reason, t.Tries = 0, "", ""
	s.weigh(t)
	s.note(t, "retried")
	s.tally(t.queue(), "revived")
	s.Queues[t.queue()] = true
	s.push(t)
	s.touched[t.queue()] = true
	return "retried"
}

func (m *machine) reschedule() {
	id, ms := m.task(), int64(m.draw("ms", 4000)-1000)
	word, err := m.store.Reschedule(m.ctx, id, "@"+strconv.FormatInt(m.spec.Now+ms, 10))
	require.NoError(m.t, err)
	t := m.spec.Tasks[id]
	switch {
	case t == nil || t.Record == "":
		require.Equal(m.t, Gone, word)
	case t.State != stateDelayed:
		require.Equal(m.t, "other", word)
	default:
		require.NotContains(m.t, []string{Gone, "other"}, word)
		m.spec.wakes(t, m.spec.Now+ms)
		if ms > 0 {
			m.spec.delay(t, m.spec.Now+ms)
			break
		}
		m.spec.dueNow(t)
	}
}

func (m *machine) wait() {
	id := m.task()
	word, detail, err := m.store.Ending(m.ctx, id, true)
	require.NoError(m.t, err)
	switch t := m.spec.Tasks[id]; {
	case t == nil:
		require.Equal(m.t, Gone, word)
	case t.State == stateDone:
		require.Equal(m.t, []string{"done", t.Result}, []string{word, detail})
	case t.State == stateDead || t.State == stateCancelled:
		require.EqualValues(m.t, t.State, word)
		require.Contains(m.t, detail, t.Reason)
	default:
		require.NotContains(m.t, []string{Gone, "done", "dead", "cancelled"}, word)
		t.Awaited = true
	}
}

func (m *machine) look() { m.lookAt(m.task()) }

// lookAt compares what a caller is shown of a task, and returns it.
func (m *machine) lookAt(id string) Shown {
	got, stored, err := m.store.Show(m.ctx, id)
	require.NoError(m.t, err)
	t := m.spec.Tasks[id]
	require.Equal(m.t, t != nil, stored)
	if t == nil {
		return got
	}
	require.EqualValues(m.t, t.State, got.State)
	require.Equal(m.t, parseSteps(t.Steps.Fields), got.Steps)
	blocking, _ := strconv.Atoi(got.Blocking)
	require.Equal(m.t, []any{t.Owner, len(t.Waits), t.Asked, t.Result}, []any{got.Node, blocking, got.Cancelling, got.Result})
	if t.State == stateDone {
		require.Equal(m.t, strconv.FormatInt(t.remembered(), 10), got.Time)
	}
	if t.State == stateActive {
		require.Equal(m.t, strconv.FormatInt(t.Since, 10), got.Since)
	}
	if t.State == statePending {
		before := 0
		for _, name := range linesOf(t.queue(), groupOf(t.Line)) {
			line := m.spec.Lines[name]
			if at := slices.Index(line, id); at >= 0 {
				before += len(line) - 1 - at
				break
			}
			before += len(line)
		}
		if !got.About {
			require.Equal(m.t, strconv.Itoa(before), got.Position)
		}
	}
	return got
}
