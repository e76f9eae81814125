package taskscmd

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/worker/tasks"
)

func periodicCommand(e *cluster.Env) *urfave.Command {
	each := func(name, usage, more, done string, do func(context.Context, *cluster.Client, string) error) *urfave.Command {
		return &urfave.Command{
			Name: name, Usage: usage, Description: more, ArgsUsage: "NAME…", Flags: e.ClientFlags(),
			ArgValidator: config.Arguments(1, math.MaxInt, "NAME…"),
			Action: e.Action(func(ctx context.Context, e *cluster.Env, args []string) error {
				return withPeriodic(ctx, e, args, func(c *cluster.Client, name string) error {
					if err := do(ctx, c, name); err != nil || done == "" {
						return err
					}
					return e.WriteResult(map[string]any{"name": name, "outcome": done}, done+": "+name)
				})
			}),
		}
	}
	return &urfave.Command{
		Name: "periodic", Usage: "list the periodic tasks; run, pause, resume or remove some",
		Commands: []*urfave.Command{
			{
				Name: "list", Usage: "list the periodic tasks",
				Flags: e.ClientFlags(), ArgValidator: config.NoSuchCommand, Action: e.Action(listPeriodic),
				Description: "LAST is the last tick, also one that was left out, and \"-\" until one has run.",
			},
			each("run", "enqueue it now, also while it is paused", "", "", func(ctx context.Context, c *cluster.Client, name string) error {
				return runPeriodic(ctx, e, c, name)
			}),
			each("pause", "leave its ticks out", "", "paused", func(ctx context.Context, c *cluster.Client, name string) error {
				return c.Inspector.PausePeriodic(ctx, name, true)
			}),
			each("resume", "let it tick again", "", "resumed", func(ctx context.Context, c *cluster.Client, name string) error {
				return c.Inspector.PausePeriodic(ctx, name, false)
			}),
			each("remove", "forget it", "A program that still registers it brings it back within seconds.", "removed",
				func(ctx context.Context, c *cluster.Client, name string) error {
					return c.Inspector.RemovePeriodic(ctx, name)
				}),
		},
		DefaultCommand: "list",
	}
}

// withPeriodic connects to the cluster and calls f for each of the named periodic tasks. It
// joins the errors, and adds advice about those that there are not.
func withPeriodic(ctx context.Context, e *cluster.Env, names []string, f func(c *cluster.Client, name string) error) error {
	c, err := e.Connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	var errs []error
	for _, name := range names {
		if err := f(c, name); errors.Is(err, tasks.ErrNotFound) {
			errs = append(errs, fmt.Errorf("no periodic task %s: \"%s tasks periodic\" lists them", name, e.Program))
		} else {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
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
			switch {
			case t.Paused:
				next = "paused"
			case t.Orphaned:
				next = "orphaned"
			}
			if t.CatchUp {
				catchUp = "yes"
			}
			rows = append(rows, []string{
				t.Name, t.Task, t.Queue, t.Schedule.String(), catchUp, relative(t.Last, now), next, clip(string(t.Payload), 60),
			})
		}
		return errors.Join(e.WriteTable(rows), writeOrphans(e, all, now))
	})
}

// writeOrphans says which of the periodic tasks nobody registers any more.
func writeOrphans(e *cluster.Env, all []tasks.PeriodicInfo, now time.Time) error {
	lines := []string{""}
	for _, t := range all {
		if t.Orphaned {
			lines = append(lines, fmt.Sprintf(
				"%s: no running program has registered it since %s: it does not tick; \"%s tasks periodic remove %[1]s\" forgets it",
				t.Name, relative(t.Registered, now), e.Program))
		}
	}
	if len(lines) == 1 {
		return nil
	}
	return e.WriteLine(lines...)
}
