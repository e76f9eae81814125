package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/worker/tasks"
)

// mending is a command that does the same to some tasks: those whose ids are
// given, or all that a filter selects.
type mending struct {
	filterFlags

	verb, done  string // "cancel", "cancelled"
	all, dryRun bool
	reason      string

	one  func(ctx context.Context, queue *tasks.Inspector, id string) (outcome string, err error)
	many func(ctx context.Context, queue *tasks.Inspector, f tasks.Filter) (int, error)
}

// listedDry is how many of the tasks that would be hit --dry-run lists.
const listedDry = 100

// mendCommands are cancel, retry and delete.
func (p *program) mendCommands() []*urfave.Command {
	waiting := []tasks.State{tasks.Pending, tasks.Parked, tasks.Delayed, tasks.Blocked, tasks.Active}
	idle := slices.DeleteFunc(tasks.States(), func(s tasks.State) bool { return s == tasks.Active })
	cancel := &mending{verb: "cancel", done: "cancelled", filterFlags: filterFlags{possible: waiting, usual: waiting}}
	cancel.one = func(ctx context.Context, queue *tasks.Inspector, id string) (string, error) {
		running, err := queue.Cancel(ctx, id, cancel.reason)
		if running {
			return "asked to end", err // its handler decides when
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
		p.mendCommand(cancel, "cancel tasks, wherever they are",
			"One that runs is asked to end; it is cancelled when its handler returns an error.", reason),
		p.mendCommand(retry, "bring dead or cancelled tasks back to their queues", "They run as if they were new."),
		p.mendCommand(remove, "delete tasks without a trace", "One that runs has to be cancelled first."),
	}
}

func (p *program) mendCommand(m *mending, usage, more string, own ...urfave.Flag) *urfave.Command {
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
		Flags:       p.commandFlags(own...),
		Action:      p.action(func(ctx context.Context, args []string) error { return p.mend(ctx, m, args) }),
	}
}

func (p *program) mend(ctx context.Context, m *mending, ids []string) error {
	if err := m.check(); err != nil {
		return err
	}
	selects := m.all || !m.empty() || m.limit > 0
	switch {
	case len(ids) > 0 && selects:
		return usagef("%s: use ids or flags that select tasks, not both", m.verb)
	case len(ids) == 0 && m.empty() && !m.all:
		return usagef("%s: say which tasks: their ids, or flags such as --queue or --name; --all for all of them", m.verb)
	}
	return p.withTasks(ctx, func(c *client, queue *tasks.Inspector) error {
		switch {
		case len(ids) > 0 && m.dryRun:
			return p.dryRunOf(ctx, c, queue, m, ids)
		case len(ids) > 0:
			return p.mendEach(ctx, queue, m, ids)
		}
		filter, now, err := m.filter(ctx, c)
		switch {
		case err != nil:
			return err
		case m.dryRun:
			return p.dryRun(ctx, queue, m, filter, now)
		default:
			return p.mendAll(ctx, queue, m, filter)
		}
	})
}

// mendAll mends all that a filter selects.
func (p *program) mendAll(ctx context.Context, queue *tasks.Inspector, m *mending, f tasks.Filter) error {
	n, err := m.many(ctx, queue, f)
	if err != nil {
		return err
	}
	if p.asJSON() {
		return p.writeJSON(map[string]int{m.done: n})
	}
	return p.writeLine(fmt.Sprintf("%s: %s", m.done, plural(n)))
}

func plural(n int) string {
	if n == 1 {
		return "1 task"
	}
	return fmt.Sprintf("%d tasks", n)
}

// mended is what became of one task, in JSON.
type mended struct {
	ID      string `json:"id"`
	Outcome string `json:"outcome,omitempty"`
	Error   string `json:"error,omitempty"`
}

// mendEach mends one after the other, and goes on where one cannot be.
func (p *program) mendEach(ctx context.Context, queue *tasks.Inspector, m *mending, ids []string) error {
	results, failed := []mended{}, []error{}
	for _, id := range ids {
		outcome, err := m.one(ctx, queue, id)
		if err != nil {
			failed = append(failed, err)
			results = append(results, mended{ID: id, Error: err.Error()})
			continue
		}
		results = append(results, mended{ID: id, Outcome: outcome})
		if !p.asJSON() {
			if err := p.writeLine(outcome + ": " + id); err != nil {
				return err
			}
		}
	}
	if p.asJSON() {
		failed = append(failed, p.writeJSON(results))
	}
	return errors.Join(failed...)
}

