package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/worker/tasks"
)

// listedTasks is how many tasks a list has, unless told otherwise.
const listedTasks = 100

func (p *program) taskListCommand() *urfave.Command {
	f := &filterFlags{usual: slices.DeleteFunc(tasks.States(), func(s tasks.State) bool { return s == tasks.Done })}
	return &urfave.Command{
		Name: "list", Usage: "list tasks, those that go first or that ended last first",
		Flags: p.commandFlags(f.flags(listedTasks, strconv.Itoa(listedTasks))...), ArgValidator: arguments(0, 0, "none"),
		Action: p.action(func(ctx context.Context, _ []string) error { return p.taskList(ctx, f) }),
	}
}

func (p *program) taskList(ctx context.Context, f *filterFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	return p.withTasks(ctx, func(c *client, queue *tasks.Inspector) error {
		filter, now, err := f.filter(ctx, c)
		if err != nil {
			return err
		}
		if f.limit > 0 {
			filter.Limit++ // to see whether there are more
		}
		var found []tasks.Task
		for t, err := range queue.List(ctx, filter) {
			if err != nil {
				return err
			}
			found = append(found, t)
		}
		more := f.limit > 0 && len(found) > f.limit
		if more {
			found = found[:f.limit]
		}
		if err := p.writeTasks(found, now); err != nil {
			return err
		}
		if more {
			_, _ = fmt.Fprintln(p.Stderr, "stellar: there are more: narrow the list, or use --limit 0 for all")
		}
		return nil
	})
}

// writeTasks lists tasks.
func (p *program) writeTasks(found []tasks.Task, now time.Time) error {
	if p.asJSON() {
		if found == nil {
			found = []tasks.Task{}
		}
		return p.writeJSON(found)
	}
	if len(found) == 0 {
		return p.writeLine("no tasks")
	}
	rows := [][]string{{"ID", "NAME", queueColumn, "STATE", "WHEN", "ATTEMPTS", "REASON OR PAYLOAD"}}
	for _, t := range found {
		detail := string(t.Payload)
		if t.Reason != nil {
			detail = t.Reason.String()
		}
		queue := t.Queue
		if t.Priority != tasks.Normal {
			queue += " (" + t.Priority.String() + ")"
		}
		rows = append(rows, []string{t.ID, t.Name, queue, string(t.State), relative(whenOf(t), now), attempts(t), clip(detail, 60)})
	}
	return p.writeTable(rows)
}

// whenOf is the time that belongs to a task's state.
func whenOf(t tasks.Task) time.Time {
	for _, at := range []time.Time{t.Due, t.Ended, t.Kept} {
		if !at.IsZero() {
			return at
		}
	}
	return t.Enqueued
}

// relative is a time as it is seen from now.
func relative(at, now time.Time) string {
	if at.IsZero() {
		return "-"
	}
	d := at.Sub(now)
	text := cmp.Or(strings.TrimPrefix(brief(d.Abs().Round(time.Second)), "-"), "0s")
	if d > 0 {
		return "in " + text
	}
	return text + " ago"
}

func attempts(t tasks.Task) string {
	text := strconv.Itoa(t.Attempts)
	if t.Crashes > 0 {
		text += fmt.Sprintf(", %d crashes", t.Crashes)
	}
	return text
}

// clip cuts a text that is longer than that many characters.
func clip(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}

func (p *program) taskShow(ctx context.Context, queue *tasks.Inspector, id string) error {
	t, err := queue.Get(ctx, id)
	if err != nil {
		return err
	}
	if p.asJSON() {
		return p.writeJSON(t)
	}
	return p.writeTask(t)
}

// writeTask shows one task, and what happened to it.
func (p *program) writeTask(t tasks.Task) error {
	var rows [][]string
	row := func(name, value string) {
		if value != "" {
			rows = append(rows, []string{name + ":", value})
		}
	}
	moment := func(at time.Time) string {
		if at.IsZero() {
			return ""
		}
		return at.UTC().Format("2006-01-02T15:04:05.000Z")
	}
	row("id", t.ID)
	row("name", t.Name)
	row(queueWord, t.Queue)
	row("priority", t.Priority.String())
	row("state", string(t.State))
	row("on", t.Node)
	row("enqueued", moment(t.Enqueued))
	row("due", moment(t.Due))
	row("deadline", moment(t.Deadline))
	row("ended", moment(t.Ended))
	row("kept until", moment(t.Kept))
	row("attempts", attempts(t))
	if t.Position != nil {
		row("before it", strconv.FormatInt(*t.Position, 10))
	}
	row("unique", t.Unique)
	after := strings.Join(t.After, " ")
	if t.State == tasks.Blocked {
		after += fmt.Sprintf(" (%d not done)", t.Blocking)
	}
	row("after", after)
	if t.Progress != nil {
		row("progress", fmt.Sprintf("%.0f%% %s", 100*t.Progress.Fraction, t.Progress.Note))
	}
	if t.Cancelling {
		row("cancelling", "its handler was asked to end")
	}
	if t.Reason != nil {
		row("reason", t.Reason.String())
	}
	row("payload", clip(string(t.Payload), shownJSON))
	row("result", clip(string(t.Result), shownJSON))
	if err := p.writeTable(rows); err != nil || len(t.History) == 0 {
		return err
	}
	events := [][]string{{"AT", "WHAT", "ATTEMPT", "NODE", "ERROR"}}
	for _, e := range t.History {
		attempt := ""
		if e.Attempt > 0 {
			attempt = strconv.Itoa(e.Attempt)
		}
		events = append(events, []string{moment(e.At), e.What, attempt, e.Node, e.Error})
	}
	if err := p.writeLine(""); err != nil {
		return err
	}
	return p.writeTable(events)
}

// shownJSON is how many characters of a payload or a result are shown to people;
// scripts get all of it.
const shownJSON = 2000

func (p *program) taskExplain(ctx context.Context, queue *tasks.Inspector, id string) error {
	e, err := queue.Explain(ctx, id)
	if err != nil {
		return err
	}
	if p.asJSON() {
		return p.writeJSON(e)
	}
	if err := p.writeLine(fmt.Sprintf("%s is %s (%s, queue %s)", e.ID, e.State, e.Name, e.Queue)); err != nil {
		return err
	}
	for _, why := range e.Why {
		if err := p.writeLine("  - " + strings.ReplaceAll(why, "\n", " ")); err != nil {
			return err
		}
	}
	return nil
}

func (p *program) taskWaitCommand() *urfave.Command {
	var timeout time.Duration
	return &urfave.Command{
		Name: "wait", Usage: "wait until a task is done and print its result", ArgsUsage: "ID",
		Description: "It fails when the task is dead or cancelled, or has been forgotten.",
		Flags: p.commandFlags(
			&urfave.DurationFlag{Name: timeoutFlag, Destination: &timeout, Usage: "how long to wait (`TIME`)", DefaultText: "no limit"},
		),
		ArgValidator: arguments(1, 1, "ID"),
		Action: p.action(func(ctx context.Context, args []string) error {
			if timeout < 0 {
				return usagef("--timeout: %s is negative", timeout)
			}
			return p.withTasks(ctx, func(c *client, _ *tasks.Inspector) error {
				queue := c.tasks(ctx)
				defer queue.Close() //nolint:contextcheck // it ends a context of its own
				return p.await(ctx, queue, tasks.Receipt{ID: args[0]}, timeout)
			})
		}),
	}
}
