package terminal

import (
	"strings"
	"unicode/utf8"
)

// Wrap breaks a text between words into lines of at most width columns. A word longer
// than width gets a line to itself.
func Wrap(words string, width int) []string {
	var lines []string
	var line strings.Builder
	used := 0
	for word := range strings.FieldsSeq(words) {
		n := Columns(word)
		if used > 0 && used+1+n > width {
			lines = append(lines, line.String())
			line.Reset()
			used = 0
		}
		if used > 0 {
			line.WriteByte(' ')
			used++
		}
		line.WriteString(word)
		used += n
	}
	if used > 0 {
		lines = append(lines, line.String())
	}
	return lines
}

// Columns returns the width of a text in terminal columns, without escape sequences.
func Columns(s string) int {
	n := 0
	for s != "" {
		before, after, _ := strings.Cut(s, "\x1b[")
		n += utf8.RuneCountInString(before)
		_, s, _ = strings.Cut(after, "m")
	}
	return n
}

// Indent prefixes the first line with first and the other lines with rest.
func Indent(lines []string, first, rest string) []string {
	for i, line := range lines {
		if i > 0 {
			first = rest
		}
		lines[i] = strings.TrimRight(first+line, " ")
	}
	return lines
}
