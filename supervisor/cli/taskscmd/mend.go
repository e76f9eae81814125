package taskscmd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/worker/tasks"
)

// mending implements the commands cancel, retry and delete. Each changes the tasks whose
// ids are given, or all tasks that a filter selects.
type mending struct {
	filterFlags

	verb, done  string // "cancel", "cancelled"
	all, dryRun bool
	reason      string

	one  func(ctx context.Context, queue *tasks.Inspector, id string) (outcome string, err error)
	many func(ctx context.Context, queue *tasks.Inspector, f tasks.Filter) (int, error)
}

// listedDry is how many tasks --dry-run lists.
const listedDry = 100

// mendCommands returns the commands cancel, retry and delete.
func mendCommands(e *cluster.Env) []*urfave.Command {
	waiting := []tasks.State{tasks.Pending, tasks.Parked, tasks.Delayed, tasks.Blocked, tasks.Active}
	idle := slices.DeleteFunc(tasks.States(), func(s tasks.State) bool { return s == tasks.Active })
	cancel := &mending{verb: "cancel", done: "cancelled", filterFlags: filterFlags{possible: waiting, usual: waiting}}
	cancel.one = func(ctx context.Context, queue *tasks.Inspector, id string) (string, error) {
		running, err := queue.Cancel(ctx, id, cancel.reason)
		if running {
			return "asked to end", err // the task is running: its handler decides when to return
		}
		return "cancelled", err
	}
	cancel.many = func(ctx context.Context, queue *tasks.Inspector, f tasks.Filter) (int, error) {
		return queue.CancelAll(ctx, f, cancel.reason)
	}
	retry := &mending{verb: "retry", done: "retried", filterFlags: filterFlags{
		possible: []tasks.State{tasks.Dead, tasks.Cancelled}, usual: []tasks.State{tasks.Dead},
	}}
	retry.one = func(ctx context.Context, queue *tasks.Inspector, id string) (string, error) {
		return retry.done, queue.Retry(ctx, id)
	}
	retry.many = func(ctx context.Context, queue *tasks.Inspector, f tasks.Filter) (int, error) {
		return queue.RetryAll(ctx, f)
	}
	remove := &mending{verb: "delete", done: "deleted", filterFlags: filterFlags{
		possible: idle, usual: slices.DeleteFunc(slices.Clone(idle), func(s tasks.State) bool { return s == tasks.Done }),
	}}
	remove.one = func(ctx context.Context, queue *tasks.Inspector, id string) (string, error) {
		return remove.done, queue.Delete(ctx, id)
	}
	remove.many = func(ctx context.Context, queue *tasks.Inspector, f tasks.Filter) (int, error) {
		return queue.DeleteAll(ctx, f)
	}
	reason := &urfave.StringFlag{
		Name: "reason", Value: "by command", Destination: &cancel.reason, Usage: "`TEXT` for those who look at the tasks later",
	}
	return []*urfave.Command{
		cancel.command(e, "cancel tasks, wherever they are",
			"One that runs is asked to end; it is cancelled when its handler returns an error.", reason),
		retry.command(e, "bring dead or cancelled tasks back to their queues",
			"They run as if they were new, and go on after the steps that have ended."),
		remove.command(e, "delete tasks without a trace", "One that runs has to be cancelled first."),
	}
}

func (m *mending) command(e *cluster.Env, usage, more string, own ...urfave.Flag) *urfave.Command {
	own = append(own, m.flags(0, "all")...)
	own = append(own,
		&urfave.BoolFlag{Name: "all", Destination: &m.all, Usage: "all tasks, where nothing else selects", HideDefault: true},
		&urfave.BoolFlag{
			Name: "dry-run", Destination: &m.dryRun, Usage: "show which tasks would be " + m.done + ", and do nothing", HideDefault: true,
		},
	)
	return &urfave.Command{
		Name: m.verb, Usage: usage, ArgsUsage: "[ID…]",
		Description: more + " Without ids, flags select the tasks.",
		Flags:       e.ClientFlags(own...),
		Action:      e.Action(m.run),
	}
}

