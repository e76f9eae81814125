package supervisor

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/membership"
)

// Report sums up the lives of a set's nodes that have ended.
type Report struct {
	Lives       int           // of all nodes
	Crashes     int           // lives that ended by a crash
	Started     int64         // handler starts
	Done        int64         // tasks that are done
	HandedOn    int           // tasks taken over from ended nodes
	Quarantined int           // tasks put aside after too many crashes
	Running     []string      // ids of the tasks whose handlers did not return before the end
	Unsettled   []string      // ids of nodes that were not handed over: others do it when their leases have run out
	Uptime      time.Duration // of the set
}

// String returns the report in one line.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s done of %d started in %s by %s",
		link.Count(r.Done, "task"), r.Started, r.Uptime.Round(time.Millisecond),
		link.Count(r.Lives, "life of nodes", "lives of nodes"))
	fmt.Fprintf(&b, "; %s, %s", link.Count(r.Crashes, "crash"), link.Count(r.HandedOn, "task taken over", "tasks taken over"))
	if r.Quarantined > 0 {
		fmt.Fprintf(&b, ", %d quarantined", r.Quarantined)
	}
	if len(r.Running) > 0 {
		fmt.Fprintf(&b, "; still running: %s", strings.Join(r.Running, ", "))
	}
	if len(r.Unsettled) > 0 {
		fmt.Fprintf(&b, "; not handed over, processes that are left on this Redis take over when the leases have run out: %s",
			membership.Spans(r.Unsettled))
	}
	return b.String()
}

// Report returns the report of the lives that have ended so far.
func (s *Set) Report() Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.report
	r.Running, r.Unsettled = slices.Clone(r.Running), slices.Clone(r.Unsettled)
	return r
}

// addLife adds a life that has ended to the report.
func (s *Set) addLife(e worker.Ended) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.Incarnation == "" {
		return
	}
	s.report.Lives++
	s.report.Started += e.Started
	s.report.Done += e.Done
	s.report.HandedOn += e.HandedOn
	s.report.Quarantined += e.Quarantined
	if s.serving.Err() != nil { // no other life follows because the set stops
		s.report.Running = append(s.report.Running, e.Running...)
		if e.Unsettled {
			s.report.Unsettled = append(s.report.Unsettled, e.ID)
		}
	}
}

// finish completes the report and returns the error of Serve.
func (s *Set) finish(began time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report.Uptime = time.Since(began)
	for _, task := range s.host.Zombies().Tasks { // of lives that ended before the set stopped the set stopped
		if !slices.Contains(s.report.Running, task) {
			s.report.Running = append(s.report.Running, task)
		}
	}
	err := s.fatal
	if len(s.report.Running) > 0 {
		err = errors.Join(err, fmt.Errorf("%w: still running: %s", ErrDrainDeadline, strings.Join(s.report.Running, ", ")))
	}
	slices.SortFunc(s.report.Unsettled, membership.CompareIDs)
	if len(s.report.Unsettled) > 0 {
		err = errors.Join(err, fmt.Errorf(
			"%w: the tasks and locks of %s were not handed over; processes that are left on this Redis take over when the leases have run out",
			ErrDrainDeadline, membership.Spans(s.report.Unsettled)))
	}
	return err
}
