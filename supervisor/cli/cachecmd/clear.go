package cachecmd

import (
	"context"
	"fmt"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/config"
)

func clearCommand(e *cluster.Env) *urfave.Command {
	yes := false
	return &urfave.Command{
		Name: "clear", Usage: "destroy all entries and lists, or those that match", ArgsUsage: "[GLOB]",
		Description: "It asks before. Entries whose lock somebody holds stay, and so do all locks; it says how many\n" +
			"stayed. Other namespaces, tasks and nodes are not touched. It works in steps, so that Redis can\n" +
			"serve others in between: what is saved meanwhile may stay or go. After an interruption it can be\n" +
			"repeated.\n\n" +
			"   $0 cache clear 'session:*'\n" +
			"   $0 cache clear --yes",
		Flags: flags(e, &urfave.BoolFlag{
			Name: "yes", Aliases: []string{"y"}, Destination: &yes, Usage: "do not ask", HideDefault: true,
		}),
		ArgValidator: config.Arguments(0, 1, "[GLOB]"),
		Action: e.Action(func(ctx context.Context, e *cluster.Env, args []string) error {
			return clearAll(ctx, e, yes, globOf(args))
		}),
	}
}

func clearAll(ctx context.Context, e *cluster.Env, yes bool, glob string) error {
	return withCache(ctx, e, glob, func(reach *cluster.Client, c *cache.Cache) error {
		if !yes {
			n, err := c.Size(ctx, glob)
			if err != nil {
				return cluster.Interrupted(ctx, err, "%s", cluster.ErrNotConfirmed)
			}
			if err := e.Confirm(ctx, question(n, c.EntryKey(glob), reach.Where)); err != nil {
				return err
			}
		}
		m := e.Meter()
		done, err := c.ClearWith(ctx, glob, cache.ClearOptions{Report: shown(m, "destroyed")})
		m.End()
		if err != nil {
			return cluster.Interrupted(ctx, err, "%s; it can be repeated", cleared(done))
		}
		return e.WriteResult(map[string]int{"destroyed": done.Entries, "skipped": done.Skipped}, cleared(done))
	})
}

func question(n int, pattern, where string) string {
	return fmt.Sprintf("destroy %s (keys %s of redis at %s)?", link.Count(n, "entry or list", "entries and lists"), pattern, where)
}

func cleared(done cache.Progress) string {
	text := "destroyed " + link.Count(done.Entries, "entry or list", "entries and lists")
	if done.Skipped > 0 {
		text += fmt.Sprintf(", skipped %d whose lock somebody holds", done.Skipped)
	}
	return text
}
