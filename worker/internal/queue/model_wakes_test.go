package queue

func (s *spec) wake(queue string) {
	if s.starts(queue) == 0 {
		return
	}
	if s.places(queue) == 0 {
		gatherer := s.Gathers[queue].Name
		for _, set := range s.idleSets(queue) {
			if s.Idle[set][gatherer] && s.called[set] == "" {
				s.called[set] = gatherer
				return
			}
		}
		return
	}
	for _, set := range s.idleSets(queue) {
		if s.woken[set] < len(s.Idle[set]) {
			s.woken[set]++
			return
		}
	}
}

// tender returns who tends a queue, or "".
func (s *spec) tender(queue string) string {
	if t := s.Tended[queue]; t.Till >= s.Now && t.Till <= s.Now+100 {
		return t.Name
	}
	return ""
}

// untend ends the tending of a queue by an incarnation.
func (s *spec) untend(queue, name string) bool {
	if s.Tended[queue].Name != name {
		return false
	}
	delete(s.Tended, queue)
	return true
}

// idleSets returns the sets of idle nodes that serve a queue.
func (s *spec) idleSets(queue string) []string {
	sets := []string{queue}
	for _, list := range s.Lists[queue] {
		sets = append(sets, "@"+list)
	}
	return sets
}

// begin starts a step; flush ends it.
func (s *spec) begin() {
	s.touched, s.woken, s.handed, s.hooked, s.unstored = map[string]bool{}, map[string]int{}, map[string]int{}, map[string]int{}, map[string]string{}
	s.called = map[string]string{}
	s.ends, s.taken, s.freed, s.Groups.placed = map[string]int{}, map[string]int{}, nil, map[string]map[string]bool{}
}

func (s *spec) flush() {
	for _, party := range s.freed {
		s.offer(party)
	}
	for queue, touched := range s.touched {
		if touched && s.pending(queue) {
			s.wake(queue)
		}
	}
}

// released: the queue and the group of a task have one less in hand.
func (s *spec) released(t *specTask) {
	if s.Settings[t.queue()].limits().Concurrency > 0 {
		s.touched[t.queue()] = true
	}
	if party := t.party(); party != "" {
		s.freed = append(s.freed, party)
	}
}
