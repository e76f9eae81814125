package runner

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/stellarfw/stellar/worker/internal/queue"
)

// Suspects wait on their node for a lane that is taken for laneTime at most. Those that are
// turned away then come back one by one, so that however many there are, they take little
// time of the nodes, and the lane waits for none of them for long.
const (
	laneTime        = 100 * time.Millisecond
	turnedAwayFor   = time.Second           // at least
	turnedAwayEvery = 10 * time.Millisecond // between two suspects that come back
)

// Solo is the lane of suspects. A suspect is a task that one more crash would quarantine
// (see [queue.QuarantineAfter]). A process runs only one suspect at a time: if the
// suspect crashes the process, the crash does not count against other suspects, which
// only ran beside it. One crash does not make a suspect, because all tasks that a dead
// process had in hand count a crash. The nodes of a process share a lane.
//
// A suspect that waits for the lane takes no slot. When the lane is taken for long, the
// suspect is turned away: it waits among the delayed tasks, where it counts against no limit
// of its queue, and where other processes get it too.
type Solo struct {
	mu      sync.Mutex
	taken   bool
	since   time.Time // when the lane was taken
	waiting map[*Runner]struct{}
	back    time.Time // when the last suspect that was turned away comes back
}

// blocked reports whether the lane is taken for longer than laneTime.
func (s *Solo) blocked() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken && time.Since(s.since) > laneTime
}

// pause returns for how long the next suspect is turned away.
func (s *Solo) pause() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.back = s.back.Add(turnedAwayEvery)
	if soonest := now.Add(turnedAwayFor); s.back.Before(soonest) {
		s.back = soonest
	}
	return s.back.Sub(now)
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
	s.taken, s.since = true, time.Now()
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

// suspect reports whether one more crash would quarantine the task.
func (r *run) suspect() bool { return r.Tries.Crashes >= queue.QuarantineAfter-1 }

// turnAway sets the outcome of a suspect that cannot have the lane soon.
func (r *Runner) turnAway(x *run) {
	x.End(queue.Aside, nil, r.solo.pause().Milliseconds())
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