func (m *mending) run(ctx context.Context, e *cluster.Env, ids []string) error {
	if err := m.check(e); err != nil {
		return err
	}
	selects := m.all || !m.empty() || m.limit > 0
	switch {
	case len(ids) > 0 && selects:
		return config.Usagef("%s: use ids or flags that select tasks, not both", m.verb)
	case len(ids) == 0 && m.empty() && !m.all:
		return config.Usagef("%s: say which tasks: their ids, or flags such as --queue or --name; --all for all of them", m.verb)
	}
	return withTasks(ctx, e, func(c *cluster.Client, queue *tasks.Inspector) error {
		switch {
		case len(ids) > 0 && m.dryRun:
			return m.dryEach(ctx, e, c, ids)
		case len(ids) > 0:
			return m.mendEach(ctx, e, queue, ids)
		}
		filter, now, err := m.filter(ctx, e, c)
		switch {
		case err != nil:
			return err
		case m.dryRun:
			return m.dryAll(ctx, e, c, filter, now)
		default:
			return m.mendAll(ctx, e, c, filter)
		}
	})
}

// mendAll applies the command to all tasks that the filter selects.
func (m *mending) mendAll(ctx context.Context, e *cluster.Env, c *cluster.Client, f tasks.Filter) error {
	n, err := m.many(ctx, c.Inspector, f)
	if err != nil {
		return fmt.Errorf("%w: %s before; it can be repeated", cluster.Cause(ctx, err), link.Count(n, "task was "+m.done, "tasks were "+m.done))
	}
	if err := e.WriteResult(map[string]int{m.done: n}, fmt.Sprintf("%s: %s", m.done, link.Count(n, "task"))); err != nil || n > 0 {
		return err
	}
	return m.noteName(ctx, e, c)
}

// mended is the outcome for one task in the JSON output.
type mended struct {
	ID      string `json:"id"`
	Outcome string `json:"outcome,omitempty"`
	Error   string `json:"error,omitempty"`
}

// mendEach applies the command to one task after the other, and continues after an
// error.
func (m *mending) mendEach(ctx context.Context, e *cluster.Env, queue *tasks.Inspector, ids []string) error {
	results, failed := []mended{}, []error{}
	for _, id := range ids {
		outcome, err := m.one(ctx, queue, id)
		if err != nil {
			failed = append(failed, err)
			results = append(results, mended{ID: id, Error: err.Error()})
			if ctx.Err() != nil {
				break
			}
			continue
		}
		results = append(results, mended{ID: id, Outcome: outcome})
		if !e.JSON() {
			if err := e.WriteLine(outcome + ": " + id); err != nil {
				return err
			}
		}
	}
	if e.JSON() {
		failed = append(failed, e.WriteJSON(results))
	}
	return errors.Join(failed...)
}

// dryAll lists the tasks that the filter selects and changes nothing.
func (m *mending) dryAll(ctx context.Context, e *cluster.Env, c *cluster.Client, f tasks.Filter, now time.Time) error {
	n, some := 0, []tasks.Task{}
	for t, err := range c.Inspector.List(ctx, f) {
		if err != nil {
			return err
		}
		if n++; n <= listedDry {
			some = append(some, t)
		}
	}
	if err := m.writeDry(e, n, some, now); err != nil || n > 0 {
		return err
	}
	return m.noteName(ctx, e, c)
}

// dryEach lists those of the given tasks whose state permits the command, and changes
// nothing.
func (m *mending) dryEach(ctx context.Context, e *cluster.Env, c *cluster.Client, ids []string) error {
	now, err := c.Time(ctx)
	if err != nil {
		return err
	}
	var failed []error
	some := []tasks.Task{}
	for _, id := range ids {
		t, err := c.Inspector.Get(ctx, id)
		if err == nil && !slices.Contains(m.possible, t.State) {
			err = fmt.Errorf("%s task %s: %w: it is %s", m.verb, id, tasks.ErrState, t.State)
		}
		if err != nil {
			failed = append(failed, err)
			continue
		}
		some = append(some, t)
	}
	return errors.Join(append([]error{m.writeDry(e, len(some), some, now)}, failed...)...)
}

