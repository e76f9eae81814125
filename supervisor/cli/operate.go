package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/worker/builtin"
	"github.com/stellarfw/stellar/worker/membership"
)

// Timings of the commands that operate a set.
const (
	// operateTime is how long they wait for what they began, unless told otherwise.
	operateTime = 10 * time.Minute
	// operateLook is how often they look how far it is, and answerTime how long a
	// node has to say so.
	operateLook = 100 * time.Millisecond
	answerTime  = 5 * time.Second
	// goneTime is how long a process may have no live node before it counts as
	// ended: longer than the pause after crashes.
	goneTime = time.Minute
)

const timeoutFlag = "timeout"

// operateFlags are those of the commands that operate a set.
type operateFlags struct {
	node    string
	timeout time.Duration
}

// operateCommands are the commands that do something with the set of a process.
func (p *program) operateCommands() []*urfave.Command {
	simple := func(name, usage, more string, do func(context.Context, *operated) error) *urfave.Command {
		f := &operateFlags{}
		return &urfave.Command{
			Name: name, Usage: usage, Description: more, Flags: p.operateFlags(f), ArgValidator: arguments(0, 0, "none"),
			Action: p.action(func(ctx context.Context, _ []string) error { return p.operate(ctx, f, do) }),
		}
	}
	f := &operateFlags{}
	return []*urfave.Command{
		{
			Name: "scale", Usage: "change the number of nodes of a process", ArgsUsage: "N",
			Description: "It waits until new nodes run and those that leave, the ones with the highest numbers, have drained. A set of 0\n" +
				"goes on running, but no command reaches it any more: the signal TTIN brings it a node.",
			Flags: p.operateFlags(f), ArgValidator: arguments(1, 1, "N"),
			Action: p.action(func(ctx context.Context, args []string) error {
				n, err := strconv.Atoi(args[0])
				if err != nil || n < 0 || n > supervisor.MaxWorkers {
					return usagef("N: %q is not a number between 0 and %d", args[0], supervisor.MaxWorkers)
				}
				return p.operate(ctx, f, func(ctx context.Context, o *operated) error { return o.scale(ctx, n) })
			}),
		},
		simple("roll", "restart the nodes of a process one after the other",
			"Each is waited for before the next one stops. It ends at a node that does not run again in time.",
			func(ctx context.Context, o *operated) error {
				return o.restart(ctx, "api.set.roll", builtin.OperationRoll)
			}),
		simple("reload", "restart all nodes of a process at once", "They drain in parallel.",
			func(ctx context.Context, o *operated) error {
				return o.restart(ctx, "api.set.reload", builtin.OperationReload)
			}),
		simple("quiet", "let the nodes of a process claim no more tasks",
			"What they have in hand goes on, and they answer calls. Nodes that start meanwhile start quiet.",
			func(ctx context.Context, o *operated) error {
				return o.simply(ctx, "api.set.quiet", "quiet: no tasks are claimed")
			}),
		simple("resume", "let the nodes of a quiet process claim tasks again", "",
			func(ctx context.Context, o *operated) error {
				return o.simply(ctx, "api.set.resume", "tasks are claimed")
			}),
	}
}

func (p *program) operateFlags(f *operateFlags) []urfave.Flag {
	return p.commandFlags(
		&urfave.StringFlag{
			Name: "node", Destination: &f.node, Usage: "`ID` of any node of the process, where the cluster has several processes",
		},
		&urfave.DurationFlag{
			Name: timeoutFlag, Value: operateTime, Destination: &f.timeout, Usage: "how long to wait for the end; what has begun goes on (`TIME`)",
		},
	)
}

// operate connects, finds the process and does something with its set.
func (p *program) operate(ctx context.Context, f *operateFlags, do func(context.Context, *operated) error) error {
	if f.timeout <= 0 {
		return usagef("--timeout: %s is not positive", f.timeout)
	}
	c, err := p.connect(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	if _, err := c.dial(ctx); err != nil {
		return err
	}
	process, err := p.process(ctx, c, f.node)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, f.timeout, fmt.Errorf("not over after %s: it goes on; see \"stellar status\"", f.timeout))
	defer cancel()
	return do(ctx, &operated{program: p, client: c, process: process, gone: goneTime})
}

// processNodes are the live nodes of one process.
type processNodes struct {
	membership.Process
	nodes []string
}

