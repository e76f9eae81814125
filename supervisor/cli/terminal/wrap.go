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

// Fold breaks a command of the shell into lines of at most width columns, of which all but the last
// end with a backslash: together they are the same command. It breaks between words only, not
// within quotes.
func Fold(command string, width int) []string {
	const more = " \\"
	var words []string
	quote, from := rune(0), 0
	for at, r := range command {
		switch {
		case quote == 0 && r == ' ':
			words, from = append(words, command[from:at]), at+1
		case quote == 0 && (r == '\'' || r == '"'):
			quote = r
		case r == quote:
			quote = 0
		}
	}
	lines := []string{""}
	for _, word := range append(words, command[from:]) {
		last := &lines[len(lines)-1]
		switch {
		case *last == "":
			*last = word
		case Columns(*last+" "+word+more) > width:
			*last += more
			lines = append(lines, word)
		default:
			*last += " " + word
		}
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
