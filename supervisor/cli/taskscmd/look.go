package taskscmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
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

// listedTasks is the default limit of "tasks list".
const listedTasks = 100

func listCommand(e *cluster.Env) *urfave.Command {
	f := &filterFlags{usual: slices.DeleteFunc(tasks.States(), func(s tasks.State) bool { return s == tasks.Done })}
	return &urfave.Command{
		Name: "list", Usage: "list tasks, those that go first or that ended last first",
		Flags: e.ClientFlags(f.flags(listedTasks, strconv.Itoa(listedTasks))...), ArgValidator: config.NoArguments,
		Action: e.Action(func(ctx context.Context, e *cluster.Env, _ []string) error { return list(ctx, e, f) }),
	}
}

func list(ctx context.Context, e *cluster.Env, f *filterFlags) error {
	if err := f.check(e); err != nil {
		return err
	}
	return withTasks(ctx, e, func(c *cluster.Client, queue *tasks.Inspector) error {
		filter, now, err := f.filter(ctx, e, c)
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
		if err := writeTasks(e, found, now); err != nil {
			return err
		}
		if len(found) == 0 {
			return f.noteName(ctx, e, c)
		}
		if more {
			e.Notef("there are more: narrow the list, or use --limit 0 for all")
		}
		return nil
	})
}

// writeTasks writes tasks as a table or as JSON.
func writeTasks(e *cluster.Env, found []tasks.Task, now time.Time) error {
	if e.JSON() {
		if found == nil {
			found = []tasks.Task{}
		}
		return e.WriteJSON(found)
	}
	if len(found) == 0 {
		return e.WriteLine("no tasks")
	}
	rows := [][]string{{"ID", nameColumn, queueColumn, "STATE", "WHEN", "ATTEMPTS", "REASON OR PAYLOAD"}}
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
	return e.WriteTable(rows)
}

// whenOf returns the time that matters in the task's state: when it is due, when it
// ended, or until when it is remembered.
func whenOf(t tasks.Task) time.Time {
	for _, at := range []time.Time{t.Due, t.Ended, t.Kept} {
		if !at.IsZero() {
			return at
		}
	}
	return t.Enqueued
}

// relative formats a time as its distance from now; as a date if it is years away.
func relative(at, now time.Time) string {
	if at.IsZero() {
		return "-"
	}
	d := at.Sub(now)
	if d.Abs() > 2*365*24*time.Hour { // Sub does not go beyond 292 years
		return at.UTC().Format(time.DateOnly)
	}
	text := cmp.Or(strings.TrimPrefix(brief(d.Abs().Round(time.Second)), "-"), "0s")
	if d > 0 {
		return "in " + text
	}
	return text + " ago"
}

func attempts(t tasks.Task) string {
	text := strconv.Itoa(t.Attempts)
	if t.Crashes > 0 {
		text += ", " + link.Count(t.Crashes, "crash")
	}
	return text
}

// clip cuts a text to the given number of characters.
func clip(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}

func show(ctx context.Context, e *cluster.Env, queue *tasks.Inspector, id string) error {
	t, err := queue.Get(ctx, id)
	if err != nil {
		return err
	}
	if e.JSON() {
		return e.WriteJSON(t)
	}
	return writeTask(e, t)
}

// before returns how many tasks go before a task, "" for one that is in no line.
func before(t tasks.Task) string {
	switch {
	case t.Position == nil:
		return ""
	case t.About:
		return "about " + strconv.FormatInt(*t.Position, 10)
	default:
		return strconv.FormatInt(*t.Position, 10)
	}
}

// writeTask writes the fields of one task, and tables of its steps and its history.
func writeTask(e *cluster.Env, t tasks.Task) error {
	var rows [][]string
	row := func(name, value string) {
		if value != "" {
			rows = append(rows, []string{name + ":", value})
		}
	}
	row("id", t.ID)
	row(nameWord, t.Name)
	row(queueWord, t.Queue)
	row(groupWord, t.Group)
	row(priorityWord, t.Priority.String())
	row("state", string(t.State))
	row("on", t.Node)
	if t.Run != nil {
		row("run", t.Run.String())
	}
	row("enqueued", moment(t.Enqueued))
	row("tick", moment(t.Tick))
	row("due", moment(t.Due))
	row("deadline", moment(t.Deadline))
	row("ended", moment(t.Ended))
	row("kept until", moment(t.Kept))
	row("attempts", attempts(t))
	row("before it", before(t))
	row("unique", t.Unique)
	after := strings.Join(t.After, " ")
	if t.State == tasks.Blocked {
		after += fmt.Sprintf(" (%d not done)", t.Blocking)
	}
	row("after", after)
	for _, key := range slices.Sorted(maps.Keys(t.Meta)) {
		row("meta "+key, t.Meta[key])
	}
	if t.Progress != nil {
		row("progress", fmt.Sprintf("%.0f%% %s", 100*t.Progress.Fraction, t.Progress.Note))
	}
	if t.Checkpoint != nil {
		row("checkpoint", fmt.Sprintf("%s, %s", moment(t.Checkpoint.At), link.Count(t.Checkpoint.Bytes, "byte")))
	}
	if t.Cancelling {
		row("cancelling", "its handler was asked to end")
	}
	if t.Reason != nil {
		row("reason", t.Reason.String())
	}
	if t.Death != nil {
		row("is dead", t.Death.String())
	}
	row("payload", clip(string(t.Payload), shownJSON))
	row("result", clip(string(t.Result), shownJSON))
	if err := e.WriteTable(rows); err != nil {
		return err
	}
	return errors.Join(writeSteps(e, t.Steps), writeHistory(e, t.History))
}