func (m *mending) writeDry(e *cluster.Env, n int, some []tasks.Task, now time.Time) error {
	if e.JSON() {
		return e.WriteJSON(map[string]any{"dryRun": true, m.done: n, config.TasksKey: some})
	}
	text := fmt.Sprintf("would be %s: %s", m.done, link.Count(n, "task"))
	if n > len(some) {
		text += fmt.Sprintf(", the first %d are", len(some))
	}
	if err := e.WriteLine(text); err != nil || n == 0 {
		return err
	}
	return writeTasks(e, some, now)
}

// rescheduleFlags holds the flags that only "tasks reschedule" has.
type rescheduleFlags struct {
	in  time.Duration
	at  string
	now bool
}

func rescheduleCommand(e *cluster.Env) *urfave.Command {
	f := &rescheduleFlags{}
	return &urfave.Command{
		Name: "reschedule", Usage: "change when a delayed task runs", ArgsUsage: "ID",
		Flags: e.ClientFlags(
			&urfave.DurationFlag{Name: "in", Destination: &f.in, Usage: "after that `TIME`, such as 10s", HideDefault: true},
			&urfave.StringFlag{Name: "at", Destination: &f.at, Usage: "at that `TIME`, such as " + config.ExampleTime},
			&urfave.BoolFlag{Name: "now", Destination: &f.now, Usage: "at once", HideDefault: true},
		),
		ArgValidator: config.Arguments(1, 1, "ID"),
		Action:       e.Action(f.run),
	}
}

func (f *rescheduleFlags) run(ctx context.Context, e *cluster.Env, args []string) error {
	id := args[0]
	ways := 0
	for _, flag := range []string{"in", "at", "now"} {
		if e.Given(flag) {
			ways++
		}
	}
	if ways != 1 {
		return config.Usagef("reschedule: use one of --in, --at and --now")
	}
	if f.in < 0 {
		return config.Usagef("--in: %s is negative", f.in)
	}
	var at time.Time
	if f.at != "" {
		var err error
		if at, err = config.ParseTime("at", f.at); err != nil {
			return err
		}
	}
	return withTasks(ctx, e, func(_ *cluster.Client, queue *tasks.Inspector) error {
		var err error
		if f.in > 0 {
			err = queue.RescheduleIn(ctx, id, f.in)
		} else {
			err = queue.Reschedule(ctx, id, at)
		}
		if err != nil {
			return err
		}
		return e.WriteResult(mended{ID: id, Outcome: "rescheduled"}, "rescheduled: "+id)
	})
}

func rerunCommand(e *cluster.Env) *urfave.Command {
	var from string
	return &urfave.Command{
		Name: "rerun", Usage: "have a task forget a step and the later ones, and run again", ArgsUsage: "ID",
		Description: "What these steps have committed stays, and they commit again. A dead or cancelled task goes back to its queue,\n" +
			"a delayed one runs now; one that runs has to be cancelled first. \"$0 tasks show ID\" lists the steps.",
		Flags: e.ClientFlags(&urfave.StringFlag{
			Name: "from", Destination: &from, Usage: "`STEP` to forget, with the later ones", DefaultText: "all, and the checkpoint",
		}),
		ArgValidator: config.Arguments(1, 1, "ID"),
		Action: e.Action(func(ctx context.Context, e *cluster.Env, args []string) error {
			if from == "" && e.Given("from") {
				return config.Usagef("--from: it is empty: give a step, or leave the flag out to forget all")
			}
			return withTasks(ctx, e, func(_ *cluster.Client, queue *tasks.Inspector) error {
				if err := queue.Rerun(ctx, args[0], from); err != nil {
					return err
				}
				return e.WriteResult(mended{ID: args[0], Outcome: "to run again"}, "to run again: "+args[0])
			})
		}),
	}
}
