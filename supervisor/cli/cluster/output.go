package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/mattn/go-isatty"
	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/supervisor/cli/service"
)

// Env is what every command is made from: the settings, the process's streams and
// the program's name.
type Env struct {
	*config.Settings

	Program        string
	Stdin          io.Reader
	Stdout, Stderr io.Writer

	logTo *service.LogFile // nil for none
}

// Action returns the action of a command: it checks the values of all flags before
// it calls f with the arguments.
func (e *Env) Action(f func(ctx context.Context, e *Env, args []string) error) urfave.ActionFunc {
	return e.Settings.Action(func(ctx context.Context, args []string) error { return f(ctx, e, args) })
}

// maxInput is the size of the largest argument that is read from standard input, in bytes.
const maxInput = 32 << 20

// JSON reports whether the output is JSON, for scripts, and no table.
func (e *Env) JSON() bool { return e.Output == "json" }

// WriteJSON writes a value for scripts.
func (e *Env) WriteJSON(v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(e.Stdout, Printable(string(text)))
	return err
}

// WriteValue writes a JSON value as it came, indented.
func (e *Env) WriteValue(value json.RawMessage) error {
	if len(value) == 0 {
		value = json.RawMessage("null")
	}
	var b bytes.Buffer
	if err := json.Indent(&b, value, "", "  "); err != nil {
		return fmt.Errorf("the answer is no JSON: %w", err)
	}
	_, err := fmt.Fprintln(e.Stdout, Printable(b.String()))
	return err
}

// WriteLine writes a line.
func (e *Env) WriteLine(text string) error {
	_, err := fmt.Fprintln(e.Stdout, Printable(text))
	return err
}

// WriteResult writes what a command did: v for scripts, the text for people.
func (e *Env) WriteResult(v any, text string) error {
	if e.JSON() {
		return e.WriteJSON(v)
	}
	return e.WriteLine(text)
}

// Notef tells people something beside the output, on standard error.
func (e *Env) Notef(format string, args ...any) {
	_, _ = fmt.Fprintf(e.Stderr, "%s: %s\n", e.Program, Printable(fmt.Sprintf(format, args...)))
}

// WriteTable writes rows, the first of which is the header.
func (e *Env) WriteTable(rows [][]string) error {
	w := tabwriter.NewWriter(e.Stdout, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = Printable(strings.NewReplacer("\n", " ", "\t", " ").Replace(cell))
		}
		if _, err := fmt.Fprintln(w, strings.Join(cells, "\t")); err != nil {
			return err
		}
	}
	return w.Flush()
}

// Printable escapes the characters of a text that could control a terminal: it may
// come from another node. The escapes are those of JSON, so that JSON stays the same
// value.
func Printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n' || r == '\t' || unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// Argument returns a JSON argument of a command; "-" reads it from standard input.
// The error names what it is and shows an example.
func (e *Env) Argument(text, what, example string) (json.RawMessage, error) {
	if text == "-" {
		all, err := io.ReadAll(io.LimitReader(e.StdinReader(), maxInput))
		if err != nil {
			return nil, fmt.Errorf("%s: standard input: %w", what, err)
		}
		text = string(all)
	}
	var value json.RawMessage
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		return nil, config.Usagef("%s: %.60q is not JSON: %w; for example %s", what, text, err, example)
	}
	return value, nil
}

// StdinReader returns standard input, and tells people that it is read.
func (e *Env) StdinReader() io.Reader {
	if e.Stdin == nil {
		return strings.NewReader("")
	}
	if IsTerminal(e.Stdin) {
		_, _ = fmt.Fprintln(e.Stderr, "reading JSON from the terminal; end it with Ctrl-D")
	}
	return e.Stdin
}

// IsTerminal reports whether people see what is written.
func IsTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && (isatty.IsTerminal(f.Fd()) || isatty.IsCygwinTerminal(f.Fd()))
}
