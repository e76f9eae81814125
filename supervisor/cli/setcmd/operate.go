package setcmd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/worker/builtin"
	"github.com/stellarfw/stellar/worker/membership"
)

const (
	// lookInterval is how often a waiting command polls the status of the set.
	lookInterval = 100 * time.Millisecond
	// goneTime is how long a process may have no live node before it counts as
	// ended. It exceeds the pause before crashed nodes start again.
	goneTime = time.Minute
)

// remoteSet operates the set of one process in the cluster by remote calls.
type remoteSet struct {
	env     *cluster.Env
	client  *cluster.Client
	process membership.Process
	whole   bool          // the set is that of all processes of the guardian of process
	gone    time.Duration // goneTime; tests pass their own
}

// has reports whether the process is one of the set.
func (r *remoteSet) has(p membership.Process) bool {
	return same(p, r.process) || r.whole && siblings(p, r.process)
}

func (r *remoteSet) String() string { return nameOf(r.process) }

// operation returns the present or last operation of the set.
func operation(s builtin.SetStatus) (o builtin.Operation) {
	if s.Operation != nil {
		o = *s.Operation
	}
	return o
}

// ask calls a method of the set that may safely run twice. It repeats the call once if
// its outcome is unknown: a node that ends can lose the call or the answer.
func (r *remoteSet) ask(ctx context.Context, method string, args any) (builtin.SetStatus, error) {
	s, err := r.askOnce(ctx, method, args)
	if !errors.Is(err, link.ErrUnknownOutcome) || ctx.Err() != nil {
		return s, err
	}
	s, again := r.askOnce(ctx, method, args)
	if again != nil {
		return s, fmt.Errorf("%w; asked again: %w", err, again)
	}
	return s, nil
}

// begin calls a method that begins an operation of that kind and must not run twice. If
// the outcome of the call is unknown, the set's count of operations shows whether the
// operation has begun; begin repeats the call only if the count is unchanged, or the one
// new operation is of another kind.
func (r *remoteSet) begin(ctx context.Context, method, kind string) (builtin.SetStatus, error) {
	before, err := r.ask(ctx, "api.set.status", nil)
	if err != nil {
		return before, err
	}
	s, err := r.askOnce(ctx, method, nil)
	if !errors.Is(err, link.ErrUnknownOutcome) || ctx.Err() != nil {
		return s, err
	}
	looking, cancel := context.WithTimeoutCause(ctx, r.gone, fmt.Errorf("no node said within %s whether it has begun", r.gone))
	defer cancel()
	now, failed := r.await(looking, func(_ builtin.SetStatus, nobody bool) bool { return !nobody })
	since := operation(now).Number - operation(before).Number
	switch {
	case failed != nil:
		return s, fmt.Errorf("%w; %w", err, failed)
	case since > 0 && operation(now).Kind == kind:
		return now, nil
	case since > 1: // the operation before the last may have been this one
		return s, err
	default:
		return r.askOnce(ctx, method, nil)
	}
}

// askOnce calls a method of the set once, on the first live node that accepts the call.
func (r *remoteSet) askOnce(ctx context.Context, method string, args any) (s builtin.SetStatus, err error) {
	all, err := processes(ctx, r.client)
	if err != nil {
		return s, err
	}
	var nodes []string
	for _, one := range all {
		if r.has(one.Process) {
			nodes = append(nodes, one.nodes...)
		}
	}
	s, err = askSet(ctx, r.client, nodes, method, args)
	if err == nil && r.whole {
		return wholeOf(s)
	}
	return s, explain(r.env, err)
}

// wholeOf returns the sum of the sets of all processes of the guardian of a process with that status.
func wholeOf(s builtin.SetStatus) (builtin.SetStatus, error) {
	if s.Guardian == nil {
		return s, config.As(link.ErrUnknownOutcome, fmt.Errorf("%s does not answer process %d: see its log", nameOf(s.Process), s.Process.PID))
	}
	sum := s.Guardian.Status()
	sum.Operation = s.GuardianOperation
	return sum, nil
}

// explain strips the code from the text of an error with which the set refused a call,
// and adds advice to other errors as [cluster.ExplainCall] does.
func explain(e *cluster.Env, err error) error {
	remote, ok := errors.AsType[*rpcregistry.Error](err)
	if !ok {
		return err
	}
	for _, code := range builtin.SetErrors {
		if remote.Code == code {
			return config.As(code, errors.New(strings.TrimPrefix(remote.Message, string(code)+": ")))
		}
	}
	return cluster.ExplainCall(e, err)
}

