package taskscmd

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/worker/builtin"
	"github.com/stellarfw/stellar/worker/tasks"
)

// limitFlags holds the flags that only "tasks limit" has.
type limitFlags struct {
	concurrency, tasks int
	bytes              string
	reset, anyName     bool
}

// queueVerb is a command that changes each queue that it is given.
type queueVerb struct {
	name, usage, more string
	flags             []urfave.Flag
	check             func(e *cluster.Env) error // of the flags; nil for none
	do                func(ctx context.Context, e *cluster.Env, c *cluster.Client, queue string) (change, error)
}

// queueCommands returns the commands that change queues.
func queueCommands(e *cluster.Env) []*urfave.Command {
	f := &limitFlags{}
	p := &pausing{}
	return []*urfave.Command{
		queueVerb{
			name: "pause", usage: "keep a queue's tasks from being claimed", more: "Those that run go on, and new ones are accepted.",
			flags: []urfave.Flag{anyNameFlag(&p.anyName)},
			do: func(ctx context.Context, e *cluster.Env, c *cluster.Client, queue string) (change, error) {
				return p.pauseQueue(ctx, e, c, queue, true)
			},
		}.command(e),
		queueVerb{
			name: "resume", usage: "let a paused queue's tasks go again",
			do: func(ctx context.Context, e *cluster.Env, c *cluster.Client, queue string) (change, error) {
				return (&pausing{}).pauseQueue(ctx, e, c, queue, false)
			},
		}.command(e),
		queueVerb{
			name: "limit", usage: "set limits of a queue, over the whole cluster",
			more: "They win over those that the program sets; --reset takes them back. Limits that are not named stay; 0 is none.\n" +
				"An enqueue beyond --tasks or --bytes is refused.",
			flags: []urfave.Flag{
				&urfave.IntFlag{
					Name: "concurrency", Config: config.Decimal(), Destination: &f.concurrency,
					Usage: "how many of its tasks run at a time (`N`)", HideDefault: true,
				},
				&urfave.IntFlag{
					Name: config.TasksKey, Config: config.Decimal(), Destination: &f.tasks,
					Usage: "how many wait or run (`N`)", HideDefault: true,
				},
				&urfave.StringFlag{Name: "bytes", Destination: &f.bytes, Usage: "`SIZE` of its stored tasks, such as 65536 or 64MiB"},
				anyNameFlag(&f.anyName),
				&urfave.BoolFlag{Name: "reset", Destination: &f.reset, Usage: "back to what the program says", HideDefault: true},
			},
			check: func(e *cluster.Env) error { _, err := f.limits(e, ""); return err },
			do:    f.limitQueue,
		}.command(e),
		defaultsCommand(e),
		queueVerb{
			name: "delete-queue", usage: "delete a queue's tasks that do not run, and the queue if none does",
			more: "Tasks of it that wait for other tasks stay.", do: deleteQueue,
		}.command(e),
	}
}

func (v queueVerb) command(e *cluster.Env) *urfave.Command {
	return &urfave.Command{
		Name: v.name, Usage: v.usage, Description: v.more, ArgsUsage: queueColumn + "…", Flags: e.ClientFlags(v.flags...),
		ArgValidator: config.Arguments(1, math.MaxInt, queueColumn+"…"),
		Action: e.Action(func(ctx context.Context, e *cluster.Env, queues []string) error {
			for _, queue := range queues {
				if !link.ValidName(queue) {
					return config.Usagef("queue %q: %w", queue, link.ErrName)
				}
			}
			if v.check != nil {
				if err := v.check(e); err != nil {
					return err
				}
			}
			return withTasks(ctx, e, func(c *cluster.Client, _ *tasks.Inspector) error {
				return changeEach(ctx, e, queueWord, queues, func(queue string) (change, error) { return v.do(ctx, e, c, queue) })
			})
		}),
	}
}

