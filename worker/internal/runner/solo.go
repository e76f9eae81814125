package runner

import (
	"context"
	"fmt"
	"sync"
)

// Solo is the lane of suspects: of the tasks that another crash would quarantine,
// one at a time runs in a process. So a task that ends the process does so alone, and
// the others, which only ran beside it, never reach that count. A first crash
// makes nobody a suspect: what a dead process had in hand is taken over all at
// once. The nodes of a process share one.
type Solo struct {
	mu      sync.Mutex
	taken   bool
	waiting map[*Runner]struct{}
}

// take takes the lane; where it is taken, the runner is kicked when it is free.
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

// leaveSolo frees the lane when a suspect's run is over.
func (r *Runner) leaveSolo(x *run) {
	if x.solo {
		x.solo = false
		r.solo.give()
	}
}

// kick puts free slots to work. It is called without r.mu, also by other runners.
func (r *Runner) kick() {
	go func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.startSlots()
	}()
}

// announceSolo writes on Redis which suspect runs, for whoever may have to take
// over after it. Unless that is done, it must not run.
func (r *Runner) announceSolo(x *run) error {
	if err := r.session.Suspect(x.work, x.ID); err != nil {
		return fmt.Errorf("announce a suspect: %w", err)
	}
	return context.Cause(x.work)
}
