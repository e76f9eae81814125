package queue

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"
)

// actor is a node as Redis sees it: an incarnation's numbered claims and commits.
type actor struct {
	name    string
	session *Session
	hand    map[string]Claimed // what it believes to have in hand
	claims  []wanted           // what it has sent, the last one last
	ends    []ended
	tend    bool           // its claims ask to tend
	noted   map[string]int // how many notes, by id and claim
	notes   []noting
	batches uint64 // the last number
}

type wanted struct {
	session      Session // as it was before
	want, atOnce int
}

type ended struct {
	session Session
	batch   []*Run
}

func (m *machine) join() {
	live := 0
	for _, a := range m.actors {
		if m.spec.incarnation(a.name).Deadline > 0 {
			live++
		}
	}
	if live == 3 || len(m.actors) == 30 {
		return
	}
	a := &actor{name: fmt.Sprintf("w-%d#%d:00", live+1, len(m.actors)+1), hand: map[string]Claimed{}, noted: map[string]int{}}
	queues := [][]string{{"a", "b"}, {"b", "a"}, {"a"}}[m.draw("queues", 3)]
	a.session = NewSession(SessionConfig{
		Redis: m.redis, Keys: m.keys, Incarnation: a.name, Queues: queues, Cache: m.cache,
		Handles: func(task string) bool { return task == "t" },
	})
	a.session.ending = commitScript
	if len(queues) == len(modelQueues) && m.draw("stored list", 2) == 1 {
		a.session.list = listOf(a.session.cfg)
	}
	m.actors = append(m.actors, a)
	m.spec.Incarnations[a.name] = &specIncarnation{}
	m.renew(a)
}

// renew writes a lease as the keeper's heartbeat does.
func (m *machine) renew(a *actor) {
	if i := m.spec.Incarnations[a.name]; i != nil && i.Deadline >= 0 {
		m.setLease(a.name, m.spec.Now+15000)
	}
}

func (m *machine) setLease(name string, deadline int64) {
	m.spec.Incarnations[name].Deadline = deadline
	require.NoError(m.t, m.redis.Do(m.ctx, "ZADD", m.keys.Leases(), deadline, name).Err())
}

// condemn ends an incarnation. Its actor is not told.
func (m *machine) condemn() {
	if a := m.actor(); a != nil {
		if i := m.spec.Incarnations[a.name]; i != nil && i.Deadline > 0 {
			m.setLease(a.name, -m.spec.Now)
		}
	}
}

// leave frees the id of one that has nothing in hand.
func (m *machine) leave() {
	a := m.actor()
	if a == nil || m.spec.incarnation(a.name).Deadline >= 0 || len(m.owned(a.name)) > 0 {
		return
	}
	m.takeOverOf(a, Remains{}) // who leaves was settled before
	require.NoError(m.t, m.redis.ZRem(m.ctx, m.keys.Leases(), a.name).Err())
	delete(m.spec.Incarnations, a.name)
}

// actor draws one; most often one that lives.
func (m *machine) actor() *actor {
	of := m.actors
	if m.draw("dead ones too", 4) > 0 {
		of = slices.DeleteFunc(slices.Clone(of), func(a *actor) bool { return m.spec.incarnation(a.name).Deadline <= m.spec.Now })
	}
	if len(of) == 0 {
		return nil
	}
	return of[m.draw("actor", len(of))]
}

func (m *machine) owned(name string) []string {
	return slices.DeleteFunc(m.spec.ids(), func(id string) bool {
		t := m.spec.Tasks[id]
		return t.State != stateActive || t.Owner != name
	})
}

func (m *machine) claim() {
	a := m.actor()
	if a == nil {
		return
	}
	a.tend = m.draw("tend", 2) == 1
	m.gather(a)
	w := wanted{*a.session, 1 + m.draw("want", 4), 0}
	w.atOnce = m.draw("at once", w.want+1)
	if got, did := m.claimAsking(a, a.session, w.want, w.atOnce); did {
		a.claims = append(a.claims, w)
		for _, c := range got {
			a.hand[c.ID] = c
		}
	}
}

// claimAgain is a claim whose reply was lost, and that comes once more, at any time.
func (m *machine) claimAgain() { m.repeatClaim(1, 0) }

// claimStale is one that was on its way for long, or of which Redis lost the ones before.
func (m *machine) claimStale() { m.repeatClaim(2, 0); m.repeatClaim(1, 2) }

func (m *machine) repeatClaim(back int, skip uint64) {
	a := m.actor()
	if a == nil || len(a.claims) < back {
		return
	}
	w := a.claims[len(a.claims)-back]
	s := w.session
	s.claims += skip
	m.claimAsking(a, &s, w.want, w.atOnce)
}

