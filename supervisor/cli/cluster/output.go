package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync/atomic"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/supervisor/cli/service"
	"github.com/stellarfw/stellar/supervisor/cli/terminal"
)

// Env is the environment that all commands share: the settings, the standard streams
// and the program's name.
type Env struct {
	*config.Settings

	Program        string
	Args           []string // the command line
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	RedisLog       *RedisLog // nil for none
	JSONErrors     bool      // the command line asks for JSON, whether or not its other flags are right

	logTo *service.LogFile // nil for none
	lost  atomic.Int64     // lines of the log that could not be written

	abandon atomic.Pointer[func()] // see AbandonData
}

// Action returns the action of a command. The action checks the values of all flags,
// then calls f with the environment and the arguments.
func (e *Env) Action(f func(ctx context.Context, e *Env, args []string) error) urfave.ActionFunc {
	return e.Settings.Action(func(ctx context.Context, args []string) error { return f(ctx, e, args) })
}

// maxInput is the size of the largest argument that is read from standard input, in bytes.
const maxInput = 32 << 20

// JSON reports whether --output asks for JSON instead of a table.
func (e *Env) JSON() bool { return e.Output == "json" }

// WriteJSON writes v to standard output as indented JSON.
func (e *Env) WriteJSON(v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return e.writeJSON(string(text))
}

func (e *Env) writeJSON(text string) error {
	_, err := fmt.Fprintln(e.Stdout, printableJSON(text))
	return err
}

// WriteStored writes a JSON value to standard output as it is stored.
func (e *Env) WriteStored(value json.RawMessage) error { return e.writeJSON(string(value)) }

// WriteValue indents a JSON value and writes it to standard output. It writes an empty
// value as null.
func (e *Env) WriteValue(value json.RawMessage) error {
	if len(value) == 0 {
		value = json.RawMessage("null")
	}
	var b bytes.Buffer
	if err := json.Indent(&b, value, "", "  "); err != nil {
		return fmt.Errorf("the answer is no JSON: %w", err)
	}
	return e.writeJSON(b.String())
}

// WriteLine writes each text on a line of its own to standard output.
func (e *Env) WriteLine(texts ...string) error {
	for _, text := range texts {
		if _, err := fmt.Fprintln(e.Stdout, Printable(text)); err != nil {
			return err
		}
	}
	return nil
}

// WriteResult writes the result of a command: v if the output is JSON, otherwise the
// text.
func (e *Env) WriteResult(v any, text string) error {
	if e.JSON() {
		return e.WriteJSON(v)
	}
	return e.WriteLine(text)
}

// Notef writes a line to standard error, so that it does not mix with the output. If the
// output is JSON, it is an object with the member note.
func (e *Env) Notef(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if e.JSON() || e.JSONErrors {
		e.complain(struct {
			Note string `json:"note"`
		}{text})
		return
	}
	_, _ = fmt.Fprintf(e.Stderr, "%s: %s\n", e.Program, Printable(text))
}

// WriteError writes the lines of an error, with which the program ends, to standard error.
// If the output is JSON, it is an object on one line.
func (e *Env) WriteError(err error, exitCode int) {
	if e.JSON() || e.JSONErrors {
		e.complain(struct {
			Error    string `json:"error"`
			ExitCode int    `json:"exitCode"`
		}{strings.Join(PrintableError(err), "\n"), exitCode})
		return
	}
	for i, line := range PrintableError(err) {
		if i == 0 {
			line = e.Program + ": " + line
		}
		_, _ = fmt.Fprintln(e.Stderr, line)
	}
}

// complain writes a JSON object to standard error, on one line.
func (e *Env) complain(v any) {
	text, err := json.Marshal(v)
	if err == nil {
		_, _ = fmt.Fprintln(e.Stderr, printableJSON(string(text)))
	}
}

// WriteTable writes rows to standard output as an aligned table that fits into the width of
// the terminal, or that of COLUMNS. The first row is the header.
func (e *Env) WriteTable(rows [][]string) error {
	printable := make([][]string, len(rows))
	for i, row := range rows {
		for _, cell := range row {
			printable[i] = append(printable[i], Printable(cell))
		}
	}
	for _, line := range terminal.Table(printable, terminal.Width(e.Env, e.Stdout)) {
		if _, err := fmt.Fprintln(e.Stdout, line); err != nil {
			return err
		}
	}
	return nil
}

// Argument returns a JSON argument of a command. The text "-" reads the argument from
// standard input. If the argument is not JSON, the error is a [config.ErrUsage] that
// calls it by the name what and shows the example.
func (e *Env) Argument(ctx context.Context, text, what, example string) (json.RawMessage, error) {
	if text == "-" {
		in := e.StdinReader(ctx)
		defer in.Close()
		all, err := io.ReadAll(io.LimitReader(in, maxInput))
		if err != nil {
			return nil, fmt.Errorf("%s: standard input: %w", what, err)
		}
		text = string(all)
	}
	var value json.RawMessage
	switch err := json.Unmarshal([]byte(text), &value); {
	case err == nil:
		return value, nil
	case isWord.MatchString(text):
		return nil, config.Usagef("%s: %q is not JSON: write '\"%s\"' for a text; for example %s", what, text, text, example)
	default:
		return nil, config.Usagef("%s: %.60q is not JSON: %w; for example %s", what, text, err, example)
	}
}

// isWord matches a text that was meant as one.
var isWord = regexp.MustCompile(`^\pL[\pL\pN ._-]{0,40}$`)

// StdinReader returns standard input. If that is a terminal, it writes a hint that the
// command waits for input. Reads fail when ctx ends.
func (e *Env) StdinReader(ctx context.Context) io.ReadCloser {
	if e.Stdin == nil {
		return io.NopCloser(strings.NewReader(""))
	}
	if terminal.Is(e.Stdin) {
		e.Notef("reading JSON from the terminal; end it with Ctrl-D")
	}
	return Interruptible(ctx, func() (io.Reader, error) { return io.NopCloser(e.Stdin), nil })
}