// await polls the status of the set until reached returns true. nobody is true if the
// process has no live node to ask; the status is then empty. If that lasts longer than
// r.gone, await returns an error.
func (r *remoteSet) await(ctx context.Context, reached func(s builtin.SetStatus, nobody bool) bool) (builtin.SetStatus, error) {
	seen := time.Now() // when the process last had a live node
	for {
		s, err := r.askOnce(ctx, "api.set.status", nil)
		switch {
		case err == nil:
			if reached(s, false) {
				return s, nil
			}
		case errors.Is(err, errNoNode):
			if reached(s, true) {
				return s, nil
			}
			if time.Since(seen) > r.gone {
				return s, fmt.Errorf("%s has had no live node for %s: it has ended, or its nodes do not start; see its log", r, r.gone)
			}
		case errors.Is(err, link.ErrUnknownOutcome), errors.Is(err, rpcregistry.ErrNoSuchTarget), errors.Is(err, rpcregistry.ErrBusy):
		default:
			if ctx.Err() == nil {
				return s, err
			}
		}
		if !errors.Is(err, errNoNode) {
			seen = time.Now()
		}
		if link.Sleep(ctx, lookInterval) != nil {
			return s, fmt.Errorf("%w: what has begun goes on; see \"%s status\"", context.Cause(ctx), r.env.Program)
		}
	}
}

// printf writes a line of text, unless the output is JSON.
func (r *remoteSet) printf(format string, args ...any) {
	if !r.env.JSON() {
		_ = r.env.WriteLine(fmt.Sprintf(format, args...))
	}
}

// show writes the status of the set if the output is JSON. It is the last output of a
// command.
func (r *remoteSet) show(s builtin.SetStatus) error {
	if r.env.JSON() {
		return r.env.WriteJSON(s)
	}
	return nil
}

// switchQuiet calls a method that makes the set quiet or resumes it, and prints done.
func (r *remoteSet) switchQuiet(ctx context.Context, method, done string) error {
	s, err := r.ask(ctx, method, nil)
	if err != nil {
		return err
	}
	r.printf("%s: %s", r, done)
	return r.show(s)
}

// scale changes the set's number of nodes to n, of each process where they have a guardian, and waits until the nodes
// are ready and the others have left.
func (r *remoteSet) scale(ctx context.Context, n int) error {
	before, err := r.ask(ctx, "api.set.status", nil)
	if err != nil {
		return err
	}
	if _, err := r.ask(ctx, "api.set.scale", map[string]int{"workers": n}); err != nil {
		return err
	}
	s, err := r.await(ctx, func(s builtin.SetStatus, nobody bool) bool {
		want := n * max(s.Processes, 1)
		return nobody && n == 0 || !nobody && s.Workers == want && s.Ready == want && s.Leaving == 0
	})
	if err != nil {
		return err
	}
	if n == 0 {
		s = builtin.SetStatus{Process: before.Process, Processes: before.Processes, Healthy: true, Redis: true}
	}
	in := ""
	if s.Processes > 0 {
		in = " in " + link.Count(s.Processes, "process", "processes")
	}
	r.printf("%s: from %d to %s%s", r, before.Workers, link.Count(s.Workers, "node"), in)
	return r.show(s)
}

// restart begins a rolling restart or a reload, prints the progress and returns when
// the operation has ended.
func (r *remoteSet) restart(ctx context.Context, method, kind string) error {
	s, err := r.begin(ctx, method, kind)
	if err != nil {
		return err
	}
	number, shown := operation(s).Number, ""
	s, err = r.await(ctx, func(s builtin.SetStatus, nobody bool) bool {
		op := operation(s)
		if nobody || op.Number < number {
			return false
		}
		over := op.Number > number || op.Ended
		if !over && op.Node != "" && op.Node != shown {
			shown = op.Node
			r.printf("%s … (%d of %d done)", op.Node, op.Done, op.Total)
		}
		return over
	})
	if err != nil {
		return err
	}
	switch op := operation(s); {
	case op.Number > number:
		return errors.Join(r.show(s), fmt.Errorf(
			"the %s is over, and another operation, a %s, has begun since: how the %s ended is in the log of %s", kind, op.Kind, kind, r))
	case op.Error != "":
		return errors.Join(r.show(s), errors.New(op.Error))
	}
	anew := link.Count(operation(s).Done, "node runs anew", "nodes run anew")
	if r.whole {
		anew = link.Count(operation(s).Done, "process runs anew", "processes run anew")
	}
	r.printf("%s: %s", r, anew)
	return r.show(s)
}
