package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker/builtin"
	"github.com/stellarfw/stellar/worker/tasks"
)

// enqueueFlags are the flags of "enqueue" alone.
type enqueueFlags struct {
	in      time.Duration
	at      string
	queue   string
	id      string
	wait    bool
	timeout time.Duration

	priority, deadline              string
	unique                          string
	uniqueFor                       time.Duration
	after                           []string
	maxAttempts                     int
	runTimeout, backoff, maxBackoff time.Duration
	retention                       time.Duration
	result                          bool
}

func (p *program) enqueueCommand() *urfave.Command {
	f := &enqueueFlags{}
	return &urfave.Command{
		Name: "enqueue", Usage: "give the cluster a task", ArgsUsage: "TASK [PAYLOAD-JSON]",
		Description: "The payload is any JSON value, null without one; - reads it from standard input.\n\n" +
			"   stellar enqueue echo '{\"hello\": \"world\"}' --wait\n" +
			"   stellar enqueue echo '\"later\"' --in 10s --id my-task\n" +
			"   stellar enqueue echo '\"then\"' --after my-task --priority high",
		Flags: p.commandFlags(append(f.treatment(),
			&urfave.DurationFlag{Name: "in", Destination: &f.in, Usage: "run it after that `TIME`, such as 10s", HideDefault: true},
			&urfave.StringFlag{Name: "at", Destination: &f.at, Usage: "run it at that `TIME`, such as 2027-01-31T08:00:00Z"},
			&urfave.StringFlag{Name: queueWord, Destination: &f.queue, Usage: "`QUEUE` instead of the task's own"},
			&urfave.StringFlag{
				Name: "id", Destination: &f.id,
				Usage: "`ID` of the task: not accepted again while it is stored, nor within 24 h after it is done",
			},
			&urfave.BoolFlag{Name: "wait", Destination: &f.wait, Usage: "wait until it is done and print its result", HideDefault: true},
			&urfave.DurationFlag{
				Name: timeoutFlag, Destination: &f.timeout, Usage: "how long to wait with --wait (`TIME`)", DefaultText: "no limit",
			},
		)...),
		ArgValidator: arguments(1, 2, "TASK [PAYLOAD-JSON]"),
		Action:       p.action(func(ctx context.Context, args []string) error { return p.enqueue(ctx, f, args) }),
	}
}

