package taskscmd

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/worker/tasks"
)

// enqueueFlags holds the flags that only the command enqueue has.
type enqueueFlags struct {
	in      time.Duration
	at      string
	queue   string
	group   string
	id      string
	wait    bool
	timeout time.Duration

	priority, deadline              string
	unique                          string
	uniqueFor                       time.Duration
	after                           []string
	meta                            config.MetaFlag
	maxAttempts                     int
	runTimeout, backoff, maxBackoff time.Duration
	retention                       time.Duration
	result, anyName                 bool
}

func enqueueCommand(e *cluster.Env) *urfave.Command {
	f := &enqueueFlags{}
	return &urfave.Command{
		Name: "enqueue", Usage: "give the cluster a task", ArgsUsage: "TASK [PAYLOAD-JSON]",
		Description: "The payload is any JSON value, null without one; - reads it from standard input.\n\n" +
			"   $0 enqueue echo '{\"hello\": \"world\"}' --wait\n" +
			"   $0 enqueue echo '\"later\"' --in 10s --id my-task\n" +
			"   $0 enqueue echo '\"then\"' --after my-task --priority high",
		Flags: e.ClientFlags(append(f.treatment(),
			&urfave.DurationFlag{Name: "in", Destination: &f.in, Usage: "run it after that `TIME`, such as 10s", HideDefault: true},
			&urfave.StringFlag{Name: "at", Destination: &f.at, Usage: "run it at that `TIME`, such as 2027-01-31T08:00:00Z"},
			&urfave.StringFlag{Name: queueWord, Destination: &f.queue, Usage: "`QUEUE` instead of the task's own"},
			&urfave.StringFlag{
				Name: groupWord, Destination: &f.group, Usage: "`GROUP` within its queue, such as a tenant: its tasks begin in their order",
			},
			&urfave.StringFlag{
				Name: "id", Destination: &f.id,
				Usage: "`ID` of the task: not accepted again while it is stored, nor within 24 h after it is done",
			},
			&urfave.BoolFlag{
				Name: "any-name", Destination: &f.anyName, HideDefault: true, Usage: "store it although no program has defined such a task",
			},
			&urfave.BoolFlag{Name: "wait", Destination: &f.wait, Usage: "wait until it is done and print its result", HideDefault: true},
			&urfave.DurationFlag{
				Name: "timeout", Destination: &f.timeout, Usage: "how long to wait with --wait (`TIME`)", DefaultText: "no limit",
			},
		)...),
		ArgValidator: config.Arguments(1, 2, "TASK [PAYLOAD-JSON]"),
		Action:       e.Action(f.enqueue),
	}
}

// treatment returns the flags for the options of the task itself, such as its priority,
// deadline and retries. Some override the task's definition.
func (f *enqueueFlags) treatment() []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringFlag{Name: priorityWord, Destination: &f.priority, Usage: "`PRIORITY` within its queue: high, normal or low"},
		&urfave.StringFlag{
			Name: "deadline", Destination: &f.deadline,
			Usage: "`TIME` such as " + config.ExampleTime + ", or from now, such as 90m: not begun by then, it is dead",
		},
		&urfave.StringFlag{
			Name: "unique", Destination: &f.unique, Usage: "`KEY` that only one stored task has at a time: another is not accepted",
		},
		&urfave.DurationFlag{
			Name: "unique-for", Destination: &f.uniqueFor, Usage: "how long the key is taken, whatever becomes of the task (`TIME`)",
			DefaultText: "until the task has ended",
		},
		&urfave.StringSliceFlag{
			Name: "after", Destination: &f.after, Config: urfave.StringConfig{TrimSpace: true},
			Usage: "`ID` of a task that must be done before; may be repeated",
		},
		&urfave.GenericFlag{
			Name: "meta", Value: &f.meta, Usage: "what is kept beside the payload, as `KEY=VALUE`; may be repeated", HideDefault: true,
		},
		&urfave.IntFlag{
			Name: "max-attempts", Config: config.Decimal(), Destination: &f.maxAttempts,
			Usage: "how often it may fail before it is dead (`N`)", DefaultText: definitions,
		},
		&urfave.DurationFlag{
			Name: "run-timeout", Destination: &f.runTimeout, Usage: "how long a run may take (`TIME`)", DefaultText: definitions,
		},
		&urfave.DurationFlag{
			Name: "backoff", Destination: &f.backoff, DefaultText: definitions,
			Usage: "the pause after its first failure, doubled with each other (`TIME`)",
		},
		&urfave.DurationFlag{
			Name: "max-backoff", Destination: &f.maxBackoff, Usage: "the longest of these pauses (`TIME`)", DefaultText: definitions,
		},
		&urfave.DurationFlag{
			Name: "retention", Destination: &f.retention, DefaultText: definitions,
			Usage: "how long it and its result are remembered when it is done (`TIME`)",
		},
		&urfave.BoolFlag{
			Name: "result", Destination: &f.result, HideDefault: true,
			Usage: "keep its result for " + tasks.DefaultRetention.String() + " where nothing says for how long",
		},
	}
}

