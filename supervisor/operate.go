package supervisor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/builtin"
	"github.com/stellarfw/stellar/worker/membership"
)

// Errors of what is done with a running set. They are errors of api.set.* too.
var (
	// ErrNotRunning: the set has not begun, or is stopping.
	ErrNotRunning = fmt.Errorf("%w: the set has not begun, or is stopping", builtin.ErrSetNotRunning)
	// ErrSize: a set cannot have so many nodes.
	ErrSize = fmt.Errorf("%w: not a size that the set can have", builtin.ErrSetSize)
	// ErrNotBack: a node did not run again in time.
	ErrNotBack = errors.New("not all nodes are back")
)

// BusyError says that a rolling restart or a reload is under way. It is a
// builtin.ErrSetBusy.
type BusyError struct {
	Kind  string    // builtin.OperationRoll or builtin.OperationReload
	Since time.Time // when it began
}

// Error implements error.
func (e *BusyError) Error() string {
	return fmt.Sprintf("a %s is under way since %s: wait for its end", e.Kind, e.Since.Format(time.TimeOnly))
}

// Unwrap makes it a builtin.ErrSetBusy.
func (e *BusyError) Unwrap() error { return builtin.ErrSetBusy }

// Scale makes the set one of n nodes, and waits until those that are new run and
// those that leave have drained. Nodes with the highest numbers leave, after the
// usual drain. A set of none goes on and can be scaled up again. The new size
// holds from the start, also when ctx ends the waiting.
func (s *Set) Scale(ctx context.Context, n int) error {
	r, err := s.resize(func(int) int { return n })
	if err != nil {
		return err
	}
	if err := s.await(ctx, 0, r.over); err != nil {
		return fmt.Errorf("scaling from %d to %d nodes has begun; it goes on: %w", r.was, r.now, err)
	}
	return nil
}

// ScaleBy makes the set one of so many nodes more, or fewer if by is negative,
// but never of less than none or more than [MaxWorkers]. It returns the new size
// without waiting.
func (s *Set) ScaleBy(by int) (int, error) {
	r, err := s.resize(func(was int) int {
		most := MaxWorkers
		if s.cfg.ID != "" {
			most = 1
		}
		return max(0, min(was+by, most))
	})
	if err != nil {
		return 0, err
	}
	return r.now, nil
}

// resized is a change of the set's size.
type resized struct {
	was, now    int
	come, leave []*slot
}

// over reports whether those who come run, and those who leave are gone.
func (r *resized) over() bool {
	for _, x := range r.come {
		if x.running() == nil && !x.leaving() {
			return false
		}
	}
	for _, x := range r.leave {
		select {
		case <-x.gone:
		default:
			return false
		}
	}
	return true
}

func (s *Set) resize(size func(was int) int) (*resized, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.serves() {
		return nil, ErrNotRunning
	}
	r := &resized{was: s.staying()}
	r.now = size(r.was)
	switch {
	case r.now < 0 || r.now > MaxWorkers:
		return nil, fmt.Errorf("%w: %d is not between 0 and %d", ErrSize, r.now, MaxWorkers)
	case r.now > 1 && s.cfg.ID != "":
		return nil, fmt.Errorf("%w: the id %s was given to it, and is one node's; use a worker prefix", ErrSize, s.cfg.ID)
	}
	for range r.now - r.was {
		r.come = append(r.come, s.add())
	}
	if r.now < r.was {
		r.leave = s.inOrder()[r.now:]
		for _, x := range r.leave {
			x.leave()
		}
	}
	if r.now != r.was {
		s.log.Info().Int("from", r.was).Int("workers", r.now).Msg("set is scaled")
	}
	return r, nil
}

// serves reports whether the set runs and is not stopping. The caller holds s.mu.
func (s *Set) serves() bool { return s.serving != nil && s.serving.Err() == nil }

// staying is how many nodes there should be. The caller holds s.mu.
func (s *Set) staying() int {
	n := 0
	for _, x := range s.slots {
		if !x.leaving() {
			n++
		}
	}
	return n
}

// inOrder returns the slots that stay, by the numbers of their nodes; those
// without one yet come last. The caller holds s.mu.
func (s *Set) inOrder() []*slot {
	stay := slices.DeleteFunc(slices.Clone(s.slots), (*slot).leaving)
	names := make(map[*slot]string, len(stay))
	for _, x := range stay {
		if name := x.name(); name != x.String() {
			names[x] = name
		}
	}
	slices.SortStableFunc(stay, func(a, b *slot) int {
		switch {
		case names[a] == "" && names[b] == "":
			return a.number - b.number
		case names[a] == "":
			return 1
		case names[b] == "":
			return -1
		default:
			return membership.CompareIDs(names[a], names[b])
		}
	})
	return stay
}

// Quiet makes the nodes claim no more tasks, or claim again. What they have in
// hand goes on, they answer calls and count as ready. Nodes that start meanwhile
// start quiet.
func (s *Set) Quiet(on bool) {
	if s.host.Quiet(on) {
		s.log.Info().Bool("quiet", on).Msg(map[bool]string{true: "set is quiet: it claims no more tasks", false: "set claims tasks again"}[on])
	}
}

// Roll starts every node anew, one after the other, those with the lowest number
// first. It waits for each to run again before it stops the next, and for all
// before the first: at no time more than one of them is away on its account. It
// ends with an [ErrNotBack] that names the node if one does not run again within
// ReadyTime, and leaves the others as they are. What joins meanwhile needs no
// restart; what leaves is passed over. A second roll or reload meanwhile is a
// [*BusyError].
func (s *Set) Roll(ctx context.Context) error {
	if err := s.begin(builtin.OperationRoll); err != nil {
		return err
	}
	return s.ended(s.roll(ctx))
}