// requireQueue returns an error unless there is such a queue: it was used, or a program has
// defined tasks for it. Its name may be misspelt.
func requireQueue(ctx context.Context, e *cluster.Env, c *cluster.Client, name string) error {
	if name == "" {
		return nil
	}
	known, err := c.Queues(ctx)
	if err != nil || slices.Contains(known, name) {
		return err
	}
	return fmt.Errorf("no queue %s%s: \"%s tasks\" lists those that were used", name, meant(name, known), e.Program)
}

// meant returns which of the known names may have been meant, in parentheses, or "".
func meant(name string, known []string) string {
	if like := link.Nearest(name, known); like != "" {
		return fmt.Sprintf(" (did you mean %s?)", like)
	}
	return ""
}

// pausing implements the commands pause and resume.
type pausing struct{ anyName bool }

// anyNameFlag returns the flag of commands that also prepare a queue before its first task.
func anyNameFlag(to *bool) *urfave.BoolFlag {
	return &urfave.BoolFlag{Name: "any-name", Destination: to, HideDefault: true, Usage: "also if there was no such queue yet"}
}

func (f *pausing) pauseQueue(ctx context.Context, e *cluster.Env, c *cluster.Client, name string, paused bool) (change, error) {
	if !f.anyName {
		if err := requireQueue(ctx, e, c, name); err != nil {
			return change{}, err
		}
	}
	text := "resumed: queue " + name
	if paused {
		text = "paused: queue " + name
	}
	return change{members: map[string]any{"paused": paused}, text: text}, c.Inspector.PauseQueue(ctx, name, paused)
}

// limits returns the limits that the flags change; limits without a flag stay nil.
func (f *limitFlags) limits(e *cluster.Env, queue string) (builtin.QueueLimits, error) {
	l := builtin.QueueLimits{Queue: queue, Reset: f.reset}
	if e.Given("concurrency") {
		l.Concurrency = &f.concurrency
	}
	if e.Given(config.TasksKey) {
		l.Tasks = &f.tasks
	}
	if e.Given("bytes") {
		n, err := config.ParseSize(f.bytes)
		if err != nil {
			return l, config.Usagef("--bytes: %w", err)
		}
		l.Bytes = &n
	}
	some := l.Concurrency != nil || l.Tasks != nil || l.Bytes != nil
	switch {
	case some == f.reset:
		return l, config.Usagef("limit: use some of --concurrency, --tasks and --bytes, or --reset")
	case f.concurrency < 0:
		return l, config.Usagef("--concurrency: %d is negative; 0 is none", f.concurrency)
	case f.tasks < 0:
		return l, config.Usagef("--tasks: %d is negative; 0 is none", f.tasks)
	}
	return l, nil
}

func (f *limitFlags) limitQueue(ctx context.Context, e *cluster.Env, c *cluster.Client, name string) (change, error) {
	asked, err := f.limits(e, name)
	if err == nil && !f.anyName {
		err = requireQueue(ctx, e, c, name)
	}
	if err != nil {
		return change{}, err
	}
	limits, err := asked.Set(ctx, c.Inspector)
	one := func(n int64) string {
		if n == 0 {
			return "no limit"
		}
		return strconv.FormatInt(n, 10)
	}
	return change{members: map[string]any{"limits": limits}, table: [][]string{
		{queueColumn, "CONCURRENCY", "TASKS", "BYTES"},
		{name, one(int64(limits.Concurrency)), one(int64(limits.Tasks)), one(limits.Bytes)},
	}}, err
}

func deleteQueue(ctx context.Context, e *cluster.Env, c *cluster.Client, name string) (change, error) {
	if err := requireQueue(ctx, e, c, name); err != nil {
		return change{}, err
	}
	n, err := c.Inspector.DeleteQueue(ctx, name)
	if err != nil {
		err = fmt.Errorf("%w: %s before; it can be repeated", cluster.Cause(ctx, err), link.Count(n, "task was deleted", "tasks were deleted"))
	}
	return change{members: map[string]any{"deleted": n}, text: fmt.Sprintf("deleted: %s of queue %s", link.Count(n, "task"), name)}, err
}
