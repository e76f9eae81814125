package queue

import (
	"slices"
)

// push puts a task at the end of its line.
func (s *spec) push(t *specTask) {
	s.into(t, 0)
}

// into puts a task into its line at a place.
func (s *spec) into(t *specTask, at int) {
	if t.party() != "" {
		s.intoGroup(t, at)
		return
	}
	t.State = statePending
	if len(s.Lines[t.Line]) == 0 { // else somebody was woken for those that wait there
		s.Ready[t.queue()], s.Queues[t.queue()] = true, true
		s.touched[t.queue()] = s.touched[t.queue()] || s.tender(t.queue()) == ""
	}
	s.Lines[t.Line] = slices.Insert(s.Lines[t.Line], s.behind(t, t.Line, at), t.ID)
	if len(s.Lines[t.Line])%100 == 0 {
		s.touched[t.queue()] = true
	}
}

// front puts a task into its line as the next.
func (s *spec) front(t *specTask) {
	s.toFront(t)
	s.touched[t.queue()] = true
}

// toFront is [spec.front] that wakes nobody for it.
func (s *spec) toFront(t *specTask) { s.into(t, len(s.Lines[t.Line])) }

// delay puts a task off until it is due.
func (s *spec) delay(t *specTask, due int64) {
	t.State, t.Due = stateDelayed, due
	if next, has := s.Next[t.queue()]; !has || due < next {
		s.Next[t.queue()] = due
	}
}

// place puts a task into its line, or off until it is due.
func (s *spec) place(t *specTask) {
	due := t.Options.At
	if t.Options.In > 0 {
		due = s.Now + t.Options.In
	}
	s.Queues[t.queue()] = true
	if due > s.Now {
		s.delay(t, due)
		return
	}
	s.push(t)
}

// parkedTick returns the id of the tick of a periodic task that is in a parked list, or "".
func (s *spec) parkedTick(periodic, list string) string {
	for _, id := range s.Parked[list] {
		if t := s.Tasks[id]; t.Options.Tick > 0 && periodicOf(id) == periodic {
			return id
		}
	}
	return ""
}

func remove(list map[string][]string, name, id string) {
	list[name] = slices.DeleteFunc(list[name], func(other string) bool { return other == id })
}

// takeOut takes a task out of where it waits.
func (s *spec) takeOut(t *specTask) {
	switch t.State {
	case statePending:
		remove(s.Lines, t.Line, t.ID)
		if party := t.party(); party != "" {
			remove(s.Lines, party+HeldMark, t.ID)
			s.left(t)
		}
	case stateParked:
		remove(s.Parked, t.queue()+"|"+t.name(), t.ID)
	default:
	}
	t.Waits, t.Due = nil, 0
}
