package taskscmd

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/worker/tasks"
)

func periodicCommand(e *cluster.Env) *urfave.Command {
	each := func(name, usage, more string, do func(context.Context, *cluster.Client, string) (change, error)) *urfave.Command {
		return &urfave.Command{
			Name: name, Usage: usage, Description: more, ArgsUsage: "NAME…", Flags: e.ClientFlags(),
			ArgValidator: config.Arguments(1, math.MaxInt, "NAME…"),
			Action: e.Action(func(ctx context.Context, e *cluster.Env, names []string) error {
				return changePeriodic(ctx, e, names, do)
			}),
		}
	}
	outcome := func(done, name string) change {
		return change{members: map[string]any{"outcome": done}, text: done + ": " + name}
	}
	return &urfave.Command{
		Name: "periodic", Usage: "list the periodic tasks; set, run, pause, resume or remove some",
		Commands: []*urfave.Command{
			{
				Name: "list", Usage: "list the periodic tasks",
				Flags: e.ClientFlags(), ArgValidator: config.NoArguments, Action: e.Action(listPeriodic),
				Description: "LAST is the last tick, also one that was left out, and \"-\" until one has run.",
			},
			setPeriodicCommand(e),
			{
				Name: "history", Usage: "show a periodic task's last ticks", ArgsUsage: nameColumn,
				Flags: e.ClientFlags(), ArgValidator: config.Arguments(1, 1, nameColumn), Action: e.Action(periodicHistory),
				Description: "LATE is for how long a tick had been due when a node enqueued its task, or left it out.",
			},
			each("run", "enqueue periodic tasks now, also paused ones", "", runPeriodic),
			each("pause", "leave the ticks of periodic tasks out", "", func(ctx context.Context, c *cluster.Client, name string) (change, error) {
				return outcome(pausedWord, name), c.Inspector.PausePeriodic(ctx, name, true)
			}),
			each("resume", "let paused periodic tasks tick again", "", func(ctx context.Context, c *cluster.Client, name string) (change, error) {
				return outcome("resumed", name), c.Inspector.PausePeriodic(ctx, name, false)
			}),
			each("remove", "forget periodic tasks", "One that was set does not tick any more. A program that still registers one brings it\n"+
				"back within seconds.",
				func(ctx context.Context, c *cluster.Client, name string) (change, error) {
					return outcome("removed", name), c.Inspector.RemovePeriodic(ctx, name)
				}),
		},
		DefaultCommand: "list",
	}
}

// changePeriodic connects to the cluster and calls do for each of the named periodic tasks. It
// adds advice to the errors about those that there are not.
func changePeriodic(
	ctx context.Context, e *cluster.Env, names []string, do func(context.Context, *cluster.Client, string) (change, error),
) error {
	c, err := e.Connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	return changeEach(ctx, e, nameWord, names, func(name string) (change, error) {
		done, err := do(ctx, c, name)
		return done, noPeriodic(ctx, e, c, name, err)
	})
}

func runPeriodic(ctx context.Context, c *cluster.Client, name string) (change, error) {
	receipt, err := c.Tasks.RunPeriodic(ctx, name)
	return change{members: receiptMembers(receipt), text: receiptText(name, receipt, false)}, err
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
		rows := [][]string{{nameColumn, "TASK", queueColumn, "SCHEDULE", "CATCH UP", "LAST", "NEXT", "PAYLOAD"}}
		for _, t := range all {
			next, catchUp := relative(t.Next, now), "no"
			switch {
			case t.Paused:
				next = pausedWord
			case t.Orphaned:
				next = "orphaned"
			}
			name := t.Name
			if t.Set && !t.Overruled {
				name += " (set)"
			}
			if t.CatchUp {
				catchUp = "yes"
			}
			rows = append(rows, []string{
				name, t.Task, t.Queue, t.Schedule.String(), catchUp, relative(t.Last, now), next, clip(string(t.Payload), 60),
			})
		}
		return errors.Join(e.WriteTable(rows), writeOrphans(e, all, now))
	})
}

// writeOrphans says which of the periodic tasks nobody registers any more, and which were set in vain.
func writeOrphans(e *cluster.Env, all []tasks.PeriodicInfo, now time.Time) error {
	lines := []string{""}
	for _, t := range all {
		if t.Overruled {
			lines = append(lines, t.Name+": it was set too, but a running program registers it: the program's definition counts")
		}
		if t.Orphaned {
			lines = append(lines, fmt.Sprintf(
				"%s: no running program has registered it for %s: it does not tick; \"%s tasks periodic remove %[1]s\" forgets it",
				t.Name, strings.TrimSuffix(relative(t.Registered, now), " ago"), e.Program))
		}
	}
	if len(lines) == 1 {
		return nil
	}
	return e.WriteLine(lines...)
}