// Reload starts all nodes anew at once; they drain in parallel. It returns when
// all run again, or with an [ErrNotBack] that names those that do not within
// ReadyTime.
func (s *Set) Reload(ctx context.Context) error {
	if err := s.begin(builtin.OperationReload); err != nil {
		return err
	}
	return s.ended(s.renew(ctx, s.stay()))
}

// begin notes an operation, if none is under way.
func (s *Set) begin(kind string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.serves() {
		return ErrNotRunning
	}
	if o := s.operation; o.Number > 0 && !o.Ended {
		return &BusyError{o.Kind, o.Began}
	}
	s.operation = builtin.Operation{Number: s.operation.Number + 1, Kind: kind, Began: time.Now(), Total: s.staying()}
	s.log.Info().Int("nodes", s.operation.Total).Msg(kind + " begins")
	return nil
}

// progress changes what is told of the operation under way.
func (s *Set) progress(change func(*builtin.Operation)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.operation)
}

func (s *Set) ended(err error) error {
	s.progress(func(o *builtin.Operation) {
		o.Ended = true
		if err != nil {
			err = fmt.Errorf("%s ended after %d of %d nodes: %w", o.Kind, o.Done, o.Total, err)
			o.Error = err.Error()
			return
		}
		o.Node = ""
		s.log.Info().Int("nodes", o.Done).Stringer("after", time.Since(o.Began).Round(time.Millisecond)).Msg(o.Kind + " is done")
	})
	return err
}

// roll starts one node after the other anew.
func (s *Set) roll(ctx context.Context) error {
	for _, x := range s.stay() {
		if x.leaving() {
			if err := s.await(ctx, 0, func() bool { return true }); err != nil {
				return err // not this node leaves, but the set
			}
			s.progress(func(o *builtin.Operation) { o.Total-- })
			continue
		}
		s.progress(func(o *builtin.Operation) { o.Node = x.name() })
		ready := func() bool { ready, want := s.Ready(); return ready == want }
		if err := s.await(ctx, s.cfg.ReadyTime, ready); err != nil {
			return fmt.Errorf("before %s: %w", x.name(), s.blameWaiting(err, s.stay()))
		}
		if err := s.renew(ctx, []*slot{x}); err != nil {
			return err
		}
	}
	return nil
}

// stay returns the slots that stay.
func (s *Set) stay() []*slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inOrder()
}

// renew ends the lives of these slots and waits until the next ones run. It counts
// them in the operation under way.
func (s *Set) renew(ctx context.Context, slots []*slot) error {
	old := make(map[*slot]*worker.Node, len(slots))
	for _, x := range slots {
		old[x] = x.current()
		if n := old[x]; n != nil {
			n.Stop(worker.ErrRestart)
		}
	}
	ended := func(x *slot) bool { return x.leaving() || old[x] == nil || x.current() != old[x] }
	back := func(x *slot) bool { n := x.running(); return x.leaving() || n != nil && n != old[x] }
	all := func(is func(*slot) bool) func() bool {
		return func() bool { return !slices.ContainsFunc(slots, func(x *slot) bool { return !is(x) }) }
	}
	// Its own drain is bounded; what comes on top of it, by the time to be ready.
	err := s.await(ctx, s.cfg.Drain+s.cfg.Grace+s.cfg.ReadyTime, all(ended))
	if err == nil {
		err = s.await(ctx, s.cfg.ReadyTime, all(back))
	}
	missing := slices.DeleteFunc(slices.Clone(slots), back)
	s.progress(func(o *builtin.Operation) { o.Done += len(slots) - len(missing) })
	return s.blameWaiting(err, missing)
}

// await waits until done, for most of that time unless it is 0. It returns
// [ErrNotBack] when the time is over, [ErrNotRunning] when the set stops, or why
// ctx ended.
func (s *Set) await(ctx context.Context, most time.Duration, done func() bool) error {
	s.mu.Lock()
	serving := s.serving
	s.mu.Unlock()
	waiting, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	unbind := context.AfterFunc(serving, func() { cancel(ErrNotRunning) })
	defer unbind()
	if most > 0 {
		defer time.AfterFunc(most, func() { cancel(fmt.Errorf("%w within %s", ErrNotBack, most)) }).Stop()
	}
	for {
		over := done()
		if serving.Err() != nil {
			// Asked first, "done" may mean no more than that every node leaves. And ctx
			// may be the set's own, which ends for a reason that says nothing here.
			return ErrNotRunning
		}
		if over {
			return nil
		}
		if link.Sleep(waiting, 5*time.Millisecond) != nil && serving.Err() == nil {
			return context.Cause(waiting)
		}
	}
}

// blameWaiting adds to the end of a wait which of these nodes do not run, and why
// as far as that is known.
func (s *Set) blameWaiting(err error, slots []*slot) error {
	if err == nil || !errors.Is(err, ErrNotBack) {
		return err
	}
	var parts []string
	for _, x := range slots {
		if x.running() == nil {
			parts = append(parts, x.describe())
		}
	}
	if !s.host.Reachable() {
		parts = append(parts, "Redis does not answer")
	}
	return fmt.Errorf("%w: %s", err, strings.Join(parts, "; "))
}
