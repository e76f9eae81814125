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
	"github.com/stellarfw/stellar/worker/timeline"
)

// Errors of the operations on a running set, and of api.set.*.
var (
	// ErrNotRunning: the set has not started, or is stopping.
	ErrNotRunning = fmt.Errorf("%w: the set has not started, or is stopping", builtin.ErrSetNotRunning)
	// ErrSize: a set cannot have so many nodes.
	ErrSize = fmt.Errorf("%w: not a size that the set can have", builtin.ErrSetSize)
	// ErrAlone: an upgrade was asked of a process without a guardian.
	ErrAlone = fmt.Errorf("%w: this process has no guardian, which could replace it without a gap: "+
		"stop it and start the new program, with --processes 1 or more if the next one is to have no gap", builtin.ErrSetAlone)
	// ErrNotBack: a node does not run again within ReadyTime.
	ErrNotBack = errors.New("not all nodes are back")
)

// BusyError is the error of an operation while a rolling restart or a reload is running. It
// wraps builtin.ErrSetBusy.
type BusyError struct {
	Kind  string    // builtin.OperationRoll or builtin.OperationReload
	Since time.Time // when it began
}

// Error implements error.
func (e *BusyError) Error() string {
	return fmt.Sprintf("a %s is under way since %s: wait for its end", e.Kind, e.Since.Format(time.TimeOnly))
}

// Unwrap returns builtin.ErrSetBusy.
func (e *BusyError) Unwrap() error { return builtin.ErrSetBusy }

// Scale changes the number of nodes to n, and waits until the new nodes run and the leaving
// nodes have drained. The nodes with the highest numbers leave. A set with 0 nodes goes on
// and can be scaled up again. If ctx ends the wait, scaling goes on.
func (s *Set) Scale(ctx context.Context, n int) error {
	r, err := s.resize("", func(int) int { return n })
	if err != nil {
		return err
	}
	if err := s.await(ctx, 0, r.over); err != nil {
		return fmt.Errorf("scaling from %d to %s has begun; it goes on: %w", r.was, link.Count(r.now, "node"), err)
	}
	return nil
}

// Resize is [Set.Scale] that does not wait.
func (s *Set) Resize(n int) error {
	_, err := s.resize("", func(int) int { return n })
	return err
}

