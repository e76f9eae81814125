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

// stopped stands for the turn of a group of which no task may begin.
const stopped = 1_000_000_000_000_001

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

// linesOf returns the lines of a group or, of "", those of its queue.
func linesOf(queue, group string) []string {
	if group == "" {
		return Lines(queue)
	}
	return GroupLines(queue, EscapeGroup(group))
}

func (s *spec) waits(queue, group string) bool {
	return slices.ContainsFunc(linesOf(queue, group), func(line string) bool { return len(s.Lines[line]) > 0 })
}

// turn gives a group the last turn, or stops it.
func (s *spec) turn(queue, group string, stops bool) {
	if s.Groups.Turns[queue] == nil {
		s.Groups.Turns[queue], s.Groups.placed[queue] = map[string]int64{}, map[string]bool{}
	}
	last := int64(0)
	for _, turn := range s.Groups.Turns[queue] {
		if turn < stopped {
			last = max(last, turn)
		}
	}
	s.Groups.Turns[queue][group] = last + 1
	if s.Groups.placed[queue] == nil {
		s.Groups.placed[queue] = map[string]bool{}
	}
	s.Groups.placed[queue][group] = true
	if stops {
		s.Groups.Turns[queue][group] = stopped
	}
}

// offer offers a party its turn.
func (s *spec) offer(party string) {
	queue, group := CutParty(party)
	if group == "" {
		s.touched[queue] = s.touched[queue] || s.pending(queue)
		return
	}
	if s.Groups.Turns[queue][group] == stopped && s.allowance(party) > 0 {
		s.turn(queue, group, false)
		s.touched[queue] = true
	}
}

// left notes that tasks have left the lines of a group.
func (s *spec) left(t *specTask) {
	if queue, group := t.queue(), groupOf(t.Line); group != "" && !s.waits(queue, group) {
		s.leave(queue, group)
	}
}

func (s *spec) leave(queue, group string) {
	if delete(s.Groups.Turns[queue], group); len(s.Groups.Turns[queue]) == 0 {
		delete(s.Groups.Turns, queue)
	}
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

// round returns the groups that may have tasks to claim, in their order.
func (s *spec) round(queue string, most int) []string {
	turns := s.Groups.Turns[queue]
	groups := slices.SortedFunc(maps.Keys(turns), func(a, b string) int { return cmp.Compare(turns[a], turns[b]) })
	groups = slices.DeleteFunc(groups, func(g string) bool { return turns[g] >= stopped })
	return groups[:max(0, min(len(groups), most))]
}

// claimTurns claims from the groups of a queue. take claims one task of a line, unless it may not. It
// reports whether the claim is for free slots alone.
func (s *spec) claimTurns(queue string, l *lot, atOnce int, take func(line string) bool) (confined bool) {
	if _, has := s.Groups.Turns[queue][""]; !has && s.waits(queue, "") {
		s.turn(queue, "", false)
	}
	limit := s.room
	if l.Gathering != nil {
		limit = s.starts
	}
	some := max(1, atOnce) // more in each round
	for refused := false; !refused && limit(queue) > 0 && len(s.round(queue, 1)) > 0; some *= 4 {
		confined = true
		n := min(max(0, atOnce-l.asked)+l.room(), limit(queue), some)
		if n <= 0 || atOnce == 0 {
			break
		}
		round := s.round(queue, n)
		for _, group := range round {
			may, took := math.MaxInt, 0
			if group != "" {
				may = s.allowance(Party(queue, group))
			}
			for _, line := range linesOf(queue, group) {
				for !refused && took < min(n/len(round), may) && len(s.Lines[line]) > 0 {
					if refused = !take(line); !refused {
						took++
					}
				}
			}
			if refused && took == 0 {
				break // it keeps its turn, as those after it do
			}
			if s.waits(queue, group) {
				s.turn(queue, group, !refused && took >= may)
			} else {
				s.leave(queue, group)
			}
		}
	}
	return confined
}

// claimable reports whether tasks of a queue stand in lines, and not only in those of stopped groups.
func (s *spec) claimable(queue string) bool { return s.waits(queue, "") || len(s.round(queue, 1)) > 0 }

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

// adoptTurns takes over the order of the groups that got a turn in this step: after all others; and
// the times of rates that a script has put right, as Redis's clock was ahead.
func (m *machine) adoptTurns(got stored) {
	for party, full := range m.spec.Groups.Rates {
		l := m.spec.Settings[queueOf(party)].limits()
		r := l.Rate
		if groupOf(party) != "" {
			r = l.GroupRate
		}
		latest := m.spec.Now*1000 + int64(math.Ceil(float64(r.Burst)*float64(r.Per.Microseconds())/float64(max(r.Tasks, 1))))
		if full > latest && r.Tasks > 0 && got["rates"][party] == strconv.FormatInt(latest, 10) {
			m.spec.Groups.Rates[party] = latest
		}
	}
	for queue, turns := range m.spec.Groups.Turns {
		have := got["groups:"+queue]
		for group, turn := range turns {
			text, has := have[EscapeGroup(group)]
			score, _ := strconv.ParseInt(text, 10, 64)
			if !has || (turn == stopped) != (score == stopped) || turn == stopped {
				continue // told apart below
			}
			if m.spec.Groups.placed[queue][group] {
				for other, before := range turns {
					if !m.spec.Groups.placed[queue][other] && before != stopped {
						require.Greater(m.t, score, before, "the turn of %s comes after that of %s", group, other)
					}
				}
				turns[group] = score
			}
		}
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
