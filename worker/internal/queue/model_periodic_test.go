package queue

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
)

// tick asks for a periodic task, as any number of processes do, and pauses it at times.
func (m *machine) tick() {
	tick := m.spec.now().Add(time.Duration(m.draw("tick", 4)-2) * time.Second).Truncate(time.Second)
	m.tickAs("t", "default", tick.UnixMilli(), []string{TickFirst, TickRun, TickSkip}[m.draw("verb", 3)])
	if m.draw("pauses", 3) == 0 {
		m.pausePeriodic("t", []string{"", "1"}[m.draw("paused", 2)])
	}
	all, err := m.store.Periodic(m.ctx)
	require.NoError(m.t, err)
	all = slices.DeleteFunc(all, func(k Known) bool { return k.Name != "t" })
	at, _, _ := m.periodic("t")
	shown := time.UnixMilli(at)
	if m.spec.Ticks["t"][0] == '0' {
		shown = time.Time{}
	}
	require.Equal(m.t, shown, all[0].Last)
}

// periodic returns what is known of a periodic task.
func (m *machine) periodic(name string) (last int64, paused string, known bool) {
	state, known := m.spec.Ticks[name]
	text, paused, _ := strings.Cut(state, "|")
	last, _ = strconv.ParseInt(text, 10, 64)
	return last, paused, known
}

func (m *machine) tickAs(name, queue string, tick int64, verb string) {
	m.tickOf(name, tick, verb, Periodic{Task: "t", Queue: queue, Schedule: "every 1s", Payload: []byte("null")})
}

func (m *machine) tickOf(name string, tick int64, verb string, p Periodic) {
	s, err := m.store.Tick(m.ctx, name, time.UnixMilli(tick), verb, p)
	if p.Text != "" && (m.spec.PeriodicSet[name] != p.Text || m.spec.registered(name)) {
		require.ErrorIs(m.t, err, ErrPeriodicOver)
		return
	}
	require.NoError(m.t, err)
	at, paused, known := m.periodic(name)
	past := ""
	isNew := !known || m.spec.Ticks[name][0] == '0'
	ahead, did, leftOut := known && at > m.spec.Now, false, false
	switch {
	case !known, ahead:
		at = m.spec.Now
	case verb == TickFirst || tick <= at || tick > m.spec.Now:
	case verb == TickRun && paused == "" && m.spec.parkedTick(name, p.Queue+"|t") != "":
		at, did, leftOut, past = tick, true, true, "parked"
	case verb == TickRun && paused == "":
		t := p.at(name, time.UnixMilli(tick))
		at, isNew, did, past = tick, false, m.spec.add(t, false) == "", "duplicate"
		if did {
			past = "enqueued"
		}
	default:
		if at, did, past = tick, verb == TickSkip, "missed"; paused != "" {
			past = "paused"
		}
	}
	if past != "" {
		lines := append(slices.Collect(strings.Lines(m.spec.TickHistory[name])), fmt.Sprintf("%d|%d|%s\n", tick, m.spec.Now, past))
		m.spec.TickHistory[name] = strings.Join(lines[max(0, len(lines)-20):], "")
	}
	require.Equal(m.t, []any{ahead, at, paused != "", did, leftOut}, []any{!s.Ahead.IsZero(), s.Last.UnixMilli(), s.Paused, s.Did, s.LeftOut})
	m.noteTick(name, at, paused, isNew)
	m.spec.Schedules[name] = p.schedule()
}

// schedule returns the one that Redis has after a tick.
func (p Periodic) schedule() string {
	if p.Text != "" {
		_ = json.Unmarshal([]byte(p.Text), &p)
	}
	return p.Schedule
}

func (m *machine) noteTick(name string, at int64, paused string, isNew bool) {
	state := strconv.FormatInt(at, 10) + "|" + paused
	if isNew {
		state = "0" + state
	}
	m.spec.Ticks[name] = state
}

