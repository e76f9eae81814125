package cli

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
	"github.com/stellarfw/stellar/worker/tasks"
)

// Words that flags, columns and JSON share.
const (
	queueWord   = "queue"
	queueColumn = "QUEUE"
)

func (p *program) tasksCommand() *urfave.Command {
	return &urfave.Command{
		Name: tasksKey, Usage: "look at the cluster's tasks, and mend what went wrong with them",
		Description: "Without a command it shows the queues. A TIME is one such as 2027-01-31T08:00:00Z, or how long ago: 90m.\n\n" +
			"   stellar tasks list --state dead --name mail --since 24h\n" +
			"   stellar tasks explain order:17\n" +
			"   stellar tasks retry --name mail --text timeout --dry-run\n" +
			"   stellar tasks cancel order:17 order:18\n" +
			"   stellar tasks pause mails",
		Commands: append([]*urfave.Command{
			{
				Name: "stats", Usage: "show the queues: what waits and runs, how fast, and what happened so far",
				Flags: p.commandFlags(), ArgValidator: noSuchCommand, Action: p.action(p.taskStats),
			},
			p.taskListCommand(),
			p.oneTask("show", "show all that is known of a task", p.taskShow),
			p.oneTask("explain", "say where a task is and why it does not run", p.taskExplain),
			p.taskWaitCommand(), p.rescheduleCommand(),
		}, append(append(p.mendCommands(), p.queueCommands()...), p.periodicCommand())...),
		DefaultCommand: "stats",
	}
}

// noSuchCommand is for the command that runs when none is named: its arguments
// are a misspelt one.
func noSuchCommand(_ context.Context, cmd *urfave.Command) error {
	if word := cmd.Args().First(); cmd.Args().Len() > 0 {
		above := cmd.Lineage()[1]
		var known []string
		for _, c := range above.Commands {
			known = append(known, c.Name)
		}
		return usagef("%q is not a command of %s: use %s", word, above.FullName(), strings.Join(known, ", "))
	}
	return nil
}

// oneTask is a command about one task.
func (p *program) oneTask(name, usage string, do func(context.Context, *tasks.Inspector, string) error) *urfave.Command {
	return &urfave.Command{
		Name: name, Usage: usage, ArgsUsage: "ID", Flags: p.commandFlags(), ArgValidator: arguments(1, 1, "ID"),
		Action: p.action(func(ctx context.Context, args []string) error {
			return p.withTasks(ctx, func(_ *client, queue *tasks.Inspector) error { return do(ctx, queue, args[0]) })
		}),
	}
}

// withTasks connects, and explains what f ends with.
func (p *program) withTasks(ctx context.Context, f func(*client, *tasks.Inspector) error) error {
	c, err := p.connect(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	err = f(c, c.inspector())
	if errors.Is(err, tasks.ErrNotFound) {
		return fmt.Errorf("%w: one that is done is remembered only with a retention or an id of your choice; "+
			"\"stellar tasks list\" lists what there is", err)
	}
	return err
}

// instant is a time on the command line: a point in time, or how far it is from now.
type instant struct {
	at   time.Time
	from time.Duration
}

// exampleTime is how a time is written.
const exampleTime = "2027-01-31T08:00:00Z"

// parseTime reads a point in time.
func parseTime(flag, text string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, usagef("--%s: %q is not a time such as %s or 2027-01-31T08:00:00+01:00", flag, text, exampleTime)
	}
	return at, nil
}

// parseInstant reads a point in time, or how long ago or from now it is.
func parseInstant(flag, text string, ago bool) (instant, error) {
	if text == "" {
		return instant{}, nil
	}
	direction := "from now"
	d, err := time.ParseDuration(text)
	given := err == nil && d > 0
	if ago {
		direction, d = "ago", -d
	}
	if given {
		return instant{from: d}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return instant{}, usagef("--%s: %q is neither a time such as %s nor how long %s, such as 90m", flag, text, exampleTime, direction)
	}
	return instant{at: at}, nil
}

// on returns the point in time; the zero one for none.
func (i instant) on(now time.Time) time.Time {
	if i.from != 0 {
		return now.Add(i.from)
	}
	return i.at
}

// filterFlags select tasks.
type filterFlags struct {
	states                   []string
	queue, name, text        string
	since, until             string
	limit                    int
	possible                 []tasks.State // what may be selected; nil for all
	usual                    []tasks.State // where no state is named
	parsedSince, parsedUntil instant
}

func (f *filterFlags) flags(limit int, limited string) []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringSliceFlag{
			Name: "state", Destination: &f.states, Config: urfave.StringConfig{TrimSpace: true},
			Usage: "`STATES` separated by commas: " + stateNames(f.possible), DefaultText: stateNames(f.usual),
		},
		&urfave.StringFlag{Name: queueWord, Destination: &f.queue, Usage: "`QUEUE` that they are in"},
		&urfave.StringFlag{Name: "name", Destination: &f.name, Usage: "`NAME` of the tasks"},
		&urfave.StringFlag{Name: "text", Destination: &f.text, Usage: "`TEXT` that is part of the id, the payload or the reason"},
		&urfave.StringFlag{
			Name: "since", Destination: &f.since,
			Usage: "`TIME` since when they ended (dead, cancelled), are due (delayed) or were enqueued",
		},
		&urfave.StringFlag{Name: "until", Destination: &f.until, Usage: "`TIME` until when"},
		&urfave.IntFlag{Name: "limit", Value: limit, Destination: &f.limit, Usage: "how many at most, `N`; 0 for all", DefaultText: limited},
	}
}

