package taskscmd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/worker/builtin"
	"github.com/stellarfw/stellar/worker/tasks"
)

// setPeriodicCommand returns the command that sets a periodic task at run time.
func setPeriodicCommand(e *cluster.Env) *urfave.Command {
	var in builtin.SetPeriodic
	var payload string
	return &urfave.Command{
		Name: "set", Usage: "set one, or change it, without a deploy", ArgsUsage: nameColumn,
		Description: "It ticks until it is removed. A program's own periodic task of that name wins: then nothing is set.\n\n" +
			"   $0 tasks periodic set nightly --task sweep --cron \"0 0 * * *\"",
		Flags: e.ClientFlags(
			&urfave.StringFlag{Name: "task", Destination: &in.Task, Usage: "`TASK` to enqueue", DefaultText: "that of the same name"},
			&urfave.StringFlag{Name: "cron", Destination: &in.Cron, Usage: "when, as `EXPRESSION` such as \"0 6 * * *\" or @daily"},
			&urfave.StringFlag{Name: "timezone", Destination: &in.Timezone, Usage: "`ZONE` of --cron, such as Europe/Berlin", DefaultText: "UTC"},
			&urfave.DurationFlag{Name: "every", Destination: &in.Every, Usage: "or at every multiple of that `TIME` since 1970", HideDefault: true},
			&urfave.StringFlag{
				Name: "payload", Destination: &payload, Usage: "`JSON` of each run; - reads it from standard input", DefaultText: "null",
			},
			&urfave.BoolFlag{
				Name: "catch-up", Destination: &in.CatchUp, HideDefault: true, Usage: "run the last tick that was missed while no node was live",
			},
		),
		ArgValidator: config.Arguments(1, 1, nameColumn),
		Action: e.Action(func(ctx context.Context, e *cluster.Env, args []string) error {
			in := in
			if in.Name = args[0]; in.Task == "" {
				in.Task = in.Name
			}
			return setPeriodic(ctx, e, in, payload)
		}),
	}
}

func setPeriodic(ctx context.Context, e *cluster.Env, in builtin.SetPeriodic, payload string) error {
	for what, name := range map[string]string{"periodic task": in.Name, "--task": in.Task} {
		if !link.ValidName(name) {
			return config.Usagef("%s %q: %w", what, name, link.ErrName)
		}
	}
	switch {
	case e.Given("every") && in.Every <= 0:
		return config.Usagef("--every: %s is no interval: use one such as 10m", in.Every)
	case (in.Cron == "") == (in.Every == 0):
		return config.Usagef("use --cron or --every to say when it ticks")
	}
	p, err := in.Periodic()
	if err != nil {
		return usage(err)
	}
	if payload != "" {
		text, err := e.Argument(ctx, payload, "--payload", `'{"to": "ada"}', '"text"' or 42`)
		if err != nil {
			return err
		}
		p.Payload = text
	}
	return withTasks(ctx, e, func(c *cluster.Client, _ *tasks.Inspector) error {
		now, err := c.Time(ctx)
		if err != nil {
			return err
		}
		err = c.Tasks.SetPeriodic(ctx, p)
		switch {
		case errors.Is(err, tasks.ErrInvalid):
			return config.Usagef("%w", err)
		case errors.Is(err, tasks.ErrUndefined):
			return config.Usagef("unknown task %s: no program has defined it", p.Task)
		case err != nil:
			return err
		}
		text := fmt.Sprintf("set: %s, %s", in.Name, p.Schedule)
		next := p.Schedule.Next(now)
		if !next.IsZero() {
			text += ", next at " + next.UTC().Format(time.RFC3339)
		}
		return e.WriteResult(map[string]any{nameWord: in.Name, "nextAt": next}, text)
	})
}

// usage returns an error about the arguments of a method as one about the command's.
func usage(err error) error {
	if !errors.Is(err, rpcregistry.ErrBadArguments) {
		return err
	}
	text := strings.TrimPrefix(err.Error(), rpcregistry.ErrBadArguments.Error()+": ")
	return config.Usagef("%s", strings.NewReplacer("groupBurst:", "--group-burst:", "burst:", "--burst:").Replace(text))
}

func periodicHistory(ctx context.Context, e *cluster.Env, args []string) error {
	c, err := e.Connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	past, err := c.Inspector.PeriodicHistory(ctx, args[0])
	if err != nil {
		return noPeriodic(ctx, e, c, args[0], err)
	}
	if e.JSON() {
		return e.WriteJSON(past)
	}
	if len(past) == 0 {
		return e.WriteLine("no tick yet")
	}
	rows := [][]string{{"TICK", "WHAT", "LATE"}}
	for _, t := range past {
		rows = append(rows, []string{t.Tick.UTC().Format(time.RFC3339), t.What, brief(time.Duration(t.Late) * time.Millisecond)})
	}
	return e.WriteTable(rows)
}

// noPeriodic adds advice to an error about a periodic task that there is not.
func noPeriodic(ctx context.Context, e *cluster.Env, c *cluster.Client, name string, err error) error {
	if !errors.Is(err, tasks.ErrNotFound) {
		return err
	}
	all, _ := c.Inspector.Periodic(ctx) // without them there is nothing to guess
	names := make([]string, len(all))
	for i, t := range all {
		names[i] = t.Name
	}
	return fmt.Errorf("no periodic task %s%s: \"%s tasks periodic\" lists them", name, meant(name, names), e.Program)
}
