package taskscmd

import (
	"context"
	"errors"
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

// queueCommands returns the commands that change queues.
func queueCommands(e *cluster.Env) []*urfave.Command {
	f := &limitFlags{}
	p := &pausing{}
	return []*urfave.Command{
		eachQueue(e, "pause", "keep a queue's tasks from being claimed", "Those that run go on, and new ones are accepted.",
			[]urfave.Flag{anyNameFlag(&p.anyName)},
			func(ctx context.Context, e *cluster.Env, name string) error {
				return p.pauseQueue(ctx, e, name, true)
			}),
		eachQueue(e, "resume", "let a paused queue's tasks go again", "", nil,
			func(ctx context.Context, e *cluster.Env, name string) error {
				return (&pausing{}).pauseQueue(ctx, e, name, false)
			}),
		eachQueue(e, "limit", "set limits of a queue, over the whole cluster",
			"They win over those that the program sets; --reset takes them back. Limits that are not named stay; 0 is none.\n"+
				"An enqueue beyond --tasks or --bytes is refused.",
			[]urfave.Flag{
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
			f.limitQueue),
		eachQueue(e, "delete-queue", "delete a queue's tasks that do not run, and the queue if none does",
			"Tasks of it that wait for other tasks stay.", nil, deleteQueue),
	}
}

// eachQueue returns a command that calls do with the name of each queue that it is given.
func eachQueue(
	e *cluster.Env, name, usage, more string, own []urfave.Flag, do func(context.Context, *cluster.Env, string) error,
) *urfave.Command {
	return &urfave.Command{
		Name: name, Usage: usage, Description: more, ArgsUsage: queueColumn + "…", Flags: e.ClientFlags(own...),
		ArgValidator: config.Arguments(1, math.MaxInt, queueColumn+"…"),
		Action: e.Action(func(ctx context.Context, e *cluster.Env, args []string) error {
			for _, queue := range args {
				if !link.ValidName(queue) {
					return config.Usagef("queue %q: %w", queue, link.ErrName)
				}
			}
			var errs []error
			for _, queue := range args {
				errs = append(errs, do(ctx, e, queue))
			}
			return errors.Join(errs...)
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

func (f *pausing) pauseQueue(ctx context.Context, e *cluster.Env, name string, paused bool) error {
	err := withTasks(ctx, e, func(c *cluster.Client, queue *tasks.Inspector) error {
		if !f.anyName {
			if err := requireQueue(ctx, e, c, name); err != nil {
				return err
			}
		}
		return queue.PauseQueue(ctx, name, paused)
	})
	if err != nil {
		return err
	}
	text := "resumed: queue " + name
	if paused {
		text = "paused: queue " + name
	}
	return e.WriteResult(map[string]any{queueWord: name, "paused": paused}, text)
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

func (f *limitFlags) limitQueue(ctx context.Context, e *cluster.Env, name string) error {
	change, err := f.limits(e, name)
	if err != nil {
		return err
	}
	var limits tasks.Limits
	err = withTasks(ctx, e, func(c *cluster.Client, queue *tasks.Inspector) (err error) {
		if !f.anyName {
			err = requireQueue(ctx, e, c, name)
		}
		if err == nil {
			limits, err = change.Set(ctx, queue)
		}
		return err
	})
	if err != nil {
		return err
	}
	if e.JSON() {
		return e.WriteJSON(map[string]any{queueWord: name, "limits": limits})
	}
	one := func(n int64) string {
		if n == 0 {
			return "no limit"
		}
		return strconv.FormatInt(n, 10)
	}
	return e.WriteTable([][]string{
		{queueColumn, "CONCURRENCY", "TASKS", "BYTES"},
		{name, one(int64(limits.Concurrency)), one(int64(limits.Tasks)), one(limits.Bytes)},
	})
}

func deleteQueue(ctx context.Context, e *cluster.Env, name string) error {
	n := 0
	err := withTasks(ctx, e, func(c *cluster.Client, queue *tasks.Inspector) error {
		err := requireQueue(ctx, e, c, name)
		if err != nil {
			return err
		}
		if n, err = queue.DeleteQueue(ctx, name); err != nil {
			return fmt.Errorf("%w: %s before; it can be repeated", cluster.Cause(ctx, err), link.Count(n, "task was deleted", "tasks were deleted"))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return e.WriteResult(map[string]any{queueWord: name, "deleted": n}, fmt.Sprintf("deleted: %s of queue %s", link.Count(n, "task"), name))
}