// processes returns the processes of the cluster, in the order of their nodes.
func (c *client) processes(ctx context.Context) ([]*processNodes, error) {
	members, err := c.directory.List(ctx)
	if err != nil {
		return nil, err
	}
	var all []*processNodes
	of := map[membership.Process]*processNodes{}
	for _, m := range members {
		if !m.Live {
			continue
		}
		if of[m.Process] == nil {
			of[m.Process] = &processNodes{Process: m.Process}
			all = append(all, of[m.Process])
		}
		of[m.Process].nodes = append(of[m.Process].nodes, m.Incarnation.ID)
	}
	return all, nil
}

// process finds the process of that node or, without one, the only one.
func (p *program) process(ctx context.Context, c *client, node string) (membership.Process, error) {
	all, err := c.processes(ctx)
	if err != nil {
		return membership.Process{}, err
	}
	var lines []string
	for _, one := range all {
		if slices.Contains(one.nodes, node) {
			return one.Process, nil
		}
		lines = append(lines, fmt.Sprintf("--node %s   process %d on %s, %d nodes", one.nodes[0], one.PID, one.Host, len(one.nodes)))
	}
	switch {
	case node != "":
		return membership.Process{}, &kindError{rpcregistry.ErrNoSuchTarget, fmt.Errorf("no live node %s: \"stellar status\" lists them", node)}
	case len(all) == 1:
		return all[0].Process, nil
	case len(all) == 0:
		return membership.Process{}, &kindError{errNoSet, fmt.Errorf(
			"no live node in namespace %s at %s: a set that was scaled to 0 gets a node by the signal TTIN", p.namespace, c.where)}
	default:
		return membership.Process{}, usagef("this cluster has several processes: choose one by any of its nodes:\n  %s",
			strings.Join(lines, "\n  "))
	}
}

// operated is a process whose set is operated.
type operated struct {
	*program
	*client

	process membership.Process
	gone    time.Duration // goneTime, but in tests
}

// errNoNode: the process has no live node to call.
var errNoNode = errors.New("the process has no live node")

// ask calls a method of the set that can be repeated: a node that ends may take
// the call, or its answer, with it.
func (o *operated) ask(ctx context.Context, method string, args any) (builtin.SetStatus, error) {
	s, err := o.askOnce(ctx, method, args)
	if !errors.Is(err, link.ErrUnknownOutcome) || ctx.Err() != nil {
		return s, err
	}
	s, again := o.askOnce(ctx, method, args)
	if again != nil {
		return s, fmt.Errorf("%w; asked again: %w", err, again)
	}
	return s, nil
}

// begin calls a method that must not run twice, and begins an operation of that
// kind. When no answer comes, the set's last operation tells whether it has begun.
func (o *operated) begin(ctx context.Context, method, kind string) (builtin.SetStatus, error) {
	before, err := o.ask(ctx, "api.set.status", nil)
	if err != nil {
		return before, err
	}
	s, err := o.askOnce(ctx, method, nil)
	if !errors.Is(err, link.ErrUnknownOutcome) || ctx.Err() != nil {
		return s, err
	}
	looking, cancel := context.WithTimeoutCause(ctx, o.gone, fmt.Errorf("no node said within %s whether it has begun", o.gone))
	defer cancel()
	now, failed := o.until(looking, func(_ builtin.SetStatus, nobody bool) bool { return !nobody })
	since := operations(now) - operations(before)
	switch {
	case failed != nil:
		return s, fmt.Errorf("%w; %w", err, failed)
	case since > 0 && now.Operation.Kind == kind:
		return now, nil
	case since > 1: // one before the last may have been it
		return s, err
	default:
		return o.askOnce(ctx, method, nil)
	}
}

// operations is how many operations the set has begun.
func operations(s builtin.SetStatus) int {
	if s.Operation == nil {
		return 0
	}
	return s.Operation.Number
}

// askOnce calls a method of the set, on the first of its nodes that takes it.
func (o *operated) askOnce(ctx context.Context, method string, args any) (s builtin.SetStatus, err error) {
	all, err := o.processes(ctx)
	if err != nil {
		return s, err
	}
	var nodes []string
	for _, one := range all {
		if one.Process == o.process {
			nodes = one.nodes
		}
	}
	s, err = o.askSet(ctx, nodes, method, args)
	return s, spoken(err)
}