// moment formats a time to the millisecond; no time is the empty text.
func moment(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format("2006-01-02T15:04:05.000Z")
}

// writeSteps writes a table of a task's steps, if it has any.
func writeSteps(e *cluster.Env, steps []tasks.EndedStep) error {
	if len(steps) == 0 {
		return nil
	}
	rows := [][]string{{stepColumn, "ENDED", "RESULT", "SLEEPS UNTIL"}}
	for _, s := range steps {
		result := ""
		if s.Wakes.IsZero() {
			result = link.Count(s.Bytes, "byte")
		}
		rows = append(rows, []string{s.Name, moment(s.Ended), result, moment(s.Wakes)})
	}
	return errors.Join(e.WriteLine(""), e.WriteTable(rows))
}

// writeHistory writes a table of what has happened to a task, if anything has.
func writeHistory(e *cluster.Env, history []tasks.Event) error {
	if len(history) == 0 {
		return nil
	}
	rows := [][]string{{"AT", "WHAT", "ATTEMPT", "NODE", "ERROR"}}
	hasSteps := slices.ContainsFunc(history, func(h tasks.Event) bool { return h.Step != "" })
	if hasSteps {
		rows[0] = slices.Insert(rows[0], 2, stepColumn)
	}
	for _, h := range history {
		attempt := ""
		if h.Attempt > 0 {
			attempt = strconv.Itoa(h.Attempt)
		}
		row := []string{moment(h.At), h.What, attempt, h.Node, h.Error}
		if hasSteps {
			row = slices.Insert(row, 2, h.Step)
		}
		rows = append(rows, row)
	}
	return errors.Join(e.WriteLine(""), e.WriteTable(rows))
}

const stepColumn = "STEP"

// shownJSON is the length to which a payload or a result is cut in a table, in
// characters. JSON output is not cut.
const shownJSON = 2000

func explain(ctx context.Context, e *cluster.Env, queue *tasks.Inspector, id string) error {
	x, err := queue.Explain(ctx, id)
	if err != nil {
		return err
	}
	if e.JSON() {
		return e.WriteJSON(x)
	}
	head := fmt.Sprintf("%s is %s", x.ID, x.State)
	if x.Name != "" { // else its id alone is remembered
		head += fmt.Sprintf(" (%s, queue %s)", x.Name, x.Queue)
	}
	if err := e.WriteLine(head); err != nil {
		return err
	}
	for _, why := range x.Why {
		if err := e.WriteLine("  - " + why); err != nil {
			return err
		}
	}
	return nil
}

func waitCommand(e *cluster.Env) *urfave.Command {
	var timeout time.Duration
	return &urfave.Command{
		Name: "wait", Usage: "wait until a task is done and print its result", ArgsUsage: "ID",
		Description: "It fails when the task is dead or cancelled, or has been forgotten.",
		Flags: e.ClientFlags(
			&urfave.DurationFlag{Name: "timeout", Destination: &timeout, Usage: "how long to wait (`TIME`)", DefaultText: "no limit"},
		),
		ArgValidator: config.Arguments(1, 1, "ID"),
		Action: e.Action(func(ctx context.Context, e *cluster.Env, args []string) error {
			if timeout < 0 {
				return config.Usagef("--timeout: %s is negative", timeout)
			}
			return withTasks(ctx, e, func(c *cluster.Client, _ *tasks.Inspector) error {
				err := await(ctx, e, c.Tasks, tasks.Receipt{ID: args[0]}, timeout)
				if errors.Is(err, tasks.ErrNotFound) { // its text is for programs
					return fmt.Errorf("%w: %s", tasks.ErrNotFound, args[0])
				}
				return err
			})
		}),
	}
}
