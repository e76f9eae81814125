package queue

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
)

// refusals returns the codes of the incarnation's last commit by position from 1.
func (i *specIncarnation) refusals() map[int]string {
	codes := map[int]string{}
	if i.Refused == nil {
		return codes
	}
	for word := range strings.SplitSeq(*i.Refused, ",") {
		if position, code, ok := strings.Cut(word, "="); ok {
			n, _ := strconv.Atoi(position)
			codes[n] = code
		}
	}
	return codes
}

// withdraw withdraws a commit of all that an actor believes to have in hand, which has not
// come. It may come later: see commitAgain.
func (m *machine) withdraw() {
	a := m.actor()
	if a == nil || len(a.hand) == 0 {
		return
	}
	var batch []*Run
	for _, id := range slices.Sorted(maps.Keys(a.hand)) {
		batch = append(batch, m.outcome(a.hand[id], m.verb))
	}
	e := ended{*a.session, batch}
	a.session.commits++
	if m.withdrawAs(a, a.session, len(batch)) {
		a.ends = append(a.ends, e)
	}
}

// withdrawAgain withdraws a commit that has come, or was withdrawn.
func (m *machine) withdrawAgain() {
	a := m.actor()
	if a == nil || len(a.ends) == 0 {
		return
	}
	e := a.ends[len(a.ends)-1]
	s := e.session
	s.commits++
	m.withdrawAs(a, &s, len(unjoined(e.batch)))
}

// withdrawAs withdraws a commit of n runs and reports whether that was answered.
func (m *machine) withdrawAs(a *actor, s *Session, n int) bool {
	i, number := m.spec.Incarnations[a.name], s.commits
	codes, err := s.withdraw(m.ctx, n)
	withdrawn := isWithdrawn(codes, n)
	m.checkEffects()
	switch {
	case i == nil || i.Deadline <= 0:
		require.Equal(m.t, "FENCED", link.WordOf(err))
		return false
	case number != i.Commit && number != i.Commit+1:
		require.Equal(m.t, "GAP", link.WordOf(err))
		return false
	}
	require.NoError(m.t, err)
	if number == i.Commit+1 {
		i.Commit = number
		m.spec.commit(a.name, slices.Repeat([]*Run{{}}, n+1))
		require.True(m.t, withdrawn)
	}
	expected := i.refusals()
	if len(expected) == 0 {
		expected = nil
	}
	require.Equal(m.t, expected, codes)
	require.Equal(m.t, codes[n+1] != "", withdrawn)
	return true
}
