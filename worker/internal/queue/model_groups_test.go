package queue

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
)

// specGroups are the groups of all queues, and whose tasks may not begin. A party is a queue, or a
// group of it.
type specGroups struct {
	Turns   map[string]map[string]int64 // by queue: the groups that have tasks in their lines, "" for those without a group
	Special map[string]bool             // queues in which groups and rests are looked at
	Halted  map[string]bool
	Resting map[string]int64
	Rates   map[string]int64 // in µs
	Refills map[string]int64
	Holders map[string]string // parties, by id; with the mark of those that hold a group, of suspects that were put aside
	// Returned has the order of tasks that were claimed and have not run.
	Returned map[string]string

	placed map[string]map[string]bool // in this step: got a turn, the last one
}

func newSpecGroups() specGroups {
	return specGroups{
		map[string]map[string]int64{}, map[string]bool{}, map[string]bool{}, map[string]int64{}, map[string]int64{}, map[string]int64{},
		map[string]string{}, map[string]string{}, map[string]map[string]bool{},
	}
}

// party returns the group of a task as [Party] does, or "" for a task without one.
func (t *specTask) party() string {
	if g := groupOf(t.Line); g != "" {
		return Party(t.queue(), g)
	}
	return ""
}

func (g *specGroups) held(party string) (n int) {
	for _, other := range g.Holders {
		if other == party {
			n++
		}
	}
	return n
}

// allowance returns how many tasks of a group may begin from its lines.
func (s *spec) allowance(party string) int {
	n, held := s.allowed(party)
	if held {
		n = min(n, len(s.Lines[party+HeldMark]))
	}
	return n
}

// allowed returns how many tasks of a group may begin no matter who holds it, and whether tasks do: only these may.
func (s *spec) allowed(party string) (n int, held bool) {
	l := s.Settings[queueOf(party)].limits()
	n, held = math.MaxInt, l.Strict && s.Groups.held(party) > 0 || s.Groups.held(party+HeldMark) > 0
	if s.Groups.Halted[party] || s.Groups.Resting[party] > s.Now {
		return 0, held
	}
	if l.PerGroup > 0 {
		n = l.PerGroup - s.activeOf(party)
	}
	if l.GroupRate.Tasks > 0 {
		tokens, _ := s.tokens(party, l.GroupRate)
		n = min(n, tokens-s.taken[party])
	}
	return max(0, n), held
}

// mayBegin reports whether a parked task may begin, as far as its group goes.
func (s *spec) mayBegin(t *specTask) bool {
	party, holds := t.party(), s.Groups.Holders[t.ID] != ""
	if party == "" {
		return true
	}
	n, held := s.allowed(party)
	return n > 0 && (holds || !held)
}

// activeOf returns how many tasks of a group are in somebody's hands.
func (s *spec) activeOf(party string) (n int) {
	for _, t := range s.Tasks {
		if t.State == stateActive && t.party() == party {
			n++
		}
	}
	return n
}

// intoGroup puts a task into a line of its group at a place, or to the front of those that hold it.
func (s *spec) intoGroup(t *specTask, at int) {
	t.State = statePending
	line := t.Line
	if s.Groups.Holders[t.ID] != "" {
		line = t.party() + HeldMark
		at = len(s.Lines[line])
	}
	at = s.behind(t, line, at)
	s.Lines[line] = slices.Insert(s.Lines[line], at, t.ID)
	queue, group := t.queue(), groupOf(t.Line)
	s.Groups.Special[queue], s.Queues[queue] = true, true
	if _, has := s.Groups.Turns[queue][group]; has {
		if line != t.Line {
			s.offer(t.party())
		}
		return
	}
	s.Ready[queue] = true
	stops := s.allowance(t.party()) == 0
	s.turn(queue, group, stops)
	s.touched[queue] = s.touched[queue] || !stops
}

// hold has a task hold its group, letGo ends that.
func (s *spec) hold(t *specTask) {
	if t.party() != "" && s.Settings[t.queue()].limits().Strict {
		s.Groups.Holders[t.ID] = cmp.Or(s.Groups.Holders[t.ID], t.party())
	}
}

// order is that of a task among those that come back.
func (t *specTask) order() string { return fmt.Sprintf("%d%08d", t.Since, t.Place) }

// giveBack puts a task that was claimed to the front of its line.
func (s *spec) giveBack(t *specTask, order string) {
	s.Groups.Returned[t.ID] = order
	s.front(t)
}

// behind returns the place in a line of a task that comes back: behind those that were claimed before it. at is that of others.
func (s *spec) behind(t *specTask, line string, at int) int {
	order, comes := s.Groups.Returned[t.ID]
	if !comes {
		return at
	}
	ids := s.Lines[line]
	for at = len(ids); at > 0; at-- {
		if other, did := s.Groups.Returned[ids[at-1]]; !did || other > order {
			break
		}
	}
	return at
}

