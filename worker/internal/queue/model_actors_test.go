package queue

import (
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
}

type wanted struct {
	session Session // as it was before
	want    int
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
	a := &actor{name: fmt.Sprintf("w-%d#%d:00", live+1, len(m.actors)+1), hand: map[string]Claimed{}}
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
	w := wanted{*a.session, 1 + m.draw("want", 4)}
	if got, did := m.claimAs(a, a.session, w.want); did {
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
	m.claimAs(a, &s, w.want)
}

// claimAs claims and reports what came, and whether it was answered.
func (m *machine) claimAs(a *actor, s *Session, want int) ([]Claimed, bool) {
	i, number := m.spec.Incarnations[a.name], s.claims+1
	if i != nil && i.Deadline > 0 && i.Deadline <= m.spec.Now {
		reply := m.run(claimScript, a.name, number, want, "", 1, "a") // the stream would wait for the next heartbeat
		require.Equal(m.t, []any{"EXPIRED"}, reply)
		return nil, false
	}
	if i == nil || i.Deadline <= 0 { // what the stream would wait for, too, is an answer
		require.Equal(m.t, []any{"FENCED"}, m.run(claimScript, a.name, number, want, "", 1, "a"))
	}
	before := *s
	got, broken, err := s.Claim(m.ctx, want)
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
	m.claimed(a, before, s, want, got)
	return got, true
}

// claimed checks the answer to a claim. before and s are the session before and after it.
func (m *machine) claimed(a *actor, before Session, s *Session, want int, got []Claimed) {
	number := before.claims + 1
	again := number == m.spec.Incarnations[a.name].Claim
	expected := []string{}
	if again {
		expected = append(expected, slices.DeleteFunc(m.owned(a.name), func(id string) bool { return m.spec.Tasks[id].Claim != number })...)
	} else {
		if s.list != "" {
			m.spec.serve(s.list, s.cfg.Queues)
		}
		expected = m.spec.claim(a.name, s.list, s.cfg.Queues, before.parked, want)
	}
	ids := make([]string, len(got))
	for at, c := range got {
		ids[at] = c.ID
		require.NoError(m.t, c.Malformed)
		require.Equal(m.t, m.spec.now(), c.Clock.redis)
		require.Equal(m.t, m.spec.Tasks[c.ID].Options, c.Record.Options)
		require.Equal(m.t, ParseTries(m.spec.Tasks[c.ID].Tries), c.Tries, "tries of %s", c.ID)
	}
	if again {
		slices.Sort(ids)
	}
	require.Equal(m.t, expected, ids, "%s claims %d", a.name, want)
	require.Equal(m.t, len(ids) < want, s.idle)
	if s.list != "" {
		m.spec.claimed(a.name, []string{"@" + s.list}, again, before.idle, s.idle)
		m.spec.passOn(again || s.idle, s.cfg.Queues)
		return
	}
	m.spec.claimed(a.name, s.cfg.Queues, again, before.idle, s.idle)
	m.spec.passOn(s.idle, s.cfg.Queues)
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
	require.NoError(m.t, m.redis.HSet(m.ctx, m.keys.Stream(a.name), "solo", id).Err())
	m.spec.Incarnations[a.name].Solo = id
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

// commit ends some tasks that an actor believes to have in hand, and perhaps
// one that it never had.
func (m *machine) commit() { m.commitSome(m.verb) }

func (m *machine) commitDone() {
	m.commitSome(func(o *Run) { o.outcome.verb = Done; o.outcome.args = nil })
}

func (m *machine) commitSome(verb func(*Run)) {
	a := m.actor()
	if a == nil {
		return
	}
	var batch []*Run
	for _, id := range slices.Sorted(maps.Keys(a.hand)) {
		if m.draw("ends", 3) > 0 {
			batch = append(batch, m.outcome(a.hand[id], verb))
		}
	}
	if id := m.task(); m.draw("not its own", 8) == 0 && m.spec.Tasks[id] != nil && a.hand[id].ID == "" {
		r, _ := ParseRecord(m.spec.Tasks[id].Record)
		batch = append(batch, m.outcome(Claimed{ID: id, Record: r}, verb))
	}
	if len(batch) == 0 {
		return
	}
	e := ended{*a.session, slices.Clone(batch)}
	if m.commitAs(a, a.session, batch) {
		a.ends = append(a.ends, e)
	}
}

func (m *machine) commitAgain() { m.repeatCommit(1, 0) }

func (m *machine) commitStale() { m.repeatCommit(2, 0); m.repeatCommit(1, 2) }

func (m *machine) repeatCommit(back int, skip uint64) {
	a := m.actor()
	if a == nil || len(a.ends) < back {
		return
	}
	e := a.ends[len(a.ends)-back]
	s := e.session
	s.commits += skip
	m.commitAs(a, &s, slices.Clone(e.batch))
}

// work commits tasks that are done, and claims others with the same request if it can.
func (m *machine) work() {
	a := m.actor()
	if a == nil {
		return
	}
	var batch []*Run
	for _, id := range slices.Sorted(maps.Keys(a.hand)) {
		if m.draw("ends", 3) > 0 {
			batch = append(batch, m.outcome(a.hand[id], func(o *Run) { o.outcome.verb = Done; o.outcome.args = nil }))
		}
	}
	m.workAs(a, batch, 1+m.draw("want", 4))
}

func (m *machine) workAs(a *actor, batch []*Run, want int) (claimed bool) {
	before := *a.session
	if len(batch) == 0 || !a.session.Works(batch) {
		return false
	}
	before.others = 0
	e, w, all := ended{before, slices.Clone(batch)}, wanted{before, want}, Worked{}
	if !m.commitBy(a, &before, batch, func() (map[string]string, []End, error) {
		var err error
		all, err = a.session.Work(m.ctx, batch, want)
		require.Empty(m.t, all.Broken)
		return all.Refused, all.Ends, err
	}) {
		return false
	}
	a.ends = append(a.ends, e)
	if all.Claimed {
		m.claimed(a, before, a.session, want, all.Got)
		a.claims = append(a.claims, w)
		for _, c := range all.Got {
			a.hand[c.ID] = c
		}
	}
	return all.Claimed
}

// commitAs commits and reports whether it was answered.
func (m *machine) commitAs(a *actor, s *Session, batch []*Run) bool {
	return m.commitBy(a, s, batch, func() (map[string]string, []End, error) { return s.Commit(m.ctx, batch) })
}

func (m *machine) commitBy(a *actor, s *Session, batch []*Run, commit func() (map[string]string, []End, error)) bool {
	i, number := m.spec.Incarnations[a.name], s.commits+1
	refused, ends, err := commit()
	ends = slices.DeleteFunc(ends, func(e End) bool { return e.How == Duplicate })
	report(m.onEnd, ends)
	switch {
	case i == nil || i.Deadline <= 0:
		require.ErrorIs(m.t, err, ErrFenced)
		m.checkEffects()
		return false
	case number != i.Commit && number != i.Commit+1:
		require.ErrorIs(m.t, err, ErrRolledBack)
		m.checkEffects()
		return false
	}
	require.NoError(m.t, err)
	if _, withdrawn := i.refusals()[len(batch)+1]; withdrawn && number == i.Commit {
		number++ // the session sends the commit again under the next number
	}
	if number == i.Commit+1 {
		i.Commit = number
		m.spec.commit(a.name, batch)
	}
	expected := map[string]string{}
	for n, code := range i.refusals() {
		if n <= len(batch) { // one more if the commit was withdrawn
			expected[batch[n-1].ID] = code
		}
	}
	if refused != nil || len(expected) > 0 {
		require.Equal(m.t, expected, refused)
	}
	for _, o := range batch {
		if code, is := refused[o.ID]; !is || code == "FENCED" {
			delete(a.hand, o.ID)
		}
	}
	m.checkEffects()
	return true
}
