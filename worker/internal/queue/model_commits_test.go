package queue

import (
	"maps"
	"slices"

	"github.com/stretchr/testify/require"
)

// commit ends some tasks that an actor believes to have in hand, and perhaps
// one that it never had.
func (m *machine) commit() { m.commitSome(m.verb) }

func (m *machine) commitDone() {
	m.commitSome(func(o *Run) { o.outcome.verb = Done; o.outcome.args = nil })
}

func (m *machine) commitSome(verb func(*Run)) {
	m.commitAll(verb, func(batch []*Run) []*Run { return batch })
}

// commitAll is commitSome of runs some of which are joined.
func (m *machine) commitAll(verb func(*Run), joint func([]*Run) []*Run) {
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
	batch = joint(batch)
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
	a.tend = m.draw("tend", 3) > 0
	m.workAs(a, batch, 1+m.draw("want", 4))
}

func (m *machine) workAs(a *actor, batch []*Run, want int) (claimed bool) {
	before := *a.session
	if len(batch) == 0 || !a.session.Works(batch) {
		return false
	}
	before.others = 0
	e, w, all := ended{before, slices.Clone(batch)}, wanted{before, want, want}, Worked{}
	if !m.commitBy(a, &before, batch, func() (map[string]string, []End, error) {
		var err error
		all, err = a.session.Work(m.ctx, batch, Ask{Want: want, AtOnce: want, Tend: a.tend})
		require.Empty(m.t, all.Broken)
		return all.Refused, all.Ends, err
	}) {
		return false
	}
	a.ends = append(a.ends, e)
	if all.Claimed {
		m.claimed(a, before, a.session, want, want, all.Got)
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
	all := unjoined(batch)
	if _, withdrawn := i.refusals()[len(all)+1]; withdrawn && number == i.Commit {
		number++ // the session sends the commit again under the next number
	}
	if number == i.Commit+1 {
		i.Commit = number
		m.spec.commit(a.name, batch)
		m.settled(followingBodies(batch))
	}
	expected := map[string]string{}
	for n, code := range i.refusals() {
		if n <= len(all) { // one more if the commit was withdrawn
			expected[all[n-1].ID] = code
		}
	}
	if refused != nil || len(expected) > 0 {
		require.Equal(m.t, expected, refused)
	}
	for _, o := range all {
		if code, is := refused[o.ID]; !is || code == "FENCED" {
			delete(a.hand, o.ID)
		}
	}
	m.checkEffects()
	return true
}
