package cli

import (
	"context"
	"errors"
	"fmt"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/worker/tasks"
)

func (p *program) periodicCommand() *urfave.Command {
	one := func(name, usage, more, done string, do func(context.Context, *client, string) error) *urfave.Command {
		return &urfave.Command{
			Name: name, Usage: usage, Description: more, ArgsUsage: "NAME", Flags: p.commandFlags(), ArgValidator: arguments(1, 1, "NAME"),
			Action: p.action(func(ctx context.Context, args []string) error {
				return p.withPeriodic(ctx, args[0], func(c *client) error {
					if err := do(ctx, c, args[0]); err != nil || done == "" {
						return err
					}
					if p.asJSON() {
						return p.writeJSON(map[string]any{"name": args[0], "outcome": done})
					}
					return p.writeLine(done + ": " + args[0])
				})
			}),
		}
	}
	return &urfave.Command{
		Name: "periodic", Usage: "list the periodic tasks; run, pause, resume or remove one",
		Commands: []*urfave.Command{
			{
				Name: "list", Usage: "list the periodic tasks", Flags: p.commandFlags(), ArgValidator: noSuchCommand, Action: p.action(p.periodicList),
				Description: "LAST is the last tick, also one that was left out, and \"-\" until one has run.",
			},
			one("run", "enqueue it now, also while it is paused", "", "", p.periodicRun),
			one("pause", "leave its ticks out", "", "paused", func(ctx context.Context, c *client, name string) error {
				return c.inspector().PausePeriodic(ctx, name, true)
			}),
			one("resume", "let it tick again", "", "resumed", func(ctx context.Context, c *client, name string) error {
				return c.inspector().PausePeriodic(ctx, name, false)
			}),
			one("remove", "forget it", "A program that still registers it brings it back within seconds.", "removed",
				func(ctx context.Context, c *client, name string) error {
					return c.inspector().RemovePeriodic(ctx, name)
				}),
		},
		DefaultCommand: "list",
	}
}

// withPeriodic is withTasks for a periodic task.
func (p *program) withPeriodic(ctx context.Context, name string, f func(*client) error) error {
	c, err := p.connect(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	if err = f(c); errors.Is(err, tasks.ErrNotFound) {
		return fmt.Errorf("no periodic task %s: \"stellar tasks periodic\" lists them", name)
	}
	return err
}

func (p *program) periodicRun(ctx context.Context, c *client, name string) error {
	queue := c.tasks(ctx)
	defer queue.Close() //nolint:contextcheck // it ends a context of its own
	receipt, err := queue.RunPeriodic(ctx, name)
	if err != nil {
		return err
	}
	return p.writeReceipt(name, receipt, false)
}

func (p *program) periodicList(ctx context.Context, _ []string) error {
	return p.withTasks(ctx, func(c *client, queue *tasks.Inspector) error {
		all, err := queue.Periodic(ctx)
		if err != nil {
			return err
		}
		if p.asJSON() {
			return p.writeJSON(all)
		}
		if len(all) == 0 {
			return p.writeLine("no periodic tasks")
		}
		now, err := c.redis.Time(ctx).Result()
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
			rows = append(rows, []string{t.Name, t.Task, t.Queue, t.Schedule.String(), catchUp, relative(t.Last, now), next, clip(string(t.Payload), 60)})
		}
		return p.writeTable(rows)
	})
}
