package queue

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strconv"

	"github.com/stretchr/testify/require"
)

// stopped stands for the turn of a group of which no task may begin.
const stopped = 1_000_000_000_000_001

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
