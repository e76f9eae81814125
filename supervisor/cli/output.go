package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"unicode"
)

// maxInput is the largest argument that is read from standard input.
const maxInput = 32 << 20

// asJSON reports whether the output is for scripts.
func (p *program) asJSON() bool { return p.output == "json" }

// writeJSON writes a value for scripts.
func (p *program) writeJSON(v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(p.Stdout, printable(string(text)))
	return err
}

// writeValue writes a JSON value as it came, indented.
func (p *program) writeValue(value json.RawMessage) error {
	if len(value) == 0 {
		value = json.RawMessage("null")
	}
	var b bytes.Buffer
	if err := json.Indent(&b, value, "", "  "); err != nil {
		return fmt.Errorf("the answer is no JSON: %w", err)
	}
	_, err := fmt.Fprintln(p.Stdout, printable(b.String()))
	return err
}

// writeTable writes rows, the first of which is the header.
func (p *program) writeTable(rows [][]string) error {
	w := tabwriter.NewWriter(p.Stdout, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = printable(strings.NewReplacer("\n", " ", "\t", " ").Replace(cell))
		}
		if _, err := fmt.Fprintln(w, strings.Join(cells, "\t")); err != nil {
			return err
		}
	}
	return w.Flush()
}

// printable returns a text without what could steer a terminal: it may come from
// another node. The escapes are those of JSON, so that JSON stays the same value.
func printable(s string) string {
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

// argument returns a JSON argument of a command; "-" reads it from standard input.
func (p *program) argument(text, what, example string) (json.RawMessage, error) {
	if text == "-" {
		all, err := io.ReadAll(io.LimitReader(p.stdin(), maxInput))
		if err != nil {
			return nil, fmt.Errorf("%s: standard input: %w", what, err)
		}
		text = string(all)
	}
	var value json.RawMessage
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		return nil, usagef("%s: %.60q is not JSON: %w; for example %s", what, text, err, example)
	}
	return value, nil
}

func (p *program) stdin() io.Reader {
	if p.Stdin == nil {
		return strings.NewReader("")
	}
	if f, ok := p.Stdin.(*os.File); ok && isTerminal(f) {
		_, _ = fmt.Fprintln(p.Stderr, "reading JSON from the terminal; end it with Ctrl-D")
	}
	return p.Stdin
}