// treatment are the flags that say how the task is treated.
func (f *enqueueFlags) treatment() []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringFlag{Name: "priority", Destination: &f.priority, Usage: "`PRIORITY` within its queue: high, normal or low"},
		&urfave.StringFlag{
			Name: "deadline", Destination: &f.deadline,
			Usage: "`TIME` such as " + exampleTime + ", or from now, such as 90m: not begun by then, it is dead",
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
		&urfave.IntFlag{
			Name: "max-attempts", Destination: &f.maxAttempts, Usage: "how often it may fail before it is dead, `N`", DefaultText: definitions,
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

// definitions is the default of what the nodes know better.
const definitions = "the task's definition"

// options are the task's, without what only the nodes and Redis know.
func (f *enqueueFlags) options() (tasks.Options, instant, error) {
	o := tasks.Options{
		In: f.in, Queue: f.queue, ID: f.id, Unique: f.unique, UniqueFor: f.uniqueFor, After: f.after, MaxAttempts: f.maxAttempts,
		Timeout: f.runTimeout, Backoff: f.backoff, MaxBackoff: f.maxBackoff, Retention: f.retention,
	}
	if err := f.check(); err != nil {
		return o, instant{}, err
	}
	var err error
	if err = o.Priority.UnmarshalText([]byte(f.priority)); err != nil {
		return o, instant{}, usagef("--%w", err)
	}
	if f.at != "" {
		if o.At, err = parseTime("at", f.at); err != nil {
			return o, instant{}, err
		}
	}
	deadline, err := parseInstant("deadline", f.deadline, false)
	return o, deadline, err
}

// check reports what is wrong with the flags' values.
func (f *enqueueFlags) check() error {
	for _, d := range []struct {
		flag  string
		value time.Duration
	}{
		{"in", f.in}, {timeoutFlag, f.timeout}, {"unique-for", f.uniqueFor}, {"run-timeout", f.runTimeout},
		{"backoff", f.backoff}, {"max-backoff", f.maxBackoff}, {"retention", f.retention},
	} {
		if d.value < 0 {
			return usagef("--%s: %s is negative", d.flag, d.value)
		}
	}
	for _, id := range f.after {
		if !link.ValidName(id) {
			return usagef("--after: "+names, id)
		}
	}
	switch {
	case f.in > 0 && f.at != "":
		return usagef("use --in or --at, not both")
	case f.queue != "" && !link.ValidName(f.queue):
		return usagef("--queue: "+names, f.queue)
	case f.id != "" && !link.ValidName(f.id):
		return usagef("--id: "+names, f.id)
	case f.maxAttempts < 0:
		return usagef("--max-attempts: %d is negative", f.maxAttempts)
	case f.uniqueFor > 0 && f.unique == "":
		return usagef("--unique-for: say the key as well, with --unique")
	}
	return nil
}

func (p *program) enqueue(ctx context.Context, f *enqueueFlags, args []string) error {
	options, deadline, err := f.options()
	if err != nil {
		return err
	}
	name, payload := args[0], json.RawMessage("null")
	if !link.ValidName(name) {
		return usagef("task "+names, name)
	}
	if len(args) == 2 {
		if payload, err = p.argument(args[1], "PAYLOAD-JSON", `'{"to": "ada"}', '"text"' or 42`); err != nil {
			return err
		}
	}
	c, err := p.connect(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	info, note, err := c.lookUp(ctx, name)
	if err != nil {
		return err
	}
	if options.Queue == "" {
		options.Queue = info.Queue
	}
	options.WantResult = (f.wait || f.result) && info.Retention == 0 // this side does not know the definition's
	if deadline != (instant{}) {
		now, err := c.redis.Time(ctx).Result()
		if err != nil {
			return link.Explain(err)
		}
		options.Deadline = deadline.on(now)
	}
	queue := c.tasks(ctx)
	defer queue.Close() //nolint:contextcheck // it ends a context of its own
	receipt, err := queue.EnqueueWith(ctx, name, payload, options)
	if err != nil {
		return err
	}
	if note != "" {
		_, _ = fmt.Fprintln(p.Stderr, "stellar: "+note)
	}
	if f.wait {
		return p.await(ctx, queue, receipt, f.timeout)
	}
	return p.writeReceipt(name, receipt, receipt.ID != f.id)
}

// writeReceipt tells what became of an enqueue. other: what made it a duplicate is
// another task's unique key.
func (p *program) writeReceipt(name string, r tasks.Receipt, other bool) error {
	if p.asJSON() {
		return p.writeJSON(map[string]any{"id": r.ID, "duplicate": r.Duplicate})
	}
	text := "enqueued"
	switch {
	case r.Duplicate && other:
		text = "not enqueued, this one has the unique key:"
	case r.Duplicate:
		text = "not enqueued again, the id was accepted before:"
	}
	_, err := fmt.Fprintf(p.Stdout, "%s %s %s\n", text, name, r.ID)
	return err
}

// await prints the result of the task when it is done.
func (p *program) await(ctx context.Context, queue *tasks.Client, r tasks.Receipt, timeout time.Duration) error {
	waiting := ctx
	if timeout > 0 {
		var cancel context.CancelFunc
		waiting, cancel = context.WithTimeoutCause(ctx, timeout, fmt.Errorf("it is not done after %s", timeout))
		defer cancel()
	}
	result, err := queue.Wait(waiting, r.ID)
	if err != nil {
		return err
	}
	return p.writeValue(result)
}

// lookUp asks the live nodes how they treat tasks of that name. Without one that
// could tell, the note says so; when they can and none handles it, that is an error.
func (c *client) lookUp(ctx context.Context, name string) (info builtin.Definition, note string, err error) {
	live, err := c.live(ctx)
	if err != nil {
		return info, "", err
	}
	if len(live) == 0 {
		return info, "no node is live: the task waits until one that handles it starts", nil
	}
	rpc, err := c.dial(ctx)
	if err != nil {
		return info, "", err
	}
	asking, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	verdicts, err := rpc.DoAll(asking, "api.tasks.definitions", nil)
	if err != nil {
		return info, "", err
	}
	handled := map[string]builtin.Definition{}
	answered := 0
	for _, v := range verdicts {
		var list []builtin.Definition
		if v.Err != nil || json.Unmarshal(v.Value, &list) != nil {
			continue
		}
		answered++
		for _, t := range list {
			handled[t.Name] = t
		}
	}
	info, known := handled[name]
	switch {
	case known:
		return info, "", nil
	case answered == 0:
		return info, "no node answered whether it handles this task: it waits until one does", nil
	case len(handled) == 0:
		return info, "", usagef("unknown task %s: the live nodes handle no tasks", name)
	default:
		return info, "", usagef("unknown task %s: the live nodes handle %s", name, strings.Join(slices.Sorted(maps.Keys(handled)), ", "))
	}
}
