package taskscmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/supervisor/cli/files"
	"github.com/stellarfw/stellar/worker/tasks"
)

func exportCommand(e *cluster.Env) *urfave.Command {
	f := &filterFlags{
		possible: []tasks.State{tasks.Pending, tasks.Parked, tasks.Delayed, tasks.Blocked, tasks.Dead, tasks.Cancelled},
		usual:    []tasks.State{tasks.Pending, tasks.Parked, tasks.Delayed, tasks.Blocked},
	}
	return &urfave.Command{
		Name: "export", Usage: "write waiting tasks to a file", ArgsUsage: "[FILE]",
		Description: "A JSON object on each line, as the task was enqueued. Without FILE, or with -, it goes to standard output.\n" +
			"A FILE that is there is replaced when everything is written. Pause the queues before: tasks that move may be missing.\n\n" +
			"   $0 tasks export mails.jsonl --queue mails\n" +
			"   $0 tasks import mails.jsonl",
		Flags:        e.ClientFlags(f.flags(0, "all")...),
		ArgValidator: config.Arguments(0, 1, "[FILE]"),
		Action: e.Action(func(ctx context.Context, e *cluster.Env, args []string) error {
			if err := f.check(e); err != nil {
				return err
			}
			return exportTasks(ctx, e, f, args)
		}),
	}
}

func exportTasks(ctx context.Context, e *cluster.Env, f *filterFlags, args []string) error {
	return withTasks(ctx, e, func(c *cluster.Client, i *tasks.Inspector) error {
		filter, _, err := f.filter(ctx, e, c)
		if err != nil {
			return err
		}
		var done tasks.Transfer
		return files.Export{
			Write: func(w io.Writer, m *cluster.Meter) (err error) {
				done, err = i.Export(ctx, w, filter, tasks.TransferOptions{Report: shown(m, "exported")})
				return err
			},
			Written: func() string { return link.Count(done.Tasks, "task was", "tasks were") },
			Result:  func(file string) error { return writeTransfer(e, "exported", file, done) },
			Note: func() {
				if done.Skipped > 0 {
					e.Notef("skipped: %s whose payload cannot be read", link.Count(done.Skipped, "task"))
				}
			},
		}.Run(ctx, e, args)
	})
}

func importCommand(e *cluster.Env) *urfave.Command {
	return &urfave.Command{
		Name: "import", Usage: "enqueue what export wrote", ArgsUsage: "FILE",
		Description: "A task whose id or unique key is taken is left out, so that it can be repeated. - reads standard input.",
		Flags:       e.ClientFlags(), ArgValidator: config.Arguments(1, 1, "FILE"),
		Action: e.Action(func(ctx context.Context, e *cluster.Env, args []string) error {
			in, err := files.Open(ctx, e, args[0])
			if err != nil {
				return err
			}
			defer in.Close()
			return withTasks(ctx, e, func(c *cluster.Client, _ *tasks.Inspector) error { return importTasks(ctx, e, c, args[0], in) })
		}),
	}
}

func importTasks(ctx context.Context, e *cluster.Env, c *cluster.Client, file string, in io.Reader) error {
	m := e.Meter()
	done, err := c.Tasks.Import(ctx, in, tasks.TransferOptions{Report: shown(m, "imported")})
	m.End()
	before := link.Count(done.Tasks, "task was imported", "tasks were imported")
	if errors.Is(err, tasks.ErrInvalid) {
		line := strings.TrimPrefix(err.Error(), "import tasks: ")
		line = strings.Replace(line, ": "+tasks.ErrInvalid.Error()+": ", ": ", 1)
		return config.As(err, fmt.Errorf("%s is not what \"%s tasks export\" writes: %s; %s before", files.NameOf(file), e.Program, line, before))
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %s before; it can be repeated", files.NameOf(file), cluster.Cause(ctx, err), before)
	}
	return writeTransfer(e, "imported", file, done)
}

// writeTransfer writes the totals of an export or import.
func writeTransfer(e *cluster.Env, verb, file string, t tasks.Transfer) error {
	return e.WriteResult(map[string]any{"file": file, "tasks": t.Tasks, "existing": t.Existing, "skipped": t.Skipped, "bytes": t.Bytes},
		fmt.Sprintf("%s: %s", transferText(verb, t), file))
}

func transferText(verb string, t tasks.Transfer) string {
	text := fmt.Sprintf("%s %s", verb, link.Count(t.Tasks, "task"))
	if t.Existing > 0 {
		text += fmt.Sprintf(", %d there already", t.Existing)
	}
	if t.Skipped > 0 {
		text += fmt.Sprintf(", skipped %d whose payload cannot be read", t.Skipped)
	}
	return text + ", " + link.Count(t.Bytes, "byte")
}

// shown returns what shows the progress of an export or import on a meter.
func shown(m *cluster.Meter, verb string) func(tasks.Transfer) {
	return func(t tasks.Transfer) { m.Show(func() string { return transferText(verb, t) }) }
}
