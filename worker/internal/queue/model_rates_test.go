package queue

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// tokens returns how many tasks of a party may begin, and when in µs it has all tokens again.
func (s *spec) tokens(party string, r Rate) (n int, full int64) {
	at, interval := s.Now*1000, float64(r.Per.Microseconds())/float64(r.Tasks)
	full = max(at, min(s.Groups.Rates[party], at+int64(math.Ceil(float64(r.Burst)*interval))))
	return max(0, int(math.Floor(float64(at-full)/interval+float64(r.Burst)))), full
}

// spend spends tokens of a party.
func (s *spec) spend(party string, r Rate, n int) {
	if r.Tasks == 0 {
		return
	}
	interval := float64(r.Per.Microseconds()) / float64(r.Tasks)
	had, full := s.tokens(party, r)
	full += int64(math.Ceil(float64(n) * interval))
	s.Groups.Rates[party] = full
	if had <= n {
		next := float64(full) + float64(1-r.Burst)*interval
		s.Groups.Refills[party] = int64(math.Ceil(max(next, min(float64(full), float64(s.Now*1000+4000))) / 1000))
	}
}

// rescale keeps what a party has spent when its rate changes.
func (s *spec) rescale(party string, old, r Rate) {
	delete(s.Groups.Refills, party)
	full, at := s.Groups.Rates[party], s.Now*1000
	if r.Tasks == 0 {
		delete(s.Groups.Rates, party)
	}
	if r.Tasks == 0 || full <= at {
		return
	}
	interval := func(r Rate) float64 { return float64(r.Per.Microseconds()) / float64(r.Tasks) }
	if old.Tasks > 0 && interval(old) != interval(r) {
		s.Groups.Rates[party] = at + int64(math.Ceil(float64(full-at)*interval(r)/interval(old)))
	}
	s.spend(party, r, 0)
}

// parties returns the groups of a queue that have tasks in their lines, or have spent tokens.
func (s *spec) parties(queue string) map[string]bool {
	all := map[string]bool{}
	for group := range s.Groups.Turns[queue] {
		all[Party(queue, group)] = true
	}
	for party := range s.Groups.Rates {
		all[party] = queueOf(party) == queue
	}
	maps.DeleteFunc(all, func(party string, has bool) bool { return !has || groupOf(party) == "" })
	return all
}

// forgetRates forgets parties that have all their tokens, and reports whether there may be more.
func (s *spec) forgetRates(most int) (more bool) {
	rates := s.Groups.Rates
	over := slices.DeleteFunc(slices.Collect(maps.Keys(rates)), func(party string) bool { return rates[party] > s.Now*1000 })
	slices.SortFunc(over, func(a, b string) int { return cmp.Or(cmp.Compare(rates[a], rates[b]), strings.Compare(a, b)) })
	for _, party := range over[:min(len(over), most)] {
		delete(rates, party)
	}
	return len(over) >= most
}

// startLog has when tasks of parties began, in ms, as long as their rates and Redis's clock go on. A start is a task that a claim
// got, whatever became of it or of its node.
type startLog map[string][]int64

// check adds a start of a party. Over any interval t at most Burst + t × Tasks/Per tasks may begin: this knows
// nothing of how the scripts, and the spec, count tokens.
func (l startLog) check(t require.TestingT, party string, r Rate, now int64) {
	if r.Tasks == 0 {
		return
	}
	l[party] = append(l[party], now)
	for i, from := range l[party] {
		n := len(l[party]) - i
		require.LessOrEqual(t, int64(n-r.Burst)*r.Per.Microseconds(), (now-from)*1000*int64(r.Tasks), "%d starts of %s in %d ms at %v", n, party, now-from, r)
	}
}

// forget begins anew for a queue, or for its groups.
func (l startLog) forget(queue string, groups bool) {
	maps.DeleteFunc(l, func(party string, _ []int64) bool { return queueOf(party) == queue && groups == (groupOf(party) != "") })
}

// started checks the rates of a task's queue and group when a claim got it.
func (m *machine) started(id string) {
	t := m.spec.Tasks[id]
	l := m.spec.Settings[t.queue()].limits()
	m.starts.check(m.t, t.queue(), l.Rate, m.spec.Now)
	if party := t.party(); party != "" {
		m.starts.check(m.t, party, l.GroupRate, m.spec.Now)
	}
}

func TestTheLogOfStartsKnowsTheBoundOfARate(t *testing.T) {
	r := Rate{Tasks: 3, Per: time.Second, Burst: 2}
	begins := func(at ...int64) error {
		return attempt(func(v *verdict) {
			for l := (startLog{}); len(at) > 0; at = at[1:] {
				l.check(v, "a", r, at[0])
			}
		})
	}
	require.NoError(t, begins(0, 0, 334, 667, 1000, 5000, 5000, 5334))
	require.Error(t, begins(0, 0, 333), "no token has come")
	require.Error(t, begins(0, 0, 0), "more than the burst")
	require.Error(t, begins(0, 334, 334, 667, 1000, 1001), "the first of an interval is not the only one to count from")
	require.Error(t, begins(0, 9000, 9000, 9000), "tokens do not gather up beyond the burst")
}
