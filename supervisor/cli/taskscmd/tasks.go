// Package taskscmd has the commands that enqueue tasks, show them, and cancel, retry,
// reschedule or delete them.
package taskscmd

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
	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/worker/tasks"
)

// Names that flags, table columns and JSON keys share.
const (
	queueWord    = "queue"
	queueColumn  = "QUEUE"
	groupWord    = "group"
	priorityWord = "priority"
	nameWord     = "name"
	nameColumn   = "NAME"
	pausedWord   = "paused"
)

// Commands returns the commands enqueue and tasks.
func Commands(e *cluster.Env) []*urfave.Command {
	return []*urfave.Command{enqueueCommand(e), tasksCommand(e)}
}

func tasksCommand(e *cluster.Env) *urfave.Command {
	return &urfave.Command{
		Name: config.TasksKey, Usage: "look at the cluster's tasks, and mend what went wrong with them",
		Description: "Without a command it shows the queues. A TIME is one such as 2027-01-31T08:00:00Z, or how long ago: 90m.\n\n" +
			"   $0 tasks list --state dead --name mail --since 24h\n" +
			"   $0 tasks explain order:17\n" +
			"   $0 tasks retry --name mail --text timeout --dry-run\n" +
			"   $0 tasks cancel order:17 order:18\n" +
			"   $0 tasks pause mails",
		Commands: append([]*urfave.Command{
			{
				Name: "stats", Usage: "show the queues: what waits and runs, how fast, and what happened so far",
				Flags: e.ClientFlags(), ArgValidator: config.NoArguments, Action: e.Action(showStats),
			},
			listCommand(e),
			oneTask(e, "show", "show all that is known of a task", show),
			oneTask(e, "explain", "say where a task is and why it does not run", explain),
			waitCommand(e), rescheduleCommand(e), editCommand(e), rerunCommand(e), historyCommand(e), groupsCommand(e),
			exportCommand(e), importCommand(e),
		}, append(append(mendCommands(e), queueCommands(e)...), periodicCommand(e))...),
		DefaultCommand: "stats",
	}
}

// oneTask returns a command that calls do with the id of one task.
func oneTask(e *cluster.Env, name, usage string, do func(context.Context, *cluster.Env, *tasks.Inspector, string) error) *urfave.Command {
	return &urfave.Command{
		Name: name, Usage: usage, ArgsUsage: "ID", Flags: e.ClientFlags(), ArgValidator: config.Arguments(1, 1, "ID"),
		Action: e.Action(func(ctx context.Context, e *cluster.Env, args []string) error {
			return withTasks(ctx, e, func(_ *cluster.Client, queue *tasks.Inspector) error { return do(ctx, e, queue, args[0]) })
		}),
	}
}

// withTasks connects to the cluster, calls f and adds advice for the user to its error.
func withTasks(ctx context.Context, e *cluster.Env, f func(*cluster.Client, *tasks.Inspector) error) error {
	c, err := e.Connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	return adviseNotFound(e, f(c, c.Inspector))
}

// adviseNotFound adds advice to an error about a task that there is not: of joined errors to the
// last of them, as each is a line of its own.
func adviseNotFound(e *cluster.Env, err error) error {
	if !errors.Is(err, tasks.ErrNotFound) {
		return err
	}
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		all := slices.Clone(several.Unwrap())
		if joined := errors.Join(all...); joined.Error() == err.Error() {
			last := len(all) - 1
			for !errors.Is(all[last], tasks.ErrNotFound) {
				last--
			}
			all[last] = adviseNotFound(e, all[last])
			return errors.Join(all...)
		}
	}
	return fmt.Errorf("%w: it was never stored, or it is done and forgotten, as it is without --id or --retention of \"%s enqueue\"; "+
		"\"%[2]s tasks list\" lists what there is", err, e.Program)
}

