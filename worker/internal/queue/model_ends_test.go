package queue

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

func (s *spec) now() time.Time { return time.UnixMilli(s.Now) }

// claim takes what an incarnation is to get, in this order. flat: in lua/work.lua, which leaves
// what another tends.
func (s *spec) claim(name, list string, queues, parked []string, want, atOnce int, flat bool, l *lot) (ids []string, confined bool) {
	i := s.Incarnations[name]
	i.Claim++
	if i.Claim == 1 && list != "" {
		i.List = list
	} else if i.Claim == 1 {
		i.Queues = strings.Join(queues, " ")
	}
	ids = []string{}
	ordered := false // among the tasks of the claim
	one := func(l *lot, list map[string][]string, key string) bool {
		if len(list[key]) == 0 {
			return false
		}
		id := list[key][len(list[key])-1]
		t := s.Tasks[id]
		if s.starts(t.queue()) <= 0 || !s.admits(l, t, name, want) {
			return false
		}
		list[key] = list[key][:len(list[key])-1]
		t.State, t.Owner, t.Claim, t.Since = stateActive, name, i.Claim, s.Now
		s.taken[t.queue()]++
		if party := t.party(); party != "" {
			s.taken[party]++
		}
		if ids = append(ids, id); ordered {
			t.Place = len(ids)
		}
		if s.Groups.Special[t.queue()] {
			delete(s.Groups.Returned, id)
		}
		return true
	}
	// alone takes tasks of which none is gathered.
	alone := func(list map[string][]string, key string) bool {
		others := &lot{asked: l.asked}
		took := one(others, list, key)
		l.asked = others.asked
		return took
	}
	take := func(list map[string][]string, key, queue string, gathers bool) {
		rated := s.Settings[queue].limits().Rate.Tasks > 0
		may := s.room
		if gathers && l.Gathering != nil {
			may = s.starts
		}
		if rated && (l.asked < want || l.Gathering != nil) && len(list[key]) > 0 && may(queue) > 0 {
			want, confined = atOnce, true
		}
		for took := true; took; {
			if gathers {
				took = (!rated || atOnce > 0) && one(l, list, key)
			} else {
				took = alone(list, key)
			}
		}
	}
	unready := map[string]bool{} // queues of which parked tasks may begin that the claim has not got
	for _, list := range parked {
		queue, _, _ := strings.Cut(list, "|")
		if !s.Groups.Special[queue] {
			take(s.Parked, list, queue, false)
			continue
		}
		if len(s.Parked[list]) > 0 && s.room(queue) > 0 {
			want, confined = atOnce, true
		}
		ordered = true
		for _, id := range slices.Backward(slices.Clone(s.Parked[list])) {
			if t := s.Tasks[id]; s.mayBegin(t) {
				at := slices.Index(s.Parked[list], id)
				s.Parked[list] = append(slices.Delete(s.Parked[list], at, at+1), id)
				if !alone(s.Parked, list) {
					s.Parked[list] = slices.Insert(s.Parked[list][:len(s.Parked[list])-1], at, id)
					unready[queue] = true
				}
			}
		}
		ordered = false
	}
	for _, queue := range queues {
		theirs := flat && s.tender(queue) != "" && s.tender(queue) != name
		if list != "" && (!s.Ready[queue] || l.Gathering == nil && s.room(queue) == 0) {
			continue
		}
		hadTurns := len(s.Groups.Turns[queue]) > 0
		if hadTurns && !unready[queue] && (list == "" || l.Gathering != nil || l.asked < want) {
			ordered = true
			if s.claimTurns(queue, l, atOnce, func(line string) bool { want = atOnce; return one(l, s.Lines, line) }) {
				want, confined = atOnce, true
			}
			ordered = false
		}
		for _, mark := range []string{HighMark, "", LowMark} {
			if !hadTurns && !unready[queue] && (!theirs || len(s.Lines[queue+mark]) >= 100) {
				take(s.Lines, queue+mark, queue, true)
			}
		}
		if list != "" && !s.pending(queue) && s.tender(queue) == "" {
			delete(s.Ready, queue)
		}
	}
	for party, n := range s.taken {
		l := s.Settings[queueOf(party)].limits()
		if groupOf(party) != "" {
			s.spend(party, l.GroupRate, n)
		} else {
			s.spend(party, l.Rate, n)
		}
	}
	s.taken = map[string]int{}
	return ids, confined
}

// serve stores a list of queues.
func (s *spec) serve(list string, queues []string) {
	for _, queue := range queues {
		if !slices.Contains(s.Lists[queue], list) {
			s.Lists[queue] = append(s.Lists[queue], list)
		}
	}
}

