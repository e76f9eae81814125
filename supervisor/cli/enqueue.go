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

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// waitRetention is how long the result of a task is kept that somebody waits
// for, when its definition does not keep it.
const waitRetention = 10 * time.Minute

// enqueueFlags are the flags of "enqueue" alone.
type enqueueFlags struct {
	in      time.Duration
	at      string
	queue   string
	id      string
	wait    bool
	timeout time.Duration
}

func (p *program) enqueueCommand() *urfave.Command {
	f := &enqueueFlags{}
	return &urfave.Command{
		Name: "enqueue", Usage: "give the cluster a task", ArgsUsage: "TASK [PAYLOAD-JSON]",
		Description: "The payload is any JSON value, null without one; - reads it from standard input.\n\n" +
			"   stellar enqueue echo '{\"hello\": \"world\"}' --wait\n" +
			"   stellar enqueue echo '\"later\"' --in 10s --id my-task",
		Flags: p.commandFlags(
			&urfave.DurationFlag{Name: "in", Destination: &f.in, Usage: "run it after that `TIME`, such as 10s", HideDefault: true},
			&urfave.StringFlag{Name: "at", Destination: &f.at, Usage: "run it at that `TIME`, such as 2027-01-31T08:00:00Z"},
			&urfave.StringFlag{Name: "queue", Destination: &f.queue, Usage: "`QUEUE` instead of the task's own"},
			&urfave.StringFlag{Name: "id", Destination: &f.id, Usage: "`ID` of the task: the same id is not accepted twice within a day"},
			&urfave.BoolFlag{Name: "wait", Destination: &f.wait, Usage: "wait until it is done and print its result", HideDefault: true},
			&urfave.DurationFlag{Name: "timeout", Destination: &f.timeout, Usage: "how long to wait with --wait (`TIME`)", DefaultText: "no limit"},
		),
		ArgValidator: arguments(1, 2, "TASK [PAYLOAD-JSON]"),
		Action:       p.action(func(ctx context.Context, args []string) error { return p.enqueue(ctx, f, args) }),
	}
}

// options are the task's, without what only the nodes know.
func (f *enqueueFlags) options() (tasks.Options, error) {
	o := tasks.Options{In: f.in, Queue: f.queue, ID: f.id}
	switch {
	case f.in < 0:
		return o, usagef("--in: %s is negative", f.in)
	case f.timeout < 0:
		return o, usagef("--timeout: %s is negative", f.timeout)
	case f.in > 0 && f.at != "":
		return o, usagef("use --in or --at, not both")
	case f.queue != "" && !redisbus.ValidName(f.queue):
		return o, usagef("--queue: "+names, f.queue)
	case f.id != "" && !redisbus.ValidName(f.id):
		return o, usagef("--id: "+names, f.id)
	case f.at == "":
		return o, nil
	}
	at, err := time.Parse(time.RFC3339, f.at)
	if err != nil {
		return o, usagef("--at: %q is not a time such as 2027-01-31T08:00:00Z or 2027-01-31T08:00:00+01:00", f.at)
	}
	o.At = at
	return o, nil
}

func (p *program) enqueue(ctx context.Context, f *enqueueFlags, args []string) error {
	options, err := f.options()
	if err != nil {
		return err
	}
	name, payload := args[0], json.RawMessage("null")
	if !redisbus.ValidName(name) {
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
	if f.wait && info.Retention == 0 {
		options.Retention = waitRetention
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
	return p.writeReceipt(name, receipt)
}

func (p *program) writeReceipt(name string, r tasks.Receipt) error {
	if p.asJSON() {
		return p.writeJSON(map[string]any{"id": r.ID, "duplicate": r.Duplicate})
	}
	text := "enqueued"
	if r.Duplicate {
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
func (c *client) lookUp(ctx context.Context, name string) (info worker.TaskInfo, note string, err error) {
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
	handled := map[string]worker.TaskInfo{}
	answered := 0
	for _, v := range verdicts {
		var list []worker.TaskInfo
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