// dryRun lists what a filter selects.
func (p *program) dryRun(ctx context.Context, queue *tasks.Inspector, m *mending, f tasks.Filter, now time.Time) error {
	n, some := 0, []tasks.Task{}
	for t, err := range queue.List(ctx, f) {
		if err != nil {
			return err
		}
		if n++; n <= listedDry {
			some = append(some, t)
		}
	}
	return p.writeDryRun(m, n, some, now)
}

// dryRunOf lists those of the tasks that can be mended.
func (p *program) dryRunOf(ctx context.Context, c *client, queue *tasks.Inspector, m *mending, ids []string) error {
	now, err := c.redis.Time(ctx).Result()
	if err != nil {
		return err
	}
	var failed []error
	some := []tasks.Task{}
	for _, id := range ids {
		t, err := queue.Get(ctx, id)
		if err == nil && !slices.Contains(m.possible, t.State) {
			err = fmt.Errorf("%s task %s: %w: it is %s", m.verb, id, tasks.ErrState, t.State)
		}
		if err != nil {
			failed = append(failed, err)
			continue
		}
		some = append(some, t)
	}
	return errors.Join(append([]error{p.writeDryRun(m, len(some), some, now)}, failed...)...)
}

func (p *program) writeDryRun(m *mending, n int, some []tasks.Task, now time.Time) error {
	if p.asJSON() {
		return p.writeJSON(map[string]any{"dryRun": true, m.done: n, tasksKey: some})
	}
	text := fmt.Sprintf("would be %s: %s", m.done, plural(n))
	if n > len(some) {
		text += fmt.Sprintf(", the first %d are", len(some))
	}
	if err := p.writeLine(text); err != nil || n == 0 {
		return err
	}
	return p.writeTasks(some, now)
}

// rescheduleFlags are those of "tasks reschedule".
type rescheduleFlags struct {
	in  time.Duration
	at  string
	now bool
}

func (p *program) rescheduleCommand() *urfave.Command {
	f := &rescheduleFlags{}
	return &urfave.Command{
		Name: "reschedule", Usage: "change when a delayed task runs", ArgsUsage: "ID",
		Flags: p.commandFlags(
			&urfave.DurationFlag{Name: "in", Destination: &f.in, Usage: "after that `TIME`, such as 10s", HideDefault: true},
			&urfave.StringFlag{Name: "at", Destination: &f.at, Usage: "at that `TIME`, such as " + exampleTime},
			&urfave.BoolFlag{Name: "now", Destination: &f.now, Usage: "at once", HideDefault: true},
		),
		ArgValidator: arguments(1, 1, "ID"),
		Action:       p.action(func(ctx context.Context, args []string) error { return p.reschedule(ctx, f, args[0]) }),
	}
}

func (p *program) reschedule(ctx context.Context, f *rescheduleFlags, id string) error {
	ways := 0
	for _, flag := range []string{"in", "at", "now"} {
		if p.input.origin(flag).rank != fromDefault {
			ways++
		}
	}
	if ways != 1 {
		return usagef("reschedule: use one of --in, --at and --now")
	}
	if f.in < 0 {
		return usagef("--in: %s is negative", f.in)
	}
	var at time.Time
	if f.at != "" {
		var err error
		if at, err = parseTime("at", f.at); err != nil {
			return err
		}
	}
	return p.withTasks(ctx, func(_ *client, queue *tasks.Inspector) error {
		var err error
		if f.in > 0 {
			err = queue.RescheduleIn(ctx, id, f.in)
		} else {
			err = queue.Reschedule(ctx, id, at)
		}
		if err != nil {
			return err
		}
		if p.asJSON() {
			return p.writeJSON(mended{ID: id, Outcome: "rescheduled"})
		}
		return p.writeLine("rescheduled: " + id)
	})
}
