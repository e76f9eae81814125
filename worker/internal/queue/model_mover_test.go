package queue

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
)

// due is what a mover does. Bounds are small at times.
func (m *machine) due() {
	most, bound := 500, 100
	if m.draw("small", 3) == 0 {
		most, bound = 1+m.draw("most", 3), m.draw("kept dead", 3)
	}
	visit := []string{"", VisitReady, VisitFirst}[m.draw("visit", 3)]
	m.dueAs([]string{"m0", "m1"}[m.draw("mover", 2)], visit, most, bound)
}

// dueOf is what the only mover does.
func (m *machine) dueOf(most, bound int) { m.dueAs("m0", VisitFirst, most, bound) }

func (m *machine) dueAs(mover, visit string, most, bound int) {
	const lasting = 60000
	moved, err := m.store.MoveDue(m.ctx, Look{
		Mover: mover, Visit: visit, Most: most, KeepFor: lasting * time.Millisecond, Keep: bound,
	})
	require.NoError(m.t, err)
	left, waits := m.spec.awaits(mover)
	var more bool
	var dropped int
	if !waits {
		more, dropped = m.spec.moveDue(most, lasting, bound, visit)
	}
	require.Equal(m.t, !waits, moved.Responsible)
	require.Equal(m.t, more, moved.More, "more")
	require.EqualValues(m.t, dropped, moved.Dropped)
	var asked []string
	for _, id := range m.spec.ids() {
		if m.spec.Tasks[id].Asked {
			asked = append(asked, id)
		}
	}
	require.ElementsMatch(m.t, asked, moved.Asked)
	if waits {
		require.True(m.t, moved.HasNext)
		require.Equal(m.t, left, moved.Next.Milliseconds(), "ms until it finds out")
		require.Empty(m.t, moved.Visit)
		return
	}
	next, has := m.spec.nextLook()
	require.Equal(m.t, has, moved.HasNext)
	require.Equal(m.t, next, moved.Next.Milliseconds(), "ms until the next is due")
	require.Equal(m.t, strings.TrimPrefix(visit, VisitReady), moved.Visit, "all queues fit into one")
	m.spec.promise(mover, more)
}

// leaveMover is a mover that ends.
func (m *machine) leaveMover() {
	mover := []string{"m0", "m1"}[m.draw("mover", 2)]
	require.NoError(m.t, m.store.Leave(m.ctx, mover))
	if m.spec.Mover.ID == mover {
		m.spec.Mover = specMover{}
	}
}

// earliest returns the first time in the index.
func (s *spec) earliest() (first int64, has bool) {
	for _, times := range []map[string]int64{s.Next, s.Groups.Resting, s.Groups.Refills} {
		for _, at := range times {
			if !has || at < first {
				first, has = at, true
			}
		}
	}
	return first, has
}

// awaits returns for how long a mover leaves the work to the responsible one.
func (s *spec) awaits(mover string) (left int64, waits bool) {
	if s.Mover.ID == "" || s.Mover.ID == mover {
		return 0, false
	}
	left = s.Mover.Promise - s.Now
	if first, has := s.earliest(); has {
		left = min(left, first+1000-s.Now)
	}
	return left, left > 0 && left <= 6000
}

// nextLook returns how long it takes until a mover has to look again.
func (s *spec) nextLook() (wait int64, has bool) {
	first, has := s.earliest()
	for _, t := range s.Tasks {
		if t.expires() && (!has || t.Options.Deadline < first) {
			first, has = t.Options.Deadline, true
		}
	}
	if !has {
		return 0, false
	}
	return max(first-s.Now, 0), true
}

// promise notes who is responsible now.
func (s *spec) promise(mover string, more bool) {
	wait, has := s.nextLook()
	if wait = min(wait, 5000); !has {
		wait = 5000
	}
	if more {
		wait = 0
	}
	s.Mover = specMover{mover, s.Now + wait + 1000}
}

// bring moves what is due, the queue first whose turn has come first.
func (s *spec) bring(most int) (left int) {
	var queues []string
	for queue, at := range s.Next {
		if at <= s.Now {
			queues = append(queues, queue)
		}
	}
	slices.SortFunc(queues, func(a, b string) int {
		if d := s.Next[a] - s.Next[b]; d != 0 {
			return int(d)
		}
		return strings.Compare(a, b)
	})
	for _, queue := range queues {
		most -= s.bringOf(queue, most)
	}
	return most
}

// bringOf moves what is due of one queue, and notes when the next is.
func (s *spec) bringOf(queue string, most int) int {
	of := func(t *specTask) int64 {
		if t.State == stateDelayed && t.queue() == queue {
			return t.Due
		}
		return 0
	}
	ids := s.oldest(of, s.Now, most)
	if n := len(ids); n > 1 && (s.Tasks[ids[0]].party() != "" || s.Tasks[ids[n-1]].party() != "") {
		slices.SortFunc(ids, func(a, b string) int {
			x, y := s.Tasks[a], s.Tasks[b]
			stored := func(t *specTask) string { return strings.Split(t.Record, "|")[2] }
			return cmp.Or(cmp.Compare(x.Due, y.Due), strings.Compare(stored(x), stored(y)), len(a)-len(b), strings.Compare(a, b))
		})
	}
	for _, id := range ids {
		s.Tasks[id].Due = 0
		s.push(s.Tasks[id])
	}
	delete(s.Next, queue)
	for _, id := range s.oldest(of, math.MaxInt64, 1) {
		s.Next[queue] = s.Tasks[id].Due
	}
	return len(ids)
}