// priorities are the values of the flag --priority.
var priorities = []string{tasks.High.String(), tasks.Normal.String(), tasks.Low.String()}

// definitions is the help text's default for options that the task's definition sets.
const definitions = "the task's definition"

// options returns the task's options as far as the flags determine them, and the
// deadline, which depends on Redis's clock.
func (f *enqueueFlags) options(given func(flag string) bool) (tasks.Options, config.Instant, error) {
	o := tasks.Options{
		In: f.in, Queue: f.queue, Group: f.group, ID: f.id, Unique: f.unique, UniqueFor: f.uniqueFor, After: f.after, MaxAttempts: f.maxAttempts,
		Timeout: f.runTimeout, Backoff: f.backoff, MaxBackoff: f.maxBackoff, Retention: f.retention,
		WantResult: f.result, Await: f.wait, AnyName: f.anyName,
	}
	if err := f.check(given); err != nil {
		return o, config.Instant{}, err
	}
	var err error
	if o.Meta, err = f.meta.Meta(); err != nil {
		return o, config.Instant{}, err
	}
	if err = o.Priority.UnmarshalText([]byte(f.priority)); err != nil {
		return o, config.Instant{}, config.Usagef("--priority %.40q: %s", f.priority, config.Choose(f.priority, priorities))
	}
	if f.at != "" {
		if o.At, err = config.ParseTime("at", f.at); err != nil {
			return o, config.Instant{}, err
		}
	}
	deadline, err := config.ParseInstant("deadline", f.deadline, false)
	return o, deadline, err
}

// check returns an error if the flags have invalid or contradictory values.
func (f *enqueueFlags) check(given func(flag string) bool) error {
	if err := cmp.Or(f.checkTexts(given), f.checkDurations(given)); err != nil {
		return err
	}
	switch {
	case f.in > 0 && f.at != "":
		return config.Usagef("use --in or --at, not both")
	case f.timeout > 0 && !f.wait:
		return config.Usagef("--timeout bounds --wait: use that as well, or --run-timeout for the handler")
	case f.maxAttempts < 0 || f.maxAttempts == 0 && given("max-attempts"):
		return config.Usagef("--max-attempts: %d is not 1 or more", f.maxAttempts)
	case f.uniqueFor > 0 && f.unique == "":
		return config.Usagef("--unique-for: say the key as well, with --unique")
	}
	return nil
}

// checkTexts returns an error for a text that is empty, such as a shell's variable that is
// not set, or that is no name where one is needed.
func (f *enqueueFlags) checkTexts(given func(flag string) bool) error {
	for _, t := range []struct {
		flag, value string
		isName      bool
	}{
		{"id", f.id, true}, {queueWord, f.queue, true}, {"unique", f.unique, false}, {groupWord, f.group, false},
		{priorityWord, f.priority, false}, {"at", f.at, false}, {"deadline", f.deadline, false},
	} {
		switch {
		case t.value == "" && given(t.flag):
			return config.Usagef("--%s: it is empty: give a value, or leave the flag out", t.flag)
		case t.value != "" && t.isName && !link.ValidName(t.value):
			return config.Usagef("--%s: %q: %w", t.flag, t.value, link.ErrName)
		}
	}
	for _, id := range f.after {
		if !link.ValidName(id) {
			return config.Usagef("--after: %q: %w", id, link.ErrName)
		}
	}
	return nil
}

// checkDurations returns an error for a duration that is negative, or 0 where that would
// mean unset.
func (f *enqueueFlags) checkDurations(given func(flag string) bool) error {
	for _, d := range []struct {
		flag  string
		value time.Duration
	}{
		{"in", f.in}, {"timeout", f.timeout}, {"unique-for", f.uniqueFor}, {"run-timeout", f.runTimeout},
		{"backoff", f.backoff}, {"max-backoff", f.maxBackoff}, {"retention", f.retention},
	} {
		if d.value < 0 {
			return config.Usagef("--%s: %s is negative", d.flag, d.value)
		}
		if d.value == 0 && d.flag != "in" && given(d.flag) {
			return config.Usagef("--%s: 0 is too short: use at least 1ms, or leave the flag out", d.flag)
		}
	}
	return nil
}