// spoken is a refusal of the set in its own words.
func spoken(err error) error {
	remote, ok := errors.AsType[*rpcregistry.Error](err)
	if !ok {
		return err
	}
	for _, code := range []rpcregistry.Code{builtin.ErrSetBusy, builtin.ErrSetNotRunning, builtin.ErrSetSize} {
		if remote.Code == code {
			return &kindError{code, errors.New(strings.TrimPrefix(remote.Message, string(code)+": "))}
		}
	}
	return hint(err)
}

// until looks at the set until it is as it should be. The nodes may all be away
// for a while, or for good: then there is nobody to ask.
func (o *operated) until(ctx context.Context, is func(s builtin.SetStatus, nobody bool) bool) (builtin.SetStatus, error) {
	heard := time.Now() // of a live node
	for {
		s, err := o.askOnce(ctx, "api.set.status", nil)
		switch {
		case err == nil:
			if is(s, false) {
				return s, nil
			}
		case errors.Is(err, errNoNode):
			if is(s, true) {
				return s, nil
			}
			if time.Since(heard) > o.gone {
				return s, fmt.Errorf("process %d on %s has had no live node for %s: it has ended, or its nodes do not start; see its log",
					o.process.PID, o.process.Host, o.gone)
			}
		case errors.Is(err, link.ErrUnknownOutcome), errors.Is(err, rpcregistry.ErrNoSuchTarget), errors.Is(err, rpcregistry.ErrBusy):
		default:
			if ctx.Err() == nil {
				return s, err
			}
		}
		if !errors.Is(err, errNoNode) {
			heard = time.Now()
		}
		if link.Sleep(ctx, operateLook) != nil {
			return s, context.Cause(ctx)
		}
	}
}

// sayf writes a line for people.
func (o *operated) sayf(format string, args ...any) {
	if !o.asJSON() {
		_, _ = fmt.Fprintf(o.Stdout, "%s\n", printable(fmt.Sprintf(format, args...)))
	}
}

// show ends a command: with the status of the set for scripts.
func (o *operated) show(s builtin.SetStatus) error {
	if o.asJSON() {
		return o.writeJSON(s)
	}
	return nil
}

func (o *operated) simply(ctx context.Context, method, done string) error {
	s, err := o.ask(ctx, method, nil)
	if err != nil {
		return err
	}
	o.sayf("process %d on %s: %s", s.Process.PID, s.Process.Host, done)
	return o.show(s)
}

func (o *operated) scale(ctx context.Context, n int) error {
	before, err := o.ask(ctx, "api.set.status", nil)
	if err != nil {
		return err
	}
	if _, err := o.ask(ctx, "api.set.scale", map[string]int{"workers": n}); err != nil {
		return err
	}
	s, err := o.until(ctx, func(s builtin.SetStatus, nobody bool) bool {
		return nobody && n == 0 || !nobody && s.Workers == n && s.Ready == n && s.Leaving == 0
	})
	if err != nil {
		return err
	}
	if n == 0 {
		s = builtin.SetStatus{Process: o.process, Healthy: true, Redis: true}
	}
	o.sayf("process %d on %s: from %d to %d nodes", o.process.PID, o.process.Host, before.Workers, n)
	return o.show(s)
}

// restart begins a rolling restart or a reload, and tells how it goes.
func (o *operated) restart(ctx context.Context, method, kind string) error {
	s, err := o.begin(ctx, method, kind)
	if err != nil {
		return err
	}
	number, told := s.Operation.Number, ""
	s, err = o.until(ctx, func(s builtin.SetStatus, nobody bool) bool {
		if nobody || operations(s) < number {
			return false
		}
		op := s.Operation
		over := op.Number > number || op.Ended
		if !over && op.Node != "" && op.Node != told {
			told = op.Node
			o.sayf("%s … (%d of %d done)", op.Node, op.Done, op.Total)
		}
		return over
	})
	if err != nil {
		return err
	}
	switch op := s.Operation; {
	case op.Number > number:
		return errors.Join(o.show(s), fmt.Errorf(
			"the %s is over, and another operation, a %s, has begun since: how the %s ended is in the log of process %d on %s",
			kind, op.Kind, kind, s.Process.PID, s.Process.Host))
	case op.Error != "":
		return errors.Join(o.show(s), errors.New(op.Error))
	}
	o.sayf("process %d on %s: %d nodes run anew", s.Process.PID, s.Process.Host, s.Operation.Done)
	return o.show(s)
}
