package taskscmd

import (
	"context"
	"math"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/worker/tasks"
)

// editFlags holds the flags of "tasks edit".
type editFlags struct{ payload, queue, group, priority string }

func editCommand(e *cluster.Env) *urfave.Command {
	f := &editFlags{}
	return &urfave.Command{
		Name: "edit", Usage: "change the payload, queue, group or priority of tasks that do not run", ArgsUsage: "ID…",
		Description: "With another queue, group or priority a task goes to the end of those.\n\n" +
			"   $0 tasks edit order:17 --payload '{\"to\": \"ada\"}' --priority high",
		Flags: e.ClientFlags(
			&urfave.StringFlag{Name: "payload", Destination: &f.payload, Usage: "`JSON` instead of its payload; - reads it from standard input"},
			&urfave.StringFlag{Name: queueWord, Destination: &f.queue, Usage: "`QUEUE` to which it moves"},
			&urfave.StringFlag{Name: groupWord, Destination: &f.group, Usage: "`GROUP` within its queue; an empty one for none"},
			&urfave.StringFlag{Name: priorityWord, Destination: &f.priority, Usage: "`PRIORITY` within its queue: high, normal or low"},
		),
		ArgValidator: config.Arguments(1, math.MaxInt, "ID…"),
		Action: e.Action(func(ctx context.Context, e *cluster.Env, ids []string) error {
			asked, err := f.edit(ctx, e)
			if err != nil {
				return err
			}
			return withTasks(ctx, e, func(c *cluster.Client, _ *tasks.Inspector) error {
				if err := requireQueue(ctx, e, c, f.queue); err != nil {
					return err
				}
				return changeEach(ctx, e, "id", ids, func(id string) (change, error) {
					return change{members: map[string]any{"outcome": "edited"}, text: "edited: " + id}, c.Inspector.Edit(ctx, id, asked)
				})
			})
		}),
	}
}

// edit returns the change that the flags ask for.
func (f *editFlags) edit(ctx context.Context, e *cluster.Env) (tasks.Edit, error) {
	out := tasks.Edit{Queue: f.queue}
	for flag, value := range map[string]string{"payload": f.payload, queueWord: f.queue, priorityWord: f.priority} {
		if value == "" && e.Given(flag) {
			return out, config.Usagef("--%s: it is empty: give a value, or leave the flag out", flag)
		}
	}
	if e.Given(groupWord) {
		out.Group = &f.group
	}
	if f.payload != "" {
		payload, err := e.Argument(ctx, f.payload, "--payload", `'{"to": "ada"}', '"text"' or 42`)
		if err != nil {
			return out, err
		}
		out.Payload = payload
	}
	if f.priority != "" {
		var p tasks.Priority
		if err := p.UnmarshalText([]byte(f.priority)); err != nil {
			return out, config.Usagef("--%w", err)
		}
		out.Priority = &p
	}
	switch {
	case f.queue != "" && !link.ValidName(f.queue):
		return out, config.Usagef("--queue: %q: %w", f.queue, link.ErrName)
	case f.queue == "" && out.Payload == nil && out.Group == nil && out.Priority == nil:
		return out, config.Usagef("edit: use some of --payload, --queue, --group and --priority")
	}
	return out, nil
}
