package taskscmd

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

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

	perGroup        int
	strict          bool
	rate, groupRate rateFlags
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
			flags: []urfave.Flag{p.groupFlag(), anyNameFlag(&p.anyName)},
			do: func(ctx context.Context, e *cluster.Env, c *cluster.Client, queue string) (change, error) {
				return p.pauseQueue(ctx, e, c, queue, true)
			},
		}.command(e),
		queueVerb{
			name: "resume", usage: "let a paused queue's tasks go again", flags: []urfave.Flag{p.groupFlag()},
			do: func(ctx context.Context, e *cluster.Env, c *cluster.Client, queue string) (change, error) {
				return p.pauseQueue(ctx, e, c, queue, false)
			},
		}.command(e),
		queueVerb{
			name: "limit", usage: "set limits of a queue, over the whole cluster",
			more: "They win over those that the program sets; --reset takes them back. Limits that are not named stay; 0 is none.\n" +
				"Without a flag it shows them.\n" +
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
				&urfave.IntFlag{
					Name: "per-group", Config: config.Decimal(), Destination: &f.perGroup, HideDefault: true,
					Usage: "how many tasks of each of its groups run at a time (`N`)",
				},
				&urfave.BoolFlag{
					Name: "strict", Destination: &f.strict, HideDefault: true,
					Usage: "have a task that waits for its next run hold its group; --strict=false ends that",
				},
				&urfave.StringFlag{
					Name: "rate", Destination: &f.rate.text, Usage: "how many tasks begin in a time: `N/TIME`, such as 100/1s; 0 for none",
				},
				&urfave.IntFlag{
					Name: "burst", Config: config.Decimal(), Destination: &f.rate.burst, HideDefault: true,
					Usage: "how many of these may begin at once (`N`), also of a rate that is set; 0: as many as come in 100 ms",
				},
				&urfave.StringFlag{Name: "group-rate", Destination: &f.groupRate.text, Usage: "the same for each of its groups: `N/TIME`"},
				&urfave.IntFlag{
					Name: "group-burst", Config: config.Decimal(), Destination: &f.groupRate.burst, HideDefault: true,
					Usage: "how many of these may begin at once (`N`)",
				},
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
type pausing struct {
	group   string
	anyName bool
}

func (f *pausing) groupFlag() *urfave.StringFlag {
	return &urfave.StringFlag{Name: groupWord, Destination: &f.group, Usage: "only that `GROUP` of the queue"}
}

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
	if e.Given(groupWord) && f.group == "" {
		return change{}, config.Usagef("--group: it is empty: leave the flag out for the whole queue")
	}
	verb := "resumed"
	if paused {
		verb = pausedWord
	}
	if f.group != "" {
		used, err := c.Inspector.PauseGroup(ctx, name, f.group, paused)
		if err == nil && !used {
			e.Notef("group %s of queue %s has no task that runs, or waits and is due: check the name", f.group, name)
		}
		return change{
			members: map[string]any{groupWord: f.group, pausedWord: paused}, text: fmt.Sprintf("%s: group %s of queue %s", verb, f.group, name),
		}, err
	}
	return change{members: map[string]any{pausedWord: paused}, text: verb + ": queue " + name}, c.Inspector.PauseQueue(ctx, name, paused)
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
	if e.Given("per-group") {
		l.PerGroup = &f.perGroup
	}
	if e.Given("strict") {
		l.Strict = &f.strict
	}
	var err error
	if l.Rate, l.Burst, err = f.rate.parse(e, "rate", "burst"); err != nil {
		return l, err
	}
	if l.GroupRate, l.GroupBurst, err = f.groupRate.parse(e, "group-rate", "group-burst"); err != nil {
		return l, err
	}
	some := l != builtin.QueueLimits{Queue: l.Queue, Reset: l.Reset}
	if some && f.reset {
		return l, config.Usagef("limit: use --reset, or flags that set limits, not both")
	}
	return l, f.check()
}

// check returns the error of limits that cannot be.
func (f *limitFlags) check() error {
	switch {
	case f.perGroup < 0:
		return config.Usagef("--per-group: %d is negative; 0 is none", f.perGroup)
	case f.strict && f.perGroup > 1:
		return config.Usagef("--strict: strict groups run one task at a time: leave --per-group out")
	case f.concurrency < 0:
		return config.Usagef("--concurrency: %d is negative; 0 is none", f.concurrency)
	case f.tasks < 0:
		return config.Usagef("--tasks: %d is negative; 0 is none", f.tasks)
	}
	return nil
}

// change changes the limits of a queue, if the flags ask for it, and returns those in effect.
func (f *limitFlags) change(ctx context.Context, c *cluster.Client, asked builtin.QueueLimits) (tasks.Limits, error) {
	if asked != (builtin.QueueLimits{Queue: asked.Queue}) {
		limits, err := asked.Set(ctx, c.Inspector)
		return limits, usage(err)
	}
	all, err := c.Inspector.Queues(ctx)
	for _, q := range all {
		if q.Name == asked.Queue {
			return q.Limits, err
		}
	}
	return tasks.Limits{}, err
}

func (f *limitFlags) limitQueue(ctx context.Context, e *cluster.Env, c *cluster.Client, name string) (change, error) {
	asked, err := f.limits(e, name)
	if err == nil && !f.anyName {
		err = requireQueue(ctx, e, c, name)
	}
	if err != nil {
		return change{}, err
	}
	limits, err := f.change(ctx, c, asked)
	one := func(n int64) string {
		if n == 0 {
			return "no limit"
		}
		return strconv.FormatInt(n, 10)
	}
	groups := one(int64(limits.PerGroup))
	if limits.Strict {
		groups += ", strict"
	}
	return change{members: map[string]any{"limits": limits}, table: [][]string{
		{queueColumn, "CONCURRENCY", "TASKS", "BYTES", "PER GROUP", "RATE", "GROUP RATE"},
		{
			name, one(int64(limits.Concurrency)), one(int64(limits.Tasks)), one(limits.Bytes), groups,
			strings.Replace(limits.Rate.String(), "none", one(0), 1), strings.Replace(limits.GroupRate.String(), "none", one(0), 1),
		},
	}}, err
}

// rateFlags are the flags of one rate.
type rateFlags struct {
	text  string
	burst int
}

// parse returns the rate and the burst that flags with these names say, nil for one that was not given.
func (f *rateFlags) parse(e *cluster.Env, name, burst string) (rate *tasks.Rate, most *int, err error) {
	if e.Given(burst) {
		if most = &f.burst; f.burst < 0 {
			return nil, nil, config.Usagef("--%s: %d is negative", burst, f.burst)
		}
	}
	if e.Given(name) {
		rate, err = f.rate(name)
	}
	if rate != nil && rate.Tasks == 0 && most != nil {
		err = config.Usagef("--%s: there is no rate with --%s 0", burst, name)
	}
	return rate, most, err
}

func (f *rateFlags) rate(name string) (*tasks.Rate, error) {
	if f.text == "0" {
		return &tasks.Rate{}, nil
	}
	number, text, _ := strings.Cut(f.text, "/")
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 {
		return nil, config.Usagef("--%s: %q: use a number and a time, such as 100/1s, or 0 for none", name, f.text)
	}
	per, err := time.ParseDuration(text)
	if err != nil {
		if per, err = time.ParseDuration("1" + text); err != nil { // 100/s
			return nil, config.Usagef("--%s: %q: use a number and a time, such as 100/1s, or 0 for none", name, f.text)
		}
	}
	return &tasks.Rate{Tasks: n, Per: per}, nil
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