// showStats writes the statistics of all queues.
func showStats(ctx context.Context, e *cluster.Env, _ []string) error {
	return withTasks(ctx, e, func(_ *cluster.Client, queue *tasks.Inspector) error {
		all, err := queue.Queues(ctx)
		if err != nil {
			return err
		}
		counts, err := queue.Counts(ctx)
		if err != nil {
			return err
		}
		if e.JSON() {
			return e.WriteJSON(map[string]any{"queues": append([]tasks.Queue{}, all...), "counts": counts})
		}
		return writeStats(e, all, counts)
	})
}

func writeStats(e *cluster.Env, all []tasks.Queue, counts tasks.Counts) error {
	if len(all) == 0 {
		return e.WriteLine("no queue was used yet")
	}
	n := func(n int64) string { return strconv.FormatInt(n, 10) }
	now := [][]string{{queueColumn, "PENDING", "PARKED", "DELAYED", "ACTIVE", "OLDEST", "DONE/S", "WAIT", "RUN", "STATE"}}
	ever := [][]string{{
		"SO FAR", "ENQUEUED", "DONE", "FAILED", "SNOOZED", "THROTTLED",
		"DEAD", "QUARANTINED", "CANCELLED", "RETRIED", "DELETED", "DROPPED", "TAKEN OVER",
	}}
	for _, q := range all {
		now = append(now, []string{
			q.Name, n(q.Pending), n(q.Parked), n(q.Delayed), n(q.Active), brief(q.Oldest),
			strconv.FormatFloat(q.Throughput, 'f', 1, 64), brief(q.Wait), brief(q.Run), stateOf(q),
		})
		e := q.Ever
		ever = append(ever, []string{
			q.Name, n(e.Enqueued), n(e.Done), n(e.Failed), n(e.Snoozed), n(e.Throttled), n(e.Dead), n(e.Quarantined),
			n(e.Cancelled), n(e.Revived), n(e.Deleted), n(e.Dropped), n(e.HandedOn),
		})
	}
	if err := e.WriteTable(now); err != nil {
		return err
	}
	if err := e.WriteLine(""); err != nil {
		return err
	}
	if err := e.WriteTable(ever); err != nil {
		return err
	}
	return e.WriteLine("", fmt.Sprintf("%s for other tasks; %d dead and %d cancelled ones are kept",
		link.Count(counts.Blocked, "task waits", "tasks wait"), counts.Dead, counts.Cancelled))
}

// stateOf returns a text that says whether a queue is paused and which limits it has.
func stateOf(q tasks.Queue) string {
	var words []string
	if q.Paused {
		words = append(words, pausedWord)
	}
	if !q.RestsUntil.IsZero() {
		words = append(words, "rests until "+q.RestsUntil.UTC().Format(time.RFC3339))
	}
	if q.Limits.Strict {
		words = append(words, "strict groups")
	} else if most := q.Limits.PerGroup; most > 0 {
		words = append(words, fmt.Sprintf("at most %d of a group run", most))
	}
	if q.Limits.Rate.Tasks > 0 {
		words = append(words, "rate "+q.Limits.Rate.String())
	}
	if q.Limits.GroupRate.Tasks > 0 {
		words = append(words, "rate of a group "+q.Limits.GroupRate.String())
	}
	if most := q.Limits.Concurrency; most > 0 {
		words = append(words, fmt.Sprintf("at most %d run", most))
	}
	if most := q.Limits.Tasks; most > 0 {
		words = append(words, "at most "+link.Count(most, "task"))
	}
	if most := q.Limits.Bytes; most > 0 {
		words = append(words, fmt.Sprintf("%d of %s", q.Bytes, link.Count(most, "byte")))
	}
	words = append(words, defaultsWords(q.Defaults)...)
	if len(words) == 0 {
		return "-"
	}
	return strings.Join(words, ", ")
}

// brief formats a duration for people, with about three digits.
func brief(d time.Duration) string {
	switch {
	case d == 0:
		return "-"
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < time.Second:
		return d.Round(100 * time.Microsecond).String()
	case d < time.Minute:
		return d.Round(10 * time.Millisecond).String()
	default:
		return d.Round(time.Second).String()
	}
}