// claimAs claims tasks that all begin at once.
func (m *machine) claimAs(a *actor, s *Session, want int) ([]Claimed, bool) {
	return m.claimAsking(a, s, want, want)
}

// claimAsking claims and reports what came, and whether it was answered.
func (m *machine) claimAsking(a *actor, s *Session, want, atOnce int) ([]Claimed, bool) {
	i, number := m.spec.Incarnations[a.name], s.claims+1
	if i != nil && i.Deadline > 0 && i.Deadline <= m.spec.Now {
		reply := m.run(claimScript, a.name, number, want, want, "", 1, "a") // the stream would wait for the next heartbeat
		require.Equal(m.t, []any{"EXPIRED"}, reply)
		return nil, false
	}
	if i == nil || i.Deadline <= 0 { // what the stream would wait for, too, is an answer
		require.Equal(m.t, []any{"FENCED"}, m.run(claimScript, a.name, number, want, want, "", 1, "a"))
	}
	before := *s
	got, broken, err := s.Claim(m.ctx, Ask{Want: want, AtOnce: atOnce, Tend: a.tend})
	require.Empty(m.t, broken)
	switch {
	case i == nil || i.Deadline <= 0:
		require.ErrorIs(m.t, err, ErrFenced)
		return nil, false
	case number != i.Claim && number != i.Claim+1:
		require.ErrorIs(m.t, err, ErrRolledBack)
		return nil, false
	}
	require.NoError(m.t, err)
	m.claimed(a, before, s, want, atOnce, got)
	return got, true
}

// claimed checks the answer to a claim. before and s are the session before and after it.
func (m *machine) claimed(a *actor, before Session, s *Session, want, atOnce int, got []Claimed) {
	number := before.claims + 1
	flat := before.plain() && s.others == 0
	again := number == m.spec.Incarnations[a.name].Claim
	confined := false
	expected, l := []string{}, &lot{}
	if !flat {
		l.Gathering, l.others = gatheringOf(&before), strings.Count(before.gathers, " x|")
	}
	if again {
		expected = append(expected, slices.DeleteFunc(m.owned(a.name), func(id string) bool { return m.spec.Tasks[id].Claim != number })...)
	} else {
		if s.list != "" {
			m.spec.serve(s.list, s.cfg.Queues)
		}
		expected, confined = m.spec.claim(a.name, s.list, s.cfg.Queues, before.parked, want, atOnce, flat, l)
		for _, id := range expected {
			m.shared[id] = m.shared[id] || m.spec.Tasks[id].Batch > 0
		}
		for _, c := range got {
			m.started(c.ID)
		}
	}
	ids := make([]string, len(got))
	for at, c := range got {
		ids[at] = c.ID
		require.NoError(m.t, c.Malformed)
		require.Equal(m.t, m.spec.now(), c.Clock.redis)
		require.Equal(m.t, m.spec.Tasks[c.ID].Options, c.Record.Options)
		require.Equal(m.t, m.spec.Tasks[c.ID].Payload, string(c.Record.Payload), "payload of %s", c.ID)
		require.Equal(m.t, ParseTries(m.spec.Tasks[c.ID].Tries), c.Tries, "tries of %s", c.ID)
	}
	if again {
		require.True(m.t, slices.IsSortedFunc(ids, func(a, b string) int {
			x, y := m.spec.Tasks[a].Place, m.spec.Tasks[b].Place
			return min(x, y, 1) * cmp.Compare(x, y) // others come in any order
		}), "the order of %v", ids)
		slices.Sort(ids)
	}
	require.Equal(m.t, expected, ids, "%s claims %d", a.name, want)
	if again {
		l.asked, l.filled = len(ids), true // it looks again
	}
	if confined {
		want = atOnce
	}
	idle, was := l.asked < want && !l.filled, before.idle || before.tends
	require.Equal(m.t, confined && !idle, s.confined)
	if s.list != "" {
		require.Equal(m.t, idle, s.idle)
		m.spec.claimed(a.name, []string{"@" + s.list}, again, was, idle)
		m.spec.passOn(again || idle, s.cfg.Queues)
		return
	}
	var tended []string
	if flat && a.tend && idle && len(ids) > 0 {
		tended = m.spec.tends(a.name, s.cfg.Queues)
	}
	require.Equal(m.t, len(tended) > 0, s.tends)
	for _, q := range s.cfg.Queues {
		if was && !slices.Contains(tended, q) && m.spec.untend(q, a.name) && again {
			idle = false // the lost answer was that it tends
		}
	}
	require.Equal(m.t, idle, s.idle || s.tends)
	for _, q := range s.cfg.Queues {
		m.spec.claimed(a.name, []string{q}, again, was, idle && !slices.Contains(tended, q))
	}
	m.spec.passOn(idle, s.cfg.Queues)
}