// claimed is what a claim does to those that idle.
func (s *spec) claimed(name string, queues []string, again, was, idle bool) {
	for _, q := range queues {
		if s.Idle[q] == nil {
			s.Idle[q] = map[string]bool{}
		}
		if !again && idle {
			s.Idle[q][name] = true
		} else if !again && was {
			delete(s.Idle[q], name)
		}
	}
}

// tends begins the tending of queues by an incarnation, and returns those that it tends: none if
// another tends one.
func (s *spec) tends(name string, queues []string) (tended []string) {
	for _, q := range queues {
		if other := s.tender(q); other != "" && other != name {
			return nil
		}
	}
	for _, ids := range s.Parked {
		if len(ids) > 0 {
			return nil
		}
	}
	for _, q := range queues {
		if s.Ready[q] {
			s.Tended[q] = specTender{name, s.Now + tendedFor.Milliseconds()}
			tended = append(tended, q)
		}
	}
	return tended
}

// passOn is what a claim that found enough does for the tasks that it left.
func (s *spec) passOn(idle bool, queues []string) {
	for _, q := range queues {
		if !idle && s.claimable(q) {
			s.wake(q)
		}
	}
}

// takeOver hands on what a condemned incarnation has in hand.
func (s *spec) takeOver(name string, owned []string, r Remains) (h Handed) {
	i := s.incarnation(name)
	slices.SortStableFunc(owned, func(a, b string) int { return strings.Compare(s.Tasks[b].order(), s.Tasks[a].order()) })
	for _, id := range owned {
		t, order := s.Tasks[id], s.Tasks[id].order()
		if slices.Contains(r.Running, id) {
			h.Left++
			continue
		}
		n := ParseTries(t.Tries)
		if slices.Contains(r.Suspects, id) || r.Unknown && !i.Asked && (n.Crashes < QuarantineAfter-1 || i.Solo == id) {
			n.Crashes++
			t.Tries = n.String()
			s.note(t, "crashed")
		} else {
			n.Crashes = 0 // this was no crash of its own
		}
		batch, queue := t.Batch, t.queue()
		t.Owner, t.Claim, t.Batch, t.Place = "", 0, 0, 0
		s.parted(name, batch, queue)
		s.released(t)
		switch {
		case t.Asked:
			s.cancel(t)
			h.Cancelled++
		case n.Crashes >= QuarantineAfter:
			s.tally(t.queue(), "quarantined")
			s.bury(t, fmt.Sprintf(`{"reason":"quarantined","error":"its node crashed %d times while it ran","incarnation":%q}`, n.Crashes, name))
			h.Quarantined++
		default:
			if t.party() != "" {
				s.giveBack(t, order)
			} else {
				s.front(t)
				s.handed[t.Line]++
			}
			s.tally(t.queue(), "handedOn")
			h.On++
		}
	}
	for queue := range strings.FieldsSeq(i.Queues) {
		s.untend(queue, name)
		delete(s.Idle[queue], name)
		if s.pending(queue) {
			s.touched[queue] = true
		}
	}
	if i.List != "" {
		delete(s.Idle["@"+i.List], name)
	}
	if h.Left == 0 {
		i.Claim, i.Commit, i.Refused, i.Queues, i.List, i.Solo, i.Quiet, i.Asked = 0, 0, nil, "", "", "", false, false
	}
	return h
}

// commit ends tasks; it notes what is refused.
func (s *spec) commit(name string, batch []*Run) {
	i := s.Incarnations[name]
	var refused []string
	position := 0
	for _, o := range batch {
		together := unjoined([]*Run{o})
		for at, code := range s.decide(name, together) {
			if position++; code != "" {
				refused = append(refused, strconv.Itoa(position)+"="+code)
			} else {
				s.end(name, together[at])
			}
		}
	}
	if t := s.Tasks[i.Solo]; t == nil || t.State != stateActive || t.Owner != name {
		i.Solo = "" // it has ended
	}
	if text := strings.Join(refused, ","); text != "" || i.Refused != nil {
		i.Refused = &text
	}
}

func (s *spec) refusal(name string, o *Run) string {
	t := s.Tasks[o.ID]
	if t == nil || t.State != stateActive || t.Owner != name {
		return "FENCED"
	}
	if refuses(o.outcome.effects) {
		return "WRONGTYPE"
	}
	return ""
}

