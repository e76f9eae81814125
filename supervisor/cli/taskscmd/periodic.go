package taskscmd

import (
	"context"
	"errors"
	"fmt"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/worker/tasks"
)

func periodicCommand(e *cluster.Env) *urfave.Command {
	one := func(name, usage, more, done string, do func(context.Context, *cluster.Client, string) error) *urfave.Command {
		return &urfave.Command{
			Name: name, Usage: usage, Description: more, ArgsUsage: "NAME", Flags: e.ClientFlags(), ArgValidator: config.Arguments(1, 1, "NAME"),
			Action: e.Action(func(ctx context.Context, e *cluster.Env, args []string) error {
				return withPeriodic(ctx, e, args[0], func(c *cluster.Client) error {
					if err := do(ctx, c, args[0]); err != nil || done == "" {
						return err
					}
					return e.WriteResult(map[string]any{"name": args[0], "outcome": done}, done+": "+args[0])
				})
			}),
		}
	}
	return &urfave.Command{
		Name: "periodic", Usage: "list the periodic tasks; run, pause, resume or remove one",
		Commands: []*urfave.Command{
			{
				Name: "list", Usage: "list the periodic tasks",
				Flags: e.ClientFlags(), ArgValidator: config.NoSuchCommand, Action: e.Action(listPeriodic),
				Description: "LAST is the last tick, also one that was left out, and \"-\" until one has run.",
			},
			one("run", "enqueue it now, also while it is paused", "", "", func(ctx context.Context, c *cluster.Client, name string) error {
				return runPeriodic(ctx, e, c, name)
			}),
			one("pause", "leave its ticks out", "", "paused", func(ctx context.Context, c *cluster.Client, name string) error {
				return c.Inspector.PausePeriodic(ctx, name, true)
			}),
			one("resume", "let it tick again", "", "resumed", func(ctx context.Context, c *cluster.Client, name string) error {
				return c.Inspector.PausePeriodic(ctx, name, false)
			}),
			one("remove", "forget it", "A program that still registers it brings it back within seconds.", "removed",
				func(ctx context.Context, c *cluster.Client, name string) error {
					return c.Inspector.RemovePeriodic(ctx, name)
				}),
		},
		DefaultCommand: "list",
	}
}

// withPeriodic connects to the cluster, calls f and adds advice about the named periodic
// task to its error.
func withPeriodic(ctx context.Context, e *cluster.Env, name string, f func(*cluster.Client) error) error {
	c, err := e.Connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if err = f(c); errors.Is(err, tasks.ErrNotFound) {
		return fmt.Errorf("no periodic task %s: \"%s tasks periodic\" lists them", name, e.Program)
	}
	return err
}

func runPeriodic(ctx context.Context, e *cluster.Env, c *cluster.Client, name string) error {
	receipt, err := c.Tasks.RunPeriodic(ctx, name)
	if err != nil {
		return err
	}
	return writeReceipt(e, name, receipt, false)
}

func listPeriodic(ctx context.Context, e *cluster.Env, _ []string) error {
	return withTasks(ctx, e, func(c *cluster.Client, queue *tasks.Inspector) error {
		all, err := queue.Periodic(ctx)
		if err != nil {
			return err
		}
		if e.JSON() {
			return e.WriteJSON(all)
		}
		if len(all) == 0 {
			return e.WriteLine("no periodic tasks")
		}
		now, err := c.Time(ctx)
		if err != nil {
			return err
		}
		rows := [][]string{{"NAME", "TASK", queueColumn, "SCHEDULE", "CATCH UP", "LAST", "NEXT", "PAYLOAD"}}
		for _, t := range all {
			next, catchUp := relative(t.Next, now), "no"
			if t.Paused {
				next = "paused"
			}
			if t.CatchUp {
				catchUp = "yes"
			}
			rows = append(rows, []string{
				t.Name, t.Task, t.Queue, t.Schedule.String(), catchUp, relative(t.Last, now), next, clip(string(t.Payload), 60),
			})
		}
		return e.WriteTable(rows)
	})
}
