package terminal

import (
	"strings"
)

// Gap separates two columns of a table.
const Gap = "  "

// Fit returns the width of each column of a table: that of its widest cell, or less if the
// table would exceed the width; then the widest columns shrink first. No column becomes
// narrower than its longest word; if the table does not fit even so, fits is false.
func Fit(rows [][]string, width int) (widths []int, fits bool) {
	widths = make([]int, len(rows[0]))
	least := make([]int, len(rows[0])) // width of the longest word of each column
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], Columns(cell))
			for word := range strings.FieldsSeq(cell) {
				least[i] = max(least[i], Columns(word))
			}
		}
	}
	over := len(Gap)*(len(widths)-1) - width
	for _, w := range widths {
		over += w
	}
	for ; over > 0; over-- {
		widest := -1
		for i, w := range widths {
			if w > least[i] && (widest < 0 || w > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return nil, false
		}
		widths[widest]--
	}
	return widths, true
}

// Join sets the cells of a row side by side, each wrapped to its column's width.
func Join(row []string, widths []int) []string {
	cells := make([][]string, len(row))
	height := 1
	for i, cell := range row {
		cells[i] = []string{cell}
		if Columns(cell) > widths[i] { // a cell that fits keeps its spaces
			cells[i] = Wrap(cell, widths[i])
		}
		height = max(height, len(cells[i]))
	}
	lines := make([]string, height)
	for y := range lines {
		var b strings.Builder
		for i, cell := range cells {
			part := ""
			if y < len(cell) {
				part = cell[y]
			}
			b.WriteString(part)
			if i < len(cells)-1 {
				b.WriteString(strings.Repeat(" ", max(widths[i]-Columns(part), 0)) + Gap)
			}
		}
		lines[y] = strings.TrimRight(b.String(), " ")
	}
	return lines
}

// leastLast is how narrow the last column of a table may become: its words, such as a
// payload in JSON, are broken where they do not fit.
const leastLast = 8

// Table sets rows in columns that fit into the width; a width of 0 is as wide as the table
// needs. The first row is the header. Where not even columns of their longest words fit,
// each row becomes a block of lines with a header and a cell each. Nothing is left out.
func Table(rows [][]string, width int) []string {
	if width == 0 {
		width = 1 << 30
	}
	set := rows
	widths, fits := Fit(set, width)
	if !fits {
		set = breakLast(rows, width)
		widths, fits = Fit(set, width)
	}
	if !fits {
		return blocks(rows, width)
	}
	var lines []string
	for _, row := range set {
		lines = append(lines, Join(row, widths)...)
	}
	return lines
}

// breakLast returns the rows with the long words of the last column broken, as far as the
// table does not fit into the width without.
func breakLast(rows [][]string, width int) [][]string {
	last := len(rows[0]) - 1
	first := make([][]string, len(rows))
	for i, row := range rows {
		first[i] = append(append([]string{}, row[:last]...), "")
	}
	most := leastLast
	for fits := true; fits; {
		first[0][last] = strings.Repeat("x", most+1)
		if _, fits = Fit(first, width); fits {
			most++
		}
	}
	broken := make([][]string, len(rows))
	for i, row := range rows {
		broken[i] = append(append([]string{}, row[:last]...), breakWords(row[last], most))
	}
	return broken
}

// breakWords puts spaces into words that are longer than most.
func breakWords(text string, most int) string {
	var words []string
	for word := range strings.FieldsSeq(text) {
		runes := []rune(word)
		for len(runes) > most {
			words, runes = append(words, string(runes[:most])), runes[most:]
		}
		words = append(words, string(runes))
	}
	return strings.Join(words, " ")
}

// blocks sets each row but the first as lines of a header and its cell, with an empty line
// between two rows.
func blocks(rows [][]string, width int) []string {
	header := 0
	for _, name := range rows[0] {
		header = max(header, Columns(name))
	}
	var lines []string
	for i, row := range rows[1:] {
		if i > 0 {
			lines = append(lines, "")
		}
		for at, cell := range row {
			if cell == "" {
				continue
			}
			name := rows[0][at]
			space := max(width-header-len(Gap), leastLast)
			part := []string{cell}
			if Columns(cell) > space {
				part = Wrap(breakWords(cell, space), space)
			}
			first := name + strings.Repeat(" ", header-Columns(name)) + Gap
			lines = append(lines, Indent(part, first, strings.Repeat(" ", header)+Gap)...)
		}
	}
	return lines
}
