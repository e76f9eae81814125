package taskscmd

import (
	"context"
	"strconv"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/worker/tasks"
)

// groupsCommand lists the groups of a queue.
func groupsCommand(e *cluster.Env) *urfave.Command {
	limit := 0
	return &urfave.Command{
		Name: "groups", Usage: "list the groups of a queue, those with most waiting tasks first", ArgsUsage: queueColumn,
		Flags: e.ClientFlags(&urfave.IntFlag{
			Name: "limit", Config: config.Decimal(), Value: 100, Destination: &limit, Usage: "how many at most (`N`); 0 for all",
		}),
		ArgValidator: config.Arguments(1, 1, queueColumn),
		Action: e.Action(func(ctx context.Context, e *cluster.Env, args []string) error {
			if limit < 0 {
				return config.Usagef("--limit: %d is negative", limit)
			}
			return withTasks(ctx, e, func(c *cluster.Client, i *tasks.Inspector) error {
				err := requireQueue(ctx, e, c, args[0])
				if err != nil {
					return err
				}
				most := limit
				if most > 0 {
					most++ // to see whether there are more
				}
				groups, err := i.Groups(ctx, args[0], most)
				if err != nil {
					return err
				}
				more := limit > 0 && len(groups) > limit
				if more {
					groups = groups[:limit]
				}
				if err := writeGroups(e, groups); err != nil {
					return err
				}
				if more {
					e.Notef("there are more: use --limit 0 for all")
				}
				return nil
			})
		}),
	}
}

func writeGroups(e *cluster.Env, groups []tasks.Group) error {
	if e.JSON() {
		return e.WriteJSON(append([]tasks.Group{}, groups...))
	}
	if len(groups) == 0 {
		return e.WriteLine("no group has tasks that run, or wait and are due")
	}
	rows := [][]string{{"GROUP", "PENDING", "ACTIVE", "STATE"}}
	for _, g := range groups {
		var state []string
		if g.Paused {
			state = append(state, pausedWord)
		}
		if g.Held {
			state = append(state, "waits for its next run")
		}
		if !g.RestsUntil.IsZero() {
			state = append(state, "rests until "+g.RestsUntil.UTC().Format(time.RFC3339))
		}
		if state == nil {
			state = []string{"-"}
		}
		rows = append(rows, []string{g.Group, strconv.FormatInt(g.Pending, 10), strconv.FormatInt(g.Active, 10), strings.Join(state, ", ")})
	}
	return e.WriteTable(rows)
}
