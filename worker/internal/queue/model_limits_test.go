package queue

import (
	"math"
)

type specSettings struct {
	Paused            bool
	Program, Operator *Limits
}

func (s *specSettings) limits() Limits {
	switch {
	case s == nil:
		return Limits{}
	case s.Operator != nil:
		return *s.Operator
	case s.Program != nil:
		return *s.Program
	default:
		return Limits{}
	}
}

// String is how Redis holds what counts.
func (s *specSettings) String() string {
	paused := ""
	if s.Paused {
		paused = "1"
	}
	return paused + "|" + s.limits().String() + "|"
}

// isSet reports whether anything is set for a queue.
func (s *spec) isSet(queue string) bool {
	set := s.Settings[queue]
	return s.Groups.Special[queue] || set != nil && set.String() != "|0|0|0|0||||"
}

// specWeighing is a queue that has got a bound on bytes, and has not been weighed whole.
type specWeighing struct {
	Last int64           // when somebody went on with it
	IDs  map[string]bool // tasks that have been weighed; they count while they are stored
}

// active is how many tasks of a queue are in somebody's hands.
func (s *spec) active(queue string) int {
	n := 0
	for _, t := range s.Tasks {
		if t.State == stateActive && t.queue() == queue {
			n++
		}
	}
	return n
}

// weighs reports whether a task counts in the bytes of that queue, once it has been weighed.
func (s *spec) weighs(t *specTask, queue string) bool {
	return (t.State == stateActive || t.waiting()) && t.queue() == queue
}

// bytes is what the bound on bytes counts.
func (s *spec) bytes(queue string) int64 {
	var n int64
	w := s.Weighing[queue]
	for id, t := range s.Tasks {
		if s.weighs(t, queue) && (w == nil || w.IDs[id]) {
			n += t.size()
		}
	}
	return n
}

// weigh records that a task counts from now on.
func (s *spec) weigh(t *specTask) {
	if w := s.Weighing[t.queue()]; w != nil {
		w.IDs[t.ID] = true
	}
}

// load is what the bound on tasks counts.
func (s *spec) load(queue string) int {
	n := 0
	for _, t := range s.Tasks {
		if (t.State == stateActive || t.State == statePending || t.State == stateDelayed) && t.queue() == queue {
			n++
		}
	}
	return n
}

// room is how many more tasks of a queue may start and run now.
func (s *spec) room(queue string) int { return min(s.starts(queue), s.places(queue)) }

// starts is how many tasks of a queue may start now.
func (s *spec) starts(queue string) int {
	if s.isPaused(queue) || s.rests(queue) {
		return 0
	}
	r := s.Settings[queue].limits().Rate
	if r.Tasks == 0 {
		return math.MaxInt
	}
	tokens, _ := s.tokens(queue, r)
	return max(0, tokens-s.taken[queue])
}

// places is how many more tasks of a queue may run.
func (s *spec) places(queue string) int {
	most := s.Settings[queue].limits().Concurrency
	if most == 0 {
		return math.MaxInt
	}
	return max(0, most-s.active(queue)+s.shared(queue))
}

// rests reports whether a queue rests, as a handler asked.
func (s *spec) rests(queue string) bool {
	return s.Groups.Resting[queue] > s.Now && s.Groups.Special[queue]
}

func (s *spec) isPaused(queue string) bool {
	return s.Settings[queue] != nil && s.Settings[queue].Paused
}