// ScaleBy changes the number of nodes by the number by, within the bounds 0 and
// [MaxWorkers] (1 if the set has an exact id). It returns the new number without waiting.
func (s *Set) ScaleBy(by int) (int, error) {
	r, err := s.resize("", func(was int) int {
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

// over reports whether all new nodes run and all leaving nodes are gone.
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

// resize starts the change to the number of nodes that size returns for the present number.
func (s *Set) resize(by string, size func(was int) int) (*resized, error) {
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
		return nil, fmt.Errorf("%w: the set has the exact id %s, which only one node can have; use a worker prefix", ErrSize, s.cfg.ID)
	}
	for range r.now - r.was {
		r.come = append(r.come, s.add(worker.StartScale))
	}
	if r.now < r.was {
		r.leave = s.stayingSlots()[r.now:]
		for _, x := range r.leave {
			x.leave()
		}
	}
	if r.now != r.was {
		s.log.Info().Int("from", r.was).Int("workers", r.now).Msg("set is scaled")
		s.host.Record(timeline.Event{Kind: timeline.Scale, Text: fmt.Sprintf("from %d to %s", r.was, link.Count(r.now, "node")), By: by})
	}
	return r, nil
}

// serves reports whether the set runs and is not stopping. The caller holds s.mu.
func (s *Set) serves() bool { return s.serving != nil && s.serving.Err() == nil }

// staying returns how many nodes there should be: those that are not leaving. The caller
// holds s.mu.
func (s *Set) staying() int {
	n := 0
	for _, x := range s.slots {
		if !x.leaving() {
			n++
		}
	}
	return n
}

// stayingSlots returns the slots that are not leaving, sorted by the ids of their nodes; slots
// whose node has no id yet come last. The caller holds s.mu.
func (s *Set) stayingSlots() []*slot {
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

// Quiet makes the nodes claim no more tasks (on), or claim again. The tasks that they have
// in hand go on; the nodes answer calls and count as ready. Nodes that start while the set
// is quiet are quiet too.
func (s *Set) Quiet(on bool) {
	s.quiet(on, "")
}

func (s *Set) quiet(on bool, by string) {
	if s.host.Quiet(on) {
		kind := timeline.Resume
		if on {
			kind = timeline.Quiet
		}
		s.host.Record(timeline.Event{Kind: kind, By: by})
		s.log.Info().Bool("quiet", on).Msg(map[bool]string{true: "set is quiet: it claims no more tasks", false: "set claims tasks again"}[on])
	}
}

// Roll restarts the nodes one after the other, the lowest number first. Before each restart
// it waits until all nodes run, so that it never makes more than one node unavailable. If a
// node does not run again within ReadyTime, Roll returns an [ErrNotBack] that names the
// node, and does not restart the remaining nodes. It does not restart nodes that join
// meanwhile, and skips nodes that leave. A second Roll or [Set.Reload] meanwhile returns a
// [*BusyError].
func (s *Set) Roll(ctx context.Context) error {
	if err := s.beginOperation(builtin.OperationRoll, ""); err != nil {
		return err
	}
	return s.endOperation(s.roll(ctx))
}

// Reload restarts all nodes at once; they drain in parallel. It returns when all run again,
// or with an [ErrNotBack] that names the nodes that do not run again within ReadyTime.
func (s *Set) Reload(ctx context.Context) error {
	if err := s.beginOperation(builtin.OperationReload, ""); err != nil {
		return err
	}
	return s.endOperation(s.restart(ctx, s.stay()))
}

// beginOperation records the start of an operation. The error is a [*BusyError] or [ErrNotRunning].
func (s *Set) beginOperation(kind, by string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.serves() {
		return ErrNotRunning
	}
	if o := s.operation; o.Number > 0 && !o.Ended {
		return &BusyError{o.Kind, o.Began}
	}
	s.operation = builtin.Operation{Number: s.operation.Number + 1, Kind: kind, Began: time.Now(), Total: s.staying()}
	s.by = by
	s.log.Info().Int("nodes", s.operation.Total).Msg(kind + " begins")
	return nil
}

// updateOperation changes the record of the running operation.
func (s *Set) updateOperation(change func(*builtin.Operation)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.operation)
}

// restarting returns why a node that ends by request is started again.
func (s *Set) restarting() worker.StartReason {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch o := s.operation; {
	case o.Number == 0 || o.Ended:
		return worker.StartRestart
	case o.Kind == builtin.OperationReload:
		return worker.StartReload
	default:
		return worker.StartRoll
	}
}

// endOperation records the end of the running operation, and returns err with the number of nodes
// that were restarted.
func (s *Set) endOperation(err error) error {
	s.updateOperation(func(o *builtin.Operation) {
		o.Ended = true
		defer func() {
			e := timeline.Event{Kind: timeline.Kind(o.Kind), Text: link.Count(o.Done, "node"), Took: time.Since(o.Began).Milliseconds(), By: s.by}
			if err != nil {
				e.Text = err.Error()
			}
			s.host.RecordAt(o.Began, e)
		}()
		if err != nil {
			err = fmt.Errorf("%s ended after %d of %s: %w", o.Kind, o.Done, link.Count(o.Total, "node"), err)
			o.Error = err.Error()
			return
		}
		o.Node = ""
		s.log.Info().Int("nodes", o.Done).Stringer("after", time.Since(o.Began).Round(time.Millisecond)).Msg(o.Kind + " is done")
	})
	return err
}

// roll restarts one node after the other.
func (s *Set) roll(ctx context.Context) error {
	for _, x := range s.stay() {
		if x.leaving() {
			if err := s.await(ctx, 0, func() bool { return true }); err != nil {
				return err // the slot leaves because the set stops
			}
			s.updateOperation(func(o *builtin.Operation) { o.Total-- })
			continue
		}
		s.updateOperation(func(o *builtin.Operation) { o.Node = x.name() })
		ready := func() bool { ready, want := s.Ready(); return ready == want }
		if err := s.await(ctx, s.cfg.ReadyTime, ready); err != nil {
			return fmt.Errorf("before %s: %w", x.name(), s.nameMissing(err, s.stay()))
		}
		if err := s.restart(ctx, []*slot{x}); err != nil {
			return err
		}
	}
	return nil
}

// stay is stayingSlots for a caller that does not hold s.mu.
func (s *Set) stay() []*slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stayingSlots()
}

// restart ends the present lives of the slots and waits until the next lives run. It adds
// them to the running operation's count.
func (s *Set) restart(ctx context.Context, slots []*slot) error {
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
	// Drain and Grace bound the drain; ReadyTime allows for the hand-over after it.
	err := s.await(ctx, s.cfg.Drain+s.cfg.Grace+s.cfg.ReadyTime, all(ended))
	if err == nil {
		err = s.await(ctx, s.cfg.ReadyTime, all(back))
	}
	missing := slices.DeleteFunc(slices.Clone(slots), back)
	s.updateOperation(func(o *builtin.Operation) { o.Done += len(slots) - len(missing) })
	return s.nameMissing(err, missing)
}

// await waits until done returns true. It returns [ErrNotBack] after the time most (0 for no
// bound), [ErrNotRunning] when the set stops, or ctx's cause.
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
			// Checked before over, because done may be true only because every node leaves
			// with the set, and before ctx, which may have ended with the set.
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

// nameMissing adds to an [ErrNotBack] which of the nodes do not run, and why if that is
// known.
func (s *Set) nameMissing(err error, slots []*slot) error {
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
