package runner

import (
	"context"
	"fmt"
	"sync"
)

// Solo is the lane of suspects. A suspect is a task that one more crash would quarantine
// (see [queue.QuarantineAfter]). A process runs only one suspect at a time: if the
// suspect crashes the process, the crash does not count against other suspects, which
// only ran beside it. One crash does not make a suspect, because all tasks that a dead
// process had in hand count a crash. The nodes of a process share a lane.
type Solo struct {
	mu      sync.Mutex
	taken   bool
	waiting map[*Runner]struct{}
}

// take takes the lane and returns true. If the lane is taken, take returns false, and r is
// kicked when the lane is free.
func (s *Solo) take(r *Runner) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken {
		if s.waiting == nil {
			s.waiting = map[*Runner]struct{}{}
		}
		s.waiting[r] = struct{}{}
		return false
	}
	s.taken = true
	return true
}

func (s *Solo) give() {
	s.mu.Lock()
	waiting := s.waiting
	s.taken, s.waiting = false, nil
	s.mu.Unlock()
	for r := range waiting {
		r.kick()
	}
}

// nextSuspect takes a suspect from the backlog if the lane is free. The caller
// holds r.mu.
func (r *Runner) nextSuspect() *run {
	if len(r.backlog.suspects) == 0 || !r.solo.take(r) {
		return nil
	}
	x := r.backlog.suspects[0]
	r.backlog.suspects = r.backlog.suspects[1:]
	x.solo = true
	return x
}

// leaveSolo frees the lane if x, whose run is over, holds it.
func (r *Runner) leaveSolo(x *run) {
	if x.solo {
		x.solo = false
		r.solo.give()
	}
}

// kick starts free slots, on a goroutine of its own: the caller may be another runner, and
// may hold its own mutex.
func (r *Runner) kick() {
	go func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.startSlots()
	}()
}

// announceSolo writes on Redis which suspect is about to run, for the take-over after a
// crash. If it returns an error, the suspect must not run.
func (r *Runner) announceSolo(x *run) error {
	if err := r.session.Suspect(x.work, x.ID); err != nil {
		return fmt.Errorf("announce a suspect: %w", err)
	}
	return context.Cause(x.work)
}