// putAside has a suspect hold its group until it begins.
func (s *spec) putAside(t *specTask, order string) {
	if t.party() == "" {
		return
	}
	if s.hold(t); s.Groups.Holders[t.ID] == "" {
		s.Groups.Holders[t.ID] = t.party() + HeldMark
	}
	s.Groups.Returned[t.ID] = order
	if group := groupOf(t.Line); s.Groups.Turns[t.queue()][group] > 0 {
		s.turn(t.queue(), group, true)
	}
}

// began lets the group of a suspect go.
func (s *spec) began(id string) {
	if strings.HasSuffix(s.Groups.Holders[id], HeldMark) {
		s.letGo(id)
	}
}

func (s *spec) letGo(id string) {
	if party := s.Groups.Holders[id]; party != "" {
		delete(s.Groups.Holders, id)
		s.offer(strings.TrimSuffix(party, HeldMark))
	}
}

// over offers their turns to those whose rest is over, or who have tokens again.
func (s *spec) over() {
	for _, times := range []map[string]int64{s.Groups.Resting, s.Groups.Refills} {
		for _, party := range slices.SortedFunc(maps.Keys(times), func(a, b string) int {
			return cmp.Or(cmp.Compare(times[a], times[b]), strings.Compare(a, b))
		}) {
			if times[party] <= s.Now {
				delete(times, party)
				s.offer(party)
			}
		}
	}
}

// rest has a party rest.
func (s *spec) rest(t *specTask, till int64) {
	queue, party := t.queue(), t.party()
	if party == "" {
		s.Groups.Special[queue] = true
		party = queue
	} else if group := groupOf(t.Line); s.Groups.Turns[queue][group] > 0 {
		s.turn(queue, group, true)
	}
	s.Groups.Resting[party] = max(s.Groups.Resting[party], till)
}

func (s *spec) renderGroups(out stored) {
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	grouped := map[string]int64{}
	for queue, turns := range s.Groups.Turns {
		for group, turn := range turns {
			out.put("groups:"+queue, EscapeGroup(group), number(turn))
		}
	}
	for line, ids := range s.Lines {
		if groupOf(line) != "" {
			grouped[queueOf(line)] += int64(len(ids))
		}
	}
	for queue, n := range grouped {
		if n > 0 {
			out.put("grouped", queue, number(n))
		}
	}
	for party := range s.Groups.Halted {
		out.put("halted", party, "")
	}
	for name, times := range map[string]map[string]int64{"resting": s.Groups.Resting, "rates": s.Groups.Rates, "refills": s.Groups.Refills} {
		for party, at := range times {
			out.put(name, party, number(at))
		}
	}
	for id, party := range s.Groups.Holders {
		out.put("holders", id, party)
		out.put("held", party, strconv.Itoa(s.Groups.held(party)))
	}
	for id, order := range s.Groups.Returned {
		out.put("returned", id, order)
	}
	active := map[string]int{}
	for _, t := range s.Tasks {
		if party := t.party(); t.State == stateActive && party != "" {
			active[party]++
		}
	}
	for party, n := range active {
		out.put("active", party, strconv.Itoa(n))
	}
}

// halt pauses a group, or lets it go again.
func (m *machine) halt() {
	m.haltAs(modelQueues[m.draw("queue", 2)], modelGroups[m.draw("group", len(modelGroups))], m.draw("paused", 2) == 1)
}

func (m *machine) haltAs(queue, group string, paused bool) {
	party := Party(queue, group)
	used, err := m.store.PauseGroup(m.ctx, queue, group, paused)
	require.NoError(m.t, err)
	_, waits := m.spec.Groups.Turns[queue][group]
	require.Equal(m.t, waits || m.spec.activeOf(party) > 0, used)
	if delete(m.spec.Groups.Halted, party); !paused {
		delete(m.spec.Groups.Resting, party)
		m.spec.offer(party)
		return
	}
	m.spec.Groups.Halted[party], m.spec.Queues[queue] = true, true
	if waits {
		m.spec.turn(queue, group, true)
	} else {
		m.spec.offer(party)
	}
}

// modelGroups are the groups of the model. A name with every mark shows that they are kept apart.
var modelGroups = []string{"g", "~|x/^"}

// groupLimits draws limits of groups, and rates.
func (m *machine) groupLimits(l *Limits) {
	l.PerGroup = m.draw("per group", 3)
	if l.Strict = m.draw("strict", 4) == 0; l.Strict {
		l.PerGroup = 1
	}
	rates := []Rate{{}, {}, {3, time.Second, 1}, {1, 4 * time.Second, 2}}
	l.Rate, l.GroupRate = rates[m.draw("rate", len(rates))], rates[m.draw("group rate", len(rates))]
}
