// Package terminal fits texts into the width of a terminal: it wraps them, and sets tables.
package terminal

import (
	"io"
	"os"
	"strconv"

	"github.com/mattn/go-isatty"
	"golang.org/x/term"
)

// File returns the file that a stream writes to or reads from, also below writers that
// have a method Unwrap.
func File(stream any) (*os.File, bool) {
	for {
		switch s := stream.(type) {
		case *os.File:
			return s, true
		case interface{ Unwrap() io.Writer }:
			stream = s.Unwrap()
		default:
			return nil, false
		}
	}
}

// Is reports whether the stream is a terminal.
func Is(stream any) bool {
	f, ok := File(stream)
	return ok && (isatty.IsTerminal(f.Fd()) || isatty.IsCygwinTerminal(f.Fd()))
}

// Width returns how many columns a line of the stream has: what the environment variable
// COLUMNS says, or else the terminal. It is 0 for a stream without a width, such as a pipe.
func Width(env func(name string) (value string, set bool), stream any) int {
	text, _ := env("COLUMNS")
	if n, err := strconv.Atoi(text); err == nil && n > 0 {
		return n
	}
	if f, ok := File(stream); ok && Is(stream) {
		if n, _, err := term.GetSize(int(f.Fd())); err == nil && n > 0 {
			return n
		}
	}
	return 0
}

// Widths of running text in columns.
const (
	plainWidth = 80  // where nothing says otherwise
	leastWidth = 40  // narrower terminals wrap lines themselves
	mostWidth  = 100 // longer lines are hard to read
)

// TextWidth returns how wide running text is set where [Width] is width: 80 columns for a
// stream without a width, at least 40 and at most 100.
func TextWidth(width int) int {
	if width == 0 {
		width = plainWidth
	}
	return min(max(width, leastWidth), mostWidth)
}
