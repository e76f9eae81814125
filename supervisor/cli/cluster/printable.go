package cluster

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/stellarfw/stellar/supervisor/cli/terminal"
)

// Printable returns the text as one line that shows, and does nothing to a terminal: every
// character that is not printable is escaped, with the escapes of JSON. Whatever may come from
// a peer, from Redis or from a file goes through it on its way to the user: a text must neither
// control the terminal nor look like a line of this program.
func Printable(s string) string { return escape(s, "") }

// printableJSON is Printable for a JSON text, whose line breaks and tabs are white space
// between its values. The text keeps its value.
func printableJSON(s string) string { return escape(s, "\n\t") }

// escape escapes the unprintable characters of s, except those in kept.
func escape(s, kept string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case unicode.IsPrint(r) || strings.ContainsRune(kept, r):
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// PrintableError returns the lines of an error: one, or for joined errors one for each.
func PrintableError(err error) []string {
	text := err.Error()
	switch e := err.(type) { //nolint:errorlint // each layer is looked at
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil && inner.Error() == text {
			return PrintableError(inner)
		}
	case interface{ Unwrap() []error }:
		var texts, lines []string
		for _, inner := range e.Unwrap() {
			if inner.Error() == text { // the others are kinds of errors
				return PrintableError(inner)
			}
			texts, lines = append(texts, inner.Error()), append(lines, PrintableError(inner)...)
		}
		if strings.Join(texts, "\n") == text {
			return lines
		}
	}
	return []string{Printable(text)}
}

// jsonWriter writes JSON texts to a terminal. Each write is whole characters.
type jsonWriter struct{ io.Writer }

// JSONWriter returns a writer of lines of JSON to standard output. On a terminal their
// unprintable characters are escaped; elsewhere the bytes stay as they are, for a backup.
func (e *Env) JSONWriter() io.Writer {
	if !terminal.Is(e.Stdout) {
		return e.Stdout
	}
	return &lineWriter{to: jsonWriter{e.Stdout}}
}

// Write implements io.Writer.
func (w jsonWriter) Write(b []byte) (int, error) {
	if _, err := io.WriteString(w.Writer, printableJSON(string(b))); err != nil {
		return 0, err
	}
	return len(b), nil
}

// lineWriter writes whole lines: a write may end within a character.
type lineWriter struct {
	to   io.Writer
	rest []byte
}

// Write implements io.Writer.
func (w *lineWriter) Write(b []byte) (int, error) {
	w.rest = append(w.rest, b...)
	end := bytes.LastIndexByte(w.rest, '\n') + 1
	if _, err := w.to.Write(w.rest[:end]); err != nil {
		return 0, err
	}
	w.rest = append(w.rest[:0], w.rest[end:]...)
	return len(b), nil
}

// printableEvent escapes the texts of a log line that the console format writes as they are:
// its message, and the texts within objects and lists. It quotes all others.
func printableEvent(event map[string]any) error {
	for name, value := range event {
		switch v := value.(type) {
		case string:
			if name == "message" {
				event[name] = Printable(v)
			}
		case map[string]any, []any:
			text, err := json.Marshal(v)
			if err != nil {
				return err
			}
			event[name] = json.RawMessage(printableJSON(string(text)))
		}
	}
	return nil
}
