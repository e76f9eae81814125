package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/cache"
)

func (p *program) exportCommand(f *cacheFlags) *urfave.Command {
	return &urfave.Command{
		Name: "export", Usage: "write entries and lists to a file", ArgsUsage: "[FILE]",
		Description: "A JSON object on each line, with its times. Without FILE, or with -, it goes to standard output. A FILE\n" +
			"that is there is replaced when everything is written.",
		Flags: p.onCache(&urfave.StringFlag{
			Name: "match", Destination: &f.match, Value: "*", Usage: "only keys that match the pattern `GLOB`", HideDefault: true,
		}),
		ArgValidator: arguments(0, 1, "[FILE]"),
		Action:       p.action(func(ctx context.Context, args []string) error { return p.cacheExport(ctx, f.match, args) }),
	}
}

func (p *program) importCommand(f *cacheFlags) *urfave.Command {
	return &urfave.Command{
		Name: "import", Usage: "read what export wrote", ArgsUsage: "FILE",
		Description: "Entries end when they would have; what is over by now, or locked by somebody, is skipped. - reads standard input.",
		Flags: p.onCache(&urfave.BoolFlag{
			Name: "keep-existing", Destination: &f.keepExisting, Usage: "leave entries and lists alone that are there", HideDefault: true,
		}),
		ArgValidator: arguments(1, 1, "FILE"),
		Action:       p.action(func(ctx context.Context, args []string) error { return p.cacheImport(ctx, f.keepExisting, args[0]) }),
	}
}

func (p *program) cacheExport(ctx context.Context, glob string, args []string) error {
	file := ""
	if len(args) == 1 && args[0] != "-" {
		file = args[0]
	}
	return p.withCache(ctx, glob, func(_ *client, c *cache.Cache) error {
		var done cache.Progress
		// On one terminal the progress would stand in the data.
		m := &meter{out: p.Stderr, verb: "exported", silent: !isTerminal(p.Stderr) || file == "" && isTerminal(p.Stdout)}
		write := func(w io.Writer) error {
			defer m.end()
			return c.Export(ctx, w, glob, func(now cache.Progress) { done = now; m.report(now) })
		}
		if file != "" {
			if err := replaceFile(file, write); err != nil {
				return err
			}
			return p.writeProgress("exported", file, done)
		}
		if err := write(p.Stdout); err != nil {
			return err
		}
		if done.Skipped > 0 {
			_, _ = fmt.Fprintf(p.Stderr, "skipped: %d that no node of this cache wrote\n", done.Skipped)
		}
		return nil
	})
}

func (p *program) cacheImport(ctx context.Context, keepExisting bool, file string) error {
	var in io.Reader
	if file == "-" {
		in = p.stdin()
	} else {
		f, err := os.Open(file)
		if err != nil {
			return usagef("%s: %w", file, withoutPath(err))
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil && info.IsDir() {
			return usagef("%s: it is a directory", file)
		}
		in = f
	}
	return p.withCache(ctx, file, func(_ *client, c *cache.Cache) error {
		m := &meter{out: p.Stderr, verb: "imported", silent: !isTerminal(p.Stderr)}
		done, err := c.Import(ctx, in, cache.ImportOptions{KeepExisting: keepExisting, Report: m.report})
		m.end()
		if errors.Is(err, cache.ErrInvalid) {
			return fmt.Errorf("%s: %w: it has to be what \"stellar cache export\" writes; %d were imported before", file, err, done.Entries)
		}
		if err != nil {
			return fmt.Errorf("%s: %w: %d were imported before; it can be repeated", file, err, done.Entries)
		}
		return p.writeProgress("imported", file, done)
	})
}

// writeProgress sums up an export or import.
func (p *program) writeProgress(verb, file string, done cache.Progress) error {
	if p.asJSON() {
		return p.writeJSON(map[string]any{"file": file, "entries": done.Entries, "skipped": done.Skipped, "bytes": done.Bytes})
	}
	return p.writeLine(fmt.Sprintf("%s: %s", progressText(verb, done), file))
}

func progressText(verb string, p cache.Progress) string {
	return fmt.Sprintf("%s %d entries, skipped %d, %d bytes", verb, p.Entries, p.Skipped, p.Bytes)
}

// replaceFile writes a file beside the one of that name and then puts it there:
// what is left unfinished does not cost the last one. Something that is no file,
// such as a pipe, is written to.
func replaceFile(name string, write func(io.Writer) error) error {
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return usagef("%s: %w", name, withoutPath(err))
		}
		return errors.Join(write(f), f.Close())
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*") // for its owner's eyes only
	if err != nil {
		return usagef("%s: %w", name, withoutPath(err))
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// meterInterval is how often people see that it goes on.
const meterInterval = 100 * time.Millisecond

// meter shows on a terminal how far it has come.
type meter struct {
	out    io.Writer
	verb   string
	silent bool
	last   time.Time
}

func (m *meter) report(p cache.Progress) {
	if now := time.Now(); !m.silent && now.Sub(m.last) >= meterInterval {
		m.last = now
		_, _ = fmt.Fprintf(m.out, "\r\x1b[K%s", progressText(m.verb, p))
	}
}

// end takes the line away again.
func (m *meter) end() {
	if !m.last.IsZero() {
		_, _ = fmt.Fprint(m.out, "\r\x1b[K")
	}
}