func stateNames(states []tasks.State) string {
	if states == nil {
		states = tasks.States()
	}
	names := make([]string, len(states))
	for i, s := range states {
		names[i] = string(s)
	}
	return strings.Join(names, ", ")
}

// empty reports whether nothing selects.
func (f *filterFlags) empty() bool {
	return len(f.states) == 0 && f.queue+f.name+f.text+f.since+f.until == ""
}

// check reports what is wrong with the flags.
func (f *filterFlags) check() (err error) {
	possible := f.possible
	if possible == nil {
		possible = tasks.States()
	}
	for _, s := range f.states {
		if !slices.Contains(possible, tasks.State(s)) {
			return usagef("--state: %q: use %s", s, stateNames(possible))
		}
	}
	switch {
	case f.queue != "" && !link.ValidName(f.queue):
		return usagef("--queue: "+names, f.queue)
	case f.name != "" && !link.ValidName(f.name):
		return usagef("--name: "+names, f.name)
	case f.limit < 0:
		return usagef("--limit: %d is negative", f.limit)
	}
	if f.parsedSince, err = parseInstant("since", f.since, true); err != nil {
		return err
	}
	f.parsedUntil, err = parseInstant("until", f.until, true)
	return err
}

// filter is what the flags select, on Redis's clock.
func (f *filterFlags) filter(ctx context.Context, c *client) (tasks.Filter, time.Time, error) {
	now, err := c.redis.Time(ctx).Result()
	if err != nil {
		return tasks.Filter{}, now, link.Explain(err)
	}
	out := tasks.Filter{
		States: f.usual, Queue: f.queue, Name: f.name, Text: f.text, Limit: f.limit,
		Since: f.parsedSince.on(now), Until: f.parsedUntil.on(now),
	}
	if len(f.states) > 0 {
		out.States = nil
		for _, s := range f.states {
			out.States = append(out.States, tasks.State(s))
		}
	}
	return out, now, nil
}

// taskStats shows the queues.
func (p *program) taskStats(ctx context.Context, _ []string) error {
	return p.withTasks(ctx, func(_ *client, queue *tasks.Inspector) error {
		all, err := queue.Queues(ctx)
		if err != nil {
			return err
		}
		counts, err := queue.Counts(ctx)
		if err != nil {
			return err
		}
		if p.asJSON() {
			return p.writeJSON(map[string]any{"queues": append([]tasks.Queue{}, all...), "counts": counts})
		}
		return p.writeStats(all, counts)
	})
}

func (p *program) writeStats(all []tasks.Queue, counts tasks.Counts) error {
	if len(all) == 0 {
		return p.writeLine("no queue was used yet")
	}
	n := func(n int64) string { return strconv.FormatInt(n, 10) }
	now := [][]string{{queueColumn, "PENDING", "PARKED", "DELAYED", "ACTIVE", "OLDEST", "DONE/S", "WAIT", "RUN", "STATE"}}
	ever := [][]string{{
		"SO FAR", "ENQUEUED", "DONE", "FAILED", "SNOOZED", "DEAD", "QUARANTINED", "CANCELLED", "RETRIED", "DELETED", "DROPPED", "TAKEN OVER",
	}}
	for _, q := range all {
		now = append(now, []string{
			q.Name, n(q.Pending), n(q.Parked), n(q.Delayed), n(q.Active), brief(q.Oldest),
			strconv.FormatFloat(q.Throughput, 'f', 1, 64), brief(q.Wait), brief(q.Run), stateOf(q),
		})
		e := q.Ever
		ever = append(ever, []string{
			q.Name, n(e.Enqueued), n(e.Done), n(e.Failed), n(e.Snoozed), n(e.Dead), n(e.Quarantined),
			n(e.Cancelled), n(e.Revived), n(e.Deleted), n(e.Dropped), n(e.HandedOn),
		})
	}
	if err := p.writeTable(now); err != nil {
		return err
	}
	if err := p.writeLine(""); err != nil {
		return err
	}
	if err := p.writeTable(ever); err != nil {
		return err
	}
	return p.writeLine(fmt.Sprintf("\n%d wait for other tasks; %d dead and %d cancelled ones are kept",
		counts.Blocked, counts.Dead, counts.Cancelled))
}

// stateOf says what is set for a queue.
func stateOf(q tasks.Queue) string {
	var words []string
	if q.Paused {
		words = append(words, "paused")
	}
	if most := q.Limits.Concurrency; most > 0 {
		words = append(words, fmt.Sprintf("at most %d run", most))
	}
	if most := q.Limits.Tasks; most > 0 {
		words = append(words, fmt.Sprintf("at most %d tasks", most))
	}
	if most := q.Limits.Bytes; most > 0 {
		words = append(words, fmt.Sprintf("%d of %d bytes", q.Bytes, most))
	}
	if len(words) == 0 {
		return "-"
	}
	return strings.Join(words, ", ")
}

// brief is a duration for people, with three digits or so.
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