func (s *spec) end(name string, o *Run) {
	t := s.Tasks[o.ID]
	batch, queue, order := t.Batch, t.queue(), t.order()
	t.Owner, t.Claim, t.State, t.Batch, t.Place = "", 0, "", 0, 0
	s.parted(name, batch, queue)
	if o.outcome.verb != Aside && o.outcome.verb != Back {
		s.began(t.ID)
	}
	s.released(t)
	switch o.outcome.verb {
	case Done:
		s.done(t, o, name)
	case "dead":
		t.Tries = o.outcome.args[0].(string)
		s.bury(t, o.outcome.args[1].(string))
	default:
		s.goOn(t, o, order)
	}
}

// goOn puts a task where it waits on, or cancels it if somebody asked.
func (s *spec) goOn(t *specTask, o *Run, order string) {
	switch o.outcome.verb {
	case "later":
		t.Tries = o.outcome.args[1].(string)
		s.note(t, "failed")
	case "snooze":
		t.Tries = o.outcome.args[1].(string)
	default:
	}
	if what := map[Verb]string{Later: "failed", Snooze: "snoozed"}[o.outcome.verb]; what != "" && !t.Asked {
		s.tally(t.queue(), what)
	}
	switch {
	case t.Asked:
		s.cancel(t)
	case o.outcome.verb == Back && t.party() == "":
		s.front(t)
	case o.outcome.verb == Back:
		s.giveBack(t, order)
	case o.outcome.verb == Throttle:
		s.tally(t.queue(), "throttled")
		s.giveBack(t, order)
		s.rest(t, s.Now+int64(o.outcome.args[0].(int)))
	case o.outcome.verb == "park":
		list := t.queue() + "|" + t.name()
		if t.Options.Tick > 0 && s.parkedTick(periodicOf(t.ID), list) != "" {
			s.cancel(t)
			break
		}
		if t.State = stateParked; t.party() != "" {
			s.Groups.Special[t.queue()] = true
		}
		s.Parked[list] = slices.Insert(s.Parked[list], 0, t.ID)
	default:
		if o.outcome.verb == Aside {
			s.putAside(t, order)
		} else {
			s.hold(t)
		}
		s.delay(t, s.Now+int64(o.outcome.args[0].(int)))
	}
}

func (s *spec) done(t *specTask, o *Run, node string) {
	t.State = stateDone
	s.tally(t.queue(), "done")
	awaited, result := t.Awaited, ""
	var taken, keep int64
	if o.outcome.args != nil {
		n, _ := o.outcome.args[0].(int)
		taken = int64(n)
		if text, is := o.outcome.args[0].(string); is && text != "" { // of a tick
			lasting, tick, _ := strings.Cut(text, "@")
			taken, _ = strconv.ParseInt(lasting, 10, 64)
			from, _ := strconv.ParseInt(tick, 10, 64)
			taken += max(from-s.Now, 0)
		}
		n, _ = o.outcome.args[1].(int)
		keep = int64(n)
		result, _ = o.outcome.args[2].(string)
	}
	s.loosen(t, stateDone)
	t.Steps = specSteps{}
	if taken > 0 {
		t.Until = s.Now + taken
	}
	switch {
	case keep > 0:
		if s.retain(t, keep, node); t.Past != "" {
			s.note(t, "done")
		}
		if t.Result = result; t.Until <= t.Retained {
			t.Until = 0
		}
	case awaited && result != "":
		t.Kept, t.Result = s.Now+60000, result
		fallthrough
	default:
		if t.Record, t.Tries, t.Past = "", "", ""; t.Until == 0 {
			delete(s.Tasks, t.ID)
		}
	}
	s.apply(o.outcome.effects)
}

// refuses reports whether one of the effects cannot be applied.
func refuses(effects []Effect) bool {
	return slices.ContainsFunc(effects, func(e Effect) bool { return slices.Contains(e.args, any("{model}:cache:list")) })
}

func (s *spec) apply(effects []Effect) {
	for _, e := range effects {
		switch e.kind {
		case "increment":
			s.Effects++
		default:
			s.add(followUp(e), false)
		}
	}
}

// followUp is the task that an effect enqueues.
func followUp(e Effect) Task {
	word := func(i int) string { w, _ := e.args[i].(string); return w }
	k := &Kind{
		line: word(0), chosen: strings.Contains(word(1), "c"), awaited: strings.Contains(word(1), "w"),
		when: word(2), head: word(3), unique: word(4), deadline: word(7),
	}
	t := Task{Kind: k, ID: word(9), tail: word(10)}
	if e.large != nil {
		t.body = e.large.body
	}
	return t
}
