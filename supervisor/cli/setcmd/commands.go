// Package setcmd has the commands that show and operate the sets of a cluster: status,
// scale, roll, reload, quiet and resume. A set is the group of nodes in one process.
package setcmd

import (
	"context"
	"fmt"
	"strconv"
	"time"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/worker/builtin"
)

// operateTime is the default of --timeout: how long a command waits for the end of the
// operation that it began.
const operateTime = 10 * time.Minute

// Commands returns the commands of this package.
func Commands(e *cluster.Env) []*urfave.Command {
	scale := &scaling{}
	return []*urfave.Command{
		{
			Name: "status", Usage: "show the live nodes of the cluster and its tasks", ArgValidator: config.NoArguments,
			Flags: e.ClientFlags(), Action: e.Action(status),
		}, {
			Name: "scale", Usage: "change the number of nodes of a process", ArgsUsage: "N",
			Description: "It waits until new nodes run and those that leave, the ones with the highest numbers, have drained. A set of 0\n" +
				"goes on running, but no command reaches it any more: the signal TTIN brings it a node.",
			Flags: scale.flags(e), ArgValidator: config.Arguments(1, 1, "N"), Action: e.Action(scale.run),
		},
		whole(e, "roll", "restart the nodes of a process, or the processes of a guardian, one after the other",
			"Each node is waited for before the next one stops. Under a guardian, a new process runs before the one in whose\n"+
				"place it is drains. It ends at one that does not run in time.",
			func(ctx context.Context, s *remoteSet) error {
				return s.restart(ctx, "api.set.roll", builtin.OperationRoll)
			}),
		simple(e, "reload", "restart all nodes of a process at once", "They drain in parallel.",
			func(ctx context.Context, s *remoteSet) error {
				return s.restart(ctx, "api.set.reload", builtin.OperationReload)
			}),
		simple(e, "quiet", "let the nodes of a process claim no more tasks",
			"What they have in hand goes on, and they answer calls. Nodes that start meanwhile start quiet.",
			func(ctx context.Context, s *remoteSet) error {
				return s.switchQuiet(ctx, "api.set.quiet", "quiet: no tasks are claimed")
			}),
		simple(e, "resume", "let the nodes of a quiet process claim tasks again", "",
			func(ctx context.Context, s *remoteSet) error {
				return s.switchQuiet(ctx, "api.set.resume", "tasks are claimed")
			}),
	}
}

// simple returns a command without arguments that calls do with the selected set.
func simple(e *cluster.Env, name, usage, more string, do func(context.Context, *remoteSet) error) *urfave.Command {
	return (&target{}).command(e, name, usage, more, do)
}

// whole is simple for a command that operates all processes of a guardian at once.
func whole(e *cluster.Env, name, usage, more string, do func(context.Context, *remoteSet) error) *urfave.Command {
	return (&target{whole: true}).command(e, name, usage, more, do)
}

func (t *target) command(e *cluster.Env, name, usage, more string, do func(context.Context, *remoteSet) error) *urfave.Command {
	return &urfave.Command{
		Name: name, Usage: usage, Description: more, Flags: t.flags(e), ArgValidator: config.NoArguments,
		Action: e.Action(func(ctx context.Context, e *cluster.Env, _ []string) error { return t.operate(ctx, e, do) }),
	}
}

// scaling implements the command scale.
type scaling struct{ target }

func (s *scaling) run(ctx context.Context, e *cluster.Env, args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil || n < 0 || n > supervisor.MaxWorkers {
		return config.Usagef("N: %q is not a number between 0 and %d", args[0], supervisor.MaxWorkers)
	}
	return s.operate(ctx, e, func(ctx context.Context, set *remoteSet) error { return set.scale(ctx, n) })
}

// target holds the flags --node, which selects the set that a command operates, and
// --timeout.
type target struct {
	node    string
	timeout time.Duration
	whole   bool // all processes of a guardian count as one
}

func (t *target) flags(e *cluster.Env) []urfave.Flag {
	return e.ClientFlags(
		&urfave.StringFlag{
			Name: "node", Destination: &t.node, Usage: "any `NODE` of the process, where the cluster has several processes",
		},
		&urfave.DurationFlag{
			Name: "timeout", Value: operateTime, Destination: &t.timeout, Usage: "how long to wait for the end; what has begun goes on (`TIME`)",
		},
	)
}

// operate connects to the cluster, finds the selected process and calls do with its
// set, under the timeout.
func (t *target) operate(ctx context.Context, e *cluster.Env, do func(context.Context, *remoteSet) error) error {
	if t.timeout <= 0 {
		return config.Usagef("--timeout: %s is not positive", t.timeout)
	}
	c, err := e.Connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Dial(ctx); err != nil {
		return err
	}
	process, err := findProcess(ctx, e, c, t.node, t.whole)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, t.timeout,
		fmt.Errorf("not over after %s", t.timeout))
	defer cancel()
	return do(ctx, &remoteSet{env: e, client: c, process: process, whole: t.whole && process.Guardian != 0, gone: goneTime})
}