func (f *enqueueFlags) enqueue(ctx context.Context, e *cluster.Env, args []string) error {
	options, deadline, err := f.options(e.Given)
	if err != nil {
		return err
	}
	name, payload := args[0], json.RawMessage("null")
	if !link.ValidName(name) {
		return config.Usagef("task %q: %w", name, link.ErrName)
	}
	if len(args) == 2 {
		if payload, err = e.Argument(ctx, args[1], "PAYLOAD-JSON", `'{"to": "ada"}', '"text"' or 42`); err != nil {
			return err
		}
	}
	c, err := e.Connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	note, err := note(ctx, c, name, f.queue)
	if err != nil {
		return err
	}
	if deadline != (config.Instant{}) {
		now, err := c.Time(ctx)
		if err != nil {
			return err
		}
		if options.Deadline = deadline.On(now); !options.Deadline.After(begin(options, now)) {
			return config.Usagef("--deadline: %s is over before the task can begin, at %s on Redis's clock: it would be dead at once",
				options.Deadline.UTC().Format(time.RFC3339), begin(options, now).UTC().Format(time.RFC3339))
		}
	}
	receipt, err := c.Tasks.EnqueueWith(ctx, name, payload, options)
	if errors.Is(err, tasks.ErrUndefined) {
		return undefined(ctx, c, name)
	}
	if err != nil {
		return err
	}
	if note != "" {
		e.Notef("%s", note)
	}
	if f.wait {
		return await(ctx, e, c.Tasks, receipt, f.timeout)
	}
	return e.WriteResult(receiptMembers(receipt), receiptText(name, receipt, receipt.ID != f.id))
}

// begin returns when a task with these options can begin at the earliest.
func begin(o tasks.Options, now time.Time) time.Time {
	if o.At.After(now) {
		return o.At
	}
	return now.Add(o.In)
}

// receiptText says what came of an enqueue. other means that the task is a duplicate because
// another task holds the same unique key.
func receiptText(name string, r tasks.Receipt, other bool) string {
	text := "enqueued"
	switch {
	case r.Duplicate && other:
		text = "not enqueued, this one has the unique key:"
	case r.Duplicate:
		text = "not enqueued again, the id was accepted before:"
	}
	return fmt.Sprintf("%s %s %s", text, name, r.ID)
}

// receiptMembers are those of the JSON output that tell what came of an enqueue.
func receiptMembers(r tasks.Receipt) map[string]any {
	return map[string]any{"id": r.ID, "duplicate": r.Duplicate}
}

// await waits until the task is done and writes its result.
func await(ctx context.Context, e *cluster.Env, queue *tasks.Client, r tasks.Receipt, timeout time.Duration) error {
	waiting := ctx
	if timeout > 0 {
		var cancel context.CancelFunc
		waiting, cancel = context.WithTimeoutCause(ctx, timeout, fmt.Errorf("not done after %s", timeout))
		defer cancel()
	}
	result, err := queue.Wait(waiting, r.ID)
	if err != nil {
		return cluster.Interrupted(waiting, err, "task %s goes on without this command: \"%s tasks wait %[1]s\" waits for it again",
			r.ID, e.Program)
	}
	return e.WriteValue(result)
}

// note returns what to say of a task that waits because no node is live, none serves its queue, or
// no program has defined it; otherwise "". An empty queue stands for that of the task's definition.
func note(ctx context.Context, c *cluster.Client, name, queue string) (string, error) {
	live, err := c.Live(ctx)
	if err != nil {
		return "", err
	}
	if len(live) == 0 {
		return "no node is live: the task waits until one that handles it starts", nil
	}
	all, err := c.Inspector.Definitions(ctx)
	if err != nil {
		return "", err
	}
	at := slices.IndexFunc(all, func(d tasks.Known) bool { return d.Name == name })
	if queue == "" {
		if queue = tasks.DefaultQueue; at >= 0 {
			queue = cmp.Or(all[at].Queue, queue)
		}
	}
	served, err := c.Inspector.Serves(ctx, queue)
	switch {
	case err != nil || served && at >= 0:
		return "", err
	case served:
		text := "no program has defined the task %s%s: it waits until a node that handles it starts"
		return fmt.Sprintf(text, name, meant(name, namesOf(all))), nil
	}
	known, err := c.Queues(ctx)
	if err != nil {
		return "", err
	}
	known = slices.DeleteFunc(known, func(k string) bool { return k == queue })
	return fmt.Sprintf("no live node serves the queue %s%s: the task waits until one does", queue, meant(queue, known)), nil
}

// definedNames returns the names of the tasks that programs have defined.
func definedNames(ctx context.Context, c *cluster.Client) ([]string, error) {
	all, err := c.Inspector.Definitions(ctx)
	return namesOf(all), err
}

func namesOf(all []tasks.Known) []string {
	names := make([]string, len(all))
	for i, d := range all {
		names[i] = d.Name
	}
	return names
}

// undefined returns the error for a task that no program has defined, with the names of
// those that are defined.
func undefined(ctx context.Context, c *cluster.Client, name string) error {
	names, err := definedNames(ctx, c)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return config.Usagef("unknown task %s: no program has defined any task; start its nodes first, or use --any-name", name)
	}
	return config.Usagef("unknown task %s%s: programs have defined %s; --any-name stores it anyway",
		name, meant(name, names), strings.Join(names, ", "))
}
