package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/worker/builtin"
	"github.com/stellarfw/stellar/worker/tasks"
)

// limitFlags are those of "tasks limit".
type limitFlags struct {
	concurrency, tasks int
	bytes              string
	reset              bool
}

// queueCommands are the commands about one queue.
func (p *program) queueCommands() []*urfave.Command {
	f := &limitFlags{}
	return []*urfave.Command{
		p.oneQueue("pause", "keep a queue's tasks from being claimed", "Those that run go on, and new ones are accepted.", nil,
			func(ctx context.Context, name string) error {
				return p.pauseQueue(ctx, name, true)
			}),
		p.oneQueue("resume", "let a paused queue's tasks go again", "", nil,
			func(ctx context.Context, name string) error {
				return p.pauseQueue(ctx, name, false)
			}),
		p.oneQueue("limit", "set limits of a queue, over the whole cluster",
			"They win over those that the program sets; --reset takes them back. Limits that are not named stay; 0 is none.\n"+
				"An enqueue beyond --tasks or --bytes is refused.",
			[]urfave.Flag{
				&urfave.IntFlag{Name: "concurrency", Destination: &f.concurrency, Usage: "how many of its tasks run at a time, `N`", HideDefault: true},
				&urfave.IntFlag{Name: tasksKey, Destination: &f.tasks, Usage: "how many wait or run, `N`", HideDefault: true},
				&urfave.StringFlag{Name: "bytes", Destination: &f.bytes, Usage: "`SIZE` of its stored tasks, such as 65536 or 64MiB"},
				&urfave.BoolFlag{Name: "reset", Destination: &f.reset, Usage: "back to what the program says", HideDefault: true},
			},
			func(ctx context.Context, name string) error {
				return p.limitQueue(ctx, f, name)
			}),
		p.oneQueue("delete-queue", "delete a queue's tasks that do not run, and the queue if none does",
			"Tasks of it that wait for other tasks stay.", nil, p.deleteQueue),
	}
}

// oneQueue is a command about one queue.
func (p *program) oneQueue(name, usage, more string, own []urfave.Flag, do func(context.Context, string) error) *urfave.Command {
	return &urfave.Command{
		Name: name, Usage: usage, Description: more, ArgsUsage: queueColumn, Flags: p.commandFlags(own...),
		ArgValidator: arguments(1, 1, queueColumn),
		Action: p.action(func(ctx context.Context, args []string) error {
			if !link.ValidName(args[0]) {
				return usagef("queue "+names, args[0])
			}
			return do(ctx, args[0])
		}),
	}
}

// known tells on standard error when a queue was never used: its name may be
// misspelt. A queue can be paused or limited before its first task.
func (p *program) known(ctx context.Context, queue *tasks.Inspector, name string) error {
	all, err := queue.Queues(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(all, func(q tasks.Queue) bool { return q.Name == name }) {
		_, _ = fmt.Fprintf(p.Stderr, "stellar: the queue %s was not used before\n", name)
	}
	return nil
}

func (p *program) pauseQueue(ctx context.Context, name string, paused bool) error {
	err := p.withTasks(ctx, func(_ *client, queue *tasks.Inspector) error {
		if err := p.known(ctx, queue, name); err != nil {
			return err
		}
		return queue.PauseQueue(ctx, name, paused)
	})
	if err != nil {
		return err
	}
	if p.asJSON() {
		return p.writeJSON(map[string]any{queueWord: name, "paused": paused})
	}
	if paused {
		return p.writeLine("paused: queue " + name)
	}
	return p.writeLine("resumed: queue " + name)
}

// limits are what the flags change.
func (p *program) limits(f *limitFlags, queue string) (builtin.QueueLimits, error) {
	l := builtin.QueueLimits{Queue: queue, Reset: f.reset}
	given := func(flag string) bool { return p.input.origin(flag).rank != fromDefault }
	if given("concurrency") {
		l.Concurrency = &f.concurrency
	}
	if given(tasksKey) {
		l.Tasks = &f.tasks
	}
	if given("bytes") {
		n, err := parseSize(f.bytes)
		if err != nil {
			return l, usagef("--bytes: %w", err)
		}
		l.Bytes = &n
	}
	some := l.Concurrency != nil || l.Tasks != nil || l.Bytes != nil
	switch {
	case some == f.reset:
		return l, usagef("limit: use some of --concurrency, --tasks and --bytes, or --reset")
	case f.concurrency < 0:
		return l, usagef("--concurrency: %d is negative; 0 is none", f.concurrency)
	case f.tasks < 0:
		return l, usagef("--tasks: %d is negative; 0 is none", f.tasks)
	}
	return l, nil
}

func (p *program) limitQueue(ctx context.Context, f *limitFlags, name string) error {
	change, err := p.limits(f, name)
	if err != nil {
		return err
	}
	var limits tasks.Limits
	err = p.withTasks(ctx, func(_ *client, queue *tasks.Inspector) (err error) {
		if err = p.known(ctx, queue, name); err == nil {
			limits, err = change.Set(ctx, queue)
		}
		return err
	})
	if err != nil {
		return err
	}
	if p.asJSON() {
		return p.writeJSON(map[string]any{queueWord: name, "limits": limits})
	}
	one := func(n int64) string {
		if n == 0 {
			return "no limit"
		}
		return strconv.FormatInt(n, 10)
	}
	return p.writeTable([][]string{
		{queueColumn, "CONCURRENCY", "TASKS", "BYTES"},
		{name, one(int64(limits.Concurrency)), one(int64(limits.Tasks)), one(limits.Bytes)},
	})
}

func (p *program) deleteQueue(ctx context.Context, name string) error {
	n := 0
	err := p.withTasks(ctx, func(_ *client, queue *tasks.Inspector) error {
		all, err := queue.Queues(ctx)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(all, func(q tasks.Queue) bool { return q.Name == name }) {
			return fmt.Errorf("no queue %s: \"stellar tasks\" lists them", name)
		}
		n, err = queue.DeleteQueue(ctx, name)
		return err
	})
	if err != nil {
		return err
	}
	if p.asJSON() {
		return p.writeJSON(map[string]any{queueWord: name, "deleted": n})
	}
	return p.writeLine(fmt.Sprintf("deleted: %s of queue %s", plural(n), name))
}

// units of a size in bytes.
var units = []struct {
	name   string
	factor int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"", 1}}

func parseSize(text string) (int64, error) {
	for _, u := range units {
		number, ok := strings.CutSuffix(text, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		if err != nil || n < 0 || n > 1<<50/u.factor {
			break
		}
		return n * u.factor, nil
	}
	return 0, fmt.Errorf("%q is not a size such as 65536, 64KiB or 1GiB", text)
}

// parseQueues reads names of queues, each with its weight if it has one.
func parseQueues(entries []string) (queues []string, weights map[string]int, err error) {
	var errs []error
	for _, entry := range entries {
		name, text, weighted := strings.Cut(entry, "=")
		switch {
		case !link.ValidName(name):
			errs = append(errs, fmt.Errorf(names, name))
		case slices.Contains(queues, name):
			errs = append(errs, fmt.Errorf("%q is there twice", name))
		default:
			queues = append(queues, name)
		}
		if !weighted {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > supervisor.MaxWeight {
			errs = append(errs, fmt.Errorf("%q: use a weight between 1 and %d, such as critical=6", entry, supervisor.MaxWeight))
			continue
		}
		if weights == nil {
			weights = map[string]int{}
		}
		weights[name] = n
	}
	return queues, weights, errors.Join(errs...)
}
