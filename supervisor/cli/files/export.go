package files

import (
	"context"
	"io"

	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/terminal"
)

// Export is what a command writes to a file, or to standard output.
type Export struct {
	// Write writes it and shows how far it is.
	Write func(w io.Writer, m *cluster.Meter) error
	// Written says what was written until then, for the error of an export that ended early.
	Written func() string
	// Result writes the totals of what is in a file.
	Result func(file string) error
	// Note says on the terminal what the output leaves out, or nothing.
	Note func()
}

// Run exports to the file that the arguments of a command name, or without one, or with -, to
// standard output.
func (x Export) Run(ctx context.Context, e *cluster.Env, args []string) error {
	file := ""
	if len(args) == 1 && args[0] != "-" {
		file = args[0]
	}
	// If the data goes to the terminal, the progress must not mix with it.
	m := e.Meter()
	m.Silent = m.Silent || file == "" && terminal.Is(e.Stdout)
	write := func(w io.Writer) error {
		defer m.End()
		return x.Write(w, m)
	}
	if file != "" {
		if err := Replace(ctx, file, write); err != nil {
			return cluster.Interrupted(ctx, err, "%s is as it was: %s written before", file, x.Written())
		}
		return x.Result(file)
	}
	if err := write(e.JSONWriter()); err != nil {
		return cluster.Interrupted(ctx, err, "%s written before", x.Written())
	}
	x.Note()
	return nil
}