// visitReady wakes for the queues that have tasks.
func (s *spec) visitReady() {
	for queue := range s.Ready {
		for group, turn := range s.Groups.Turns[queue] {
			if turn == stopped {
				s.offer(Party(queue, group))
			}
		}
		if s.touched[queue] = true; !s.pending(queue) && s.tender(queue) == "" {
			delete(s.Ready, queue)
		}
	}
}

// visitAll puts the indexes right.
func (s *spec) visitAll(most int) {
	for _, queue := range modelQueues {
		parked := slices.ContainsFunc(modelTaskNames, func(name string) bool { return len(s.Parked[queue+"|"+name]) > 0 })
		if s.Queues[queue] && !parked && len(s.Groups.Turns[queue])+len(s.Groups.Returned) == 0 && s.Groups.Resting[queue] == 0 {
			delete(s.Groups.Special, queue)
		}
	}
	for _, queue := range modelQueues {
		if s.pending(queue) && !s.Ready[queue] {
			s.Ready[queue], s.touched[queue] = true, true
		}
	}
	for _, queue := range modelQueues {
		if _, has := s.Next[queue]; !has {
			most -= s.bringOf(queue, most)
		}
	}
}

// loseIndex is a Redis whose tasks an older version put where they are.
func (m *machine) loseIndex() {
	if m.draw("lose", 4) > 0 {
		return
	}
	keys := []string{m.keys.Ready(), m.keys.Next(), m.keys.Lists(), m.keys.Tended()}
	for _, lists := range m.spec.Lists {
		for _, list := range lists {
			keys = append(keys, m.keys.Serves(list))
		}
	}
	require.NoError(m.t, m.redis.Del(m.ctx, keys...).Err())
	m.spec.Ready, m.spec.Next, m.spec.Lists = map[string]bool{}, map[string]int64{}, map[string][]string{}
	m.spec.Tended = map[string]specTender{}
}

func (s *spec) moveDue(most, lasting, bound int, visit string) (more bool, dropped int) {
	for _, id := range s.due(&more, (*specTask).expiry, s.Now, min(most, 50)) {
		t := s.Tasks[id]
		s.bury(t, `{"reason":"deadline","error":"task deadline before it began"}`)
		s.ends[t.queue()+"|"+Deadline]++
	}
	clear(s.hooked) // in the order of the deadlines
	left := s.bring(most)
	s.over()
	switch visit {
	case VisitReady:
		s.visitReady()
	case VisitFirst:
		s.visitAll(left)
	default:
	}
	more = !s.forgetRetained(most) || more
	more = s.forgetRates(most) || more
	for _, id := range s.due(&more, func(t *specTask) int64 { return t.Until }, s.Now, most) {
		delete(s.Tasks, id) // its record goes with it
	}
	for _, id := range s.due(&more, (*specTask).keptAlone, s.Now, most) {
		s.unretain(s.Tasks[id])
	}
	s.freeKeys(&more, most)
	for _, in := range []state{stateDead, stateCancelled} {
		ended := func(t *specTask) int64 {
			if t.State == in {
				return t.Ended
			}
			return 0
		}
		for _, id := range s.due(&more, ended, s.Now-int64(lasting), most) {
			s.forget(s.Tasks[id], int64(lasting))
		}
		all := s.oldest(ended, math.MaxInt64, len(s.Tasks))
		for _, id := range all[:max(0, min(len(all)-bound, most))] {
			s.forget(s.Tasks[id], int64(lasting))
			if in == stateDead {
				dropped++
			}
		}
	}
	first, has := s.earliest()
	return more || has && first <= s.Now, dropped
}

// forget drops a dead or cancelled task. The id of a tick that lies in the future stays taken.
func (s *spec) forget(t *specTask, lasting int64) {
	s.drop(t, "dropped")
	if t.Options.Tick > s.Now {
		s.Tasks[t.ID] = &specTask{ID: t.ID, Line: t.Line, State: stateDone, Until: t.Options.Tick + lasting}
	}
}

func (s *spec) due(more *bool, when func(*specTask) int64, till int64, most int) []string {
	ids := s.oldest(when, till, most)
	*more = *more || len(ids) == most
	return ids
}

// freeKeys forgets unique keys whose time is over.
func (s *spec) freeKeys(more *bool, most int) {
	var over []string
	for name, k := range s.Unique {
		if k.Until > 0 && k.Until <= s.Now {
			over = append(over, name)
		}
	}
	slices.SortFunc(over, func(a, b string) int {
		if d := s.Unique[a].Until - s.Unique[b].Until; d != 0 {
			return int(d)
		}
		return strings.Compare(a, b)
	})
	over = over[:min(len(over), most)]
	*more = *more || len(over) == most
	for _, name := range over {
		delete(s.Unique, name)
	}
}