func (m *machine) pausePeriodic(name, mark string) {
	known, err := m.store.PausePeriodic(m.ctx, name, mark)
	require.NoError(m.t, err)
	require.True(m.t, known)
	if mark == "remove" {
		delete(m.spec.Ticks, name)
		delete(m.spec.PeriodicSet, name)
		delete(m.spec.TickHistory, name)
		delete(m.spec.Registered, name)
		delete(m.spec.Schedules, name)
		return
	}
	at, paused, _ := m.periodic(name)
	if paused != "" && mark == "" {
		at = m.spec.Now
	}
	m.noteTick(name, at, mark, m.spec.Ticks[name][0] == '0')
}

// registered reports whether a running program registers the periodic task.
func (s *spec) registered(name string) bool {
	recent := func(seen int64) bool { return s.Now-seen <= 60000 && seen-s.Now <= 60000 }
	if seen, has := s.Registered[name]; !has || !recent(seen) {
		return false
	}
	older := true
	for program, text := range s.Programs {
		at, of, _ := strings.Cut(text, "|")
		if seen, _ := strconv.ParseInt(at, 10, 64); recent(seen) && slices.Contains(strings.Fields(of), name) {
			if program == runningProgram {
				return true
			}
			older = false
		}
	}
	return older
}

// runningProgram is the program that listens, see listen.
const runningProgram = "here"

// setPeriodic sets the periodic task s, ticks it as a process that has read it before or not does,
// or has a program register it.
func (m *machine) setPeriodic() {
	switch m.draw("what of it", 4) {
	case 0:
		m.setAs("s", Periodic{Task: "t", Queue: "a", Schedule: fmt.Sprintf("every %ds", 1+m.draw("schedule", 2)), Payload: []byte("1")})
	case 1:
		m.registerAs([]string{"", runningProgram, "gone"}[m.draw("program", 3)], []string{"s", "ss"}[m.draw("of two", 2):]...)
	case 2:
		if _, _, known := m.periodic("s"); known && m.draw("remove", 3) == 0 {
			m.pausePeriodic("s", "remove")
		}
	default:
		text := m.spec.PeriodicSet["s"]
		if m.draw("read before", 3) == 0 {
			text = Periodic{Task: "t", Queue: "a", Schedule: "every 1s", Payload: []byte("1")}.String()
		}
		if text != "" {
			tick := m.spec.now().Truncate(time.Second)
			m.tickOf("s", tick.UnixMilli(), TickRun, Periodic{Task: "t", Queue: "a", Payload: []byte("1"), Text: text})
		}
	}
}

func (m *machine) setAs(name string, p Periodic) {
	err := m.store.SetPeriodic(m.ctx, name, p)
	if m.spec.registered(name) {
		require.ErrorIs(m.t, err, ErrRegistered)
		return
	}
	require.NoError(m.t, err)
	at, paused, known := m.periodic(name)
	isNew := !known || m.spec.Ticks[name][0] == '0'
	if !known || m.spec.Schedules[name] != p.Schedule {
		at = m.spec.Now
	}
	m.noteTick(name, at, paused, isNew)
	m.spec.PeriodicSet[name], m.spec.Schedules[name] = p.String(), p.Schedule
	all, err := m.store.PeriodicSet(m.ctx)
	require.NoError(m.t, err)
	p.Text = p.String()
	require.Equal(m.t, p, all[name])
}

// registerAs has a program register periodic tasks: an older one without an id, one that runs, or one that has ended.
func (m *machine) registerAs(program string, names ...string) {
	require.NoError(m.t, m.store.NoteRegistered(m.ctx, program, names, m.spec.now()))
	for _, name := range names {
		m.spec.Registered[name] = m.spec.Now
	}
	if program != "" {
		m.spec.Programs[program] = strconv.FormatInt(m.spec.Now, 10) + "|" + strings.Join(names, " ")
	}
}
