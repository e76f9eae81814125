package cachecmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/supervisor/cli/files"
)

func exportCommand(e *cluster.Env) *urfave.Command {
	match := "*"
	return &urfave.Command{
		Name: "export", Usage: "write entries and lists to a file", ArgsUsage: "[FILE]",
		Description: "A JSON object on each line, with its times. Without FILE, or with -, it goes to standard output. A FILE\n" +
			"that is there is replaced when everything is written.",
		Flags: flags(e, &urfave.StringFlag{
			Name: "match", Destination: &match, Value: "*", Usage: "only keys that match the pattern `GLOB`", HideDefault: true,
		}),
		ArgValidator: config.Arguments(0, 1, "[FILE]"),
		Action:       e.Action(func(ctx context.Context, e *cluster.Env, args []string) error { return exportTo(ctx, e, match, args) }),
	}
}

func importCommand(e *cluster.Env) *urfave.Command {
	keepExisting := false
	return &urfave.Command{
		Name: "import", Usage: "read what export wrote", ArgsUsage: "FILE",
		Description: "Entries end when they would have; what is over by now, or locked by somebody, is skipped. - reads standard input.",
		Flags: flags(e, &urfave.BoolFlag{
			Name: "keep-existing", Destination: &keepExisting, Usage: "leave entries and lists alone that are there", HideDefault: true,
		}),
		ArgValidator: config.Arguments(1, 1, "FILE"),
		Action: e.Action(func(ctx context.Context, e *cluster.Env, args []string) error {
			return importFrom(ctx, e, keepExisting, args[0])
		}),
	}
}

func exportTo(ctx context.Context, e *cluster.Env, glob string, args []string) error {
	return withCache(ctx, e, glob, func(_ *cluster.Client, c *cache.Cache) error {
		var done cache.Progress
		return files.Export{
			Write: func(w io.Writer, m *cluster.Meter) (err error) {
				done, err = c.Export(ctx, w, glob, cache.ExportOptions{Report: shown(m, "exported")})
				return err
			},
			Written: func() string { return link.Count(done.Entries, "entry was", "entries were") },
			Result:  func(file string) error { return writeProgress(e, "exported", file, done) },
			Note: func() {
				if done.Skipped > 0 {
					e.Notef("skipped: %d that no node of this cache wrote", done.Skipped)
				}
			},
		}.Run(ctx, e, args)
	})
}

func importFrom(ctx context.Context, e *cluster.Env, keepExisting bool, file string) error {
	in, err := files.Open(ctx, e, file)
	if err != nil {
		return err
	}
	defer in.Close()
	return withCache(ctx, e, file, func(_ *cluster.Client, c *cache.Cache) error {
		m := e.Meter()
		done, err := c.Import(ctx, in, cache.ImportOptions{KeepExisting: keepExisting, Report: shown(m, "imported")})
		m.End()
		before := link.Count(done.Entries, "entry was imported", "entries were imported")
		if errors.Is(err, cache.ErrInvalid) {
			line := strings.TrimPrefix(err.Error(), "cache: import: ")
			line = strings.Replace(line, ": "+cache.ErrInvalid.Error()+": ", ": ", 1)
			return config.As(err, fmt.Errorf("%s is not what \"%s cache export\" writes: %s; %s before",
				files.NameOf(file), e.Program, line, before))
		}
		if err != nil {
			return fmt.Errorf("%s: %w: %s before; it can be repeated", files.NameOf(file), cluster.Cause(ctx, err), before)
		}
		return writeProgress(e, "imported", file, done)
	})
}

// writeProgress writes the totals of an export or import.
func writeProgress(e *cluster.Env, verb, file string, done cache.Progress) error {
	return e.WriteResult(map[string]any{"file": file, "entries": done.Entries, "skipped": done.Skipped, "bytes": done.Bytes},
		fmt.Sprintf("%s: %s", progressText(verb, done), file))
}

func progressText(verb string, p cache.Progress) string {
	return fmt.Sprintf("%s %s, skipped %d, %s", verb, link.Count(p.Entries, "entry"), p.Skipped, link.Count(p.Bytes, "byte"))
}

// shown returns what shows the progress of an export, import or clear on a meter.
func shown(m *cluster.Meter, verb string) func(cache.Progress) {
	return func(p cache.Progress) { m.Show(func() string { return progressText(verb, p) }) }
}