func (m *machine) resign() {
	a := m.actor()
	if a == nil {
		return
	}
	m.resignAs(a, m.draw("asked to end", 4) == 0)
}

func (m *machine) resignAs(a *actor, asked bool) {
	args := []any{a.name, flagOf(asked), "a", "b"}
	if a.session.list != "" {
		args = append(args[:2], "@"+a.session.list)
	}
	require.NoError(m.t, resignScript.Run(m.ctx, m.redis, m.keys.TaskKeys(), args...).Err())
	if i := m.spec.incarnation(a.name); asked && i.hasStream() {
		i.Asked = true
	}
	delete(m.spec.Idle["@"+a.session.list], a.name)
	for _, q := range modelQueues {
		delete(m.spec.Idle[q], a.name)
		if a.session.list == "" {
			m.spec.untend(q, a.name)
		}
		if m.spec.pending(q) && (a.session.list == "" || m.spec.Ready[q]) {
			m.spec.wake(q)
		}
	}
}

// solo announces which suspect runs, as a runner does.
func (m *machine) solo() {
	a := m.actor()
	if a == nil || m.spec.Incarnations[a.name] == nil {
		return
	}
	if owned := m.owned(a.name); len(owned) > 0 {
		m.soloAs(a, owned[m.draw("suspect", len(owned))])
	}
}

func (m *machine) soloAs(a *actor, id string) {
	reply := m.run(soloScript, a.name, id)
	if m.spec.Incarnations[a.name].Deadline <= 0 {
		require.Equal(m.t, []any{"FENCED"}, reply)
		return
	}
	require.Equal(m.t, []any{"OK"}, reply)
	m.spec.Incarnations[a.name].Solo = id
	m.spec.began(id)
}

// quiet notes that a node claims no more, or again; what it does is another matter.
func (m *machine) quiet() {
	if a := m.actor(); a != nil {
		m.quietAs(a, []string{"", "1"}[m.draw("quiet", 2)])
	}
}

func (m *machine) quietAs(a *actor, quiet string) {
	args := []any{a.name, quiet}
	for _, q := range a.session.cfg.Queues {
		args = append(args, q)
	}
	reply := m.run(quietScript, args...)
	i := m.spec.incarnation(a.name)
	if i.Deadline <= 0 {
		require.Equal(m.t, []any{"FENCED"}, reply)
		return
	}
	require.Equal(m.t, []any{"OK"}, reply)
	if i.Quiet = quiet != ""; i.Quiet {
		i.Queues = strings.Join(a.session.cfg.Queues, " ")
	}
}

// crash is a node that ends, or is cut off, and whose tasks are taken over at once.
func (m *machine) crash() {
	if a := m.actor(); a != nil && m.spec.Incarnations[a.name] != nil {
		m.setLease(a.name, -m.spec.Now)
		m.takeOverSome(a)
	}
}

func (m *machine) takeOver() {
	if len(m.actors) > 0 {
		m.takeOverSome(m.actors[m.draw("actor", len(m.actors))])
	}
}

func (m *machine) takeOverSome(a *actor) {
	var r Remains
	r.Unknown = m.draw("process died", 2) == 1
	for _, id := range m.owned(a.name) {
		switch m.draw("what it did", 4) {
		case 0:
			r.Suspects = append(r.Suspects, id)
		case 1:
			r.Running = append(r.Running, id)
		default:
		}
	}
	m.takeOverOf(a, r)
}

func (m *machine) takeOverOf(a *actor, r Remains) {
	h, err := m.store.TakeOver(m.ctx, a.name, r)
	if m.spec.incarnation(a.name).Deadline > 0 {
		require.ErrorContains(m.t, err, "LIVE")
		return
	}
	require.NoError(m.t, err)
	require.Len(m.t, h.Dead, h.Quarantined)
	h.Dead = nil
	require.Equal(m.t, m.spec.takeOver(a.name, m.owned(a.name), r), h)
	if h.Left == 0 {
		a.hand = maps.Clone(a.hand) // it goes on with what it believes to have
	}
}

func (m *machine) progress() {
	a := m.actor()
	if a == nil {
		return
	}
	id := m.task()
	reply := m.run(progressScript, a.name, id, `{"fraction":1}`)
	t := m.spec.Tasks[id]
	if t == nil || t.State != stateActive || t.Owner != a.name {
		require.Equal(m.t, []any{"FENCED"}, reply)
		return
	}
	require.Equal(m.t, []any{"OK"}, reply)
	t.Progress = true
}
