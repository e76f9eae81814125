package manual

import (
	"strings"

	"github.com/yuin/goldmark/ast"
	extast "github.com/yuin/goldmark/extension/ast"
)

// gap separates two columns of a table.
const gap = "  "

// table renders a table in columns that fit into the width, with a rule below the
// header. If a cell needs several lines, empty lines separate the rows.
func (s setter) table(t *extast.Table, width int) []string {
	var rows [][]string
	for row := t.FirstChild(); row != nil; row = row.NextSibling() {
		style := plain
		if row.Kind() == extast.KindTableHeader {
			style = bold
		}
		var cells []string
		for cell := row.FirstChild(); cell != nil; cell = cell.NextSibling() {
			cells = append(cells, s.cell(cell, style))
		}
		rows = append(rows, cells)
	}
	widths, fits := fit(rows, width)
	if !fits {
		return stack(rows, width)
	}
	lines := join(rows[0], widths)
	rule := make([]string, len(widths))
	for i, w := range widths {
		rule[i] = strings.Repeat("-", w)
	}
	lines = append(lines, strings.Join(rule, gap))
	body := make([][]string, 0, len(rows))
	broken := false
	for _, row := range rows[1:] {
		body = append(body, join(row, widths))
		broken = broken || len(body[len(body)-1]) > 1
	}
	for i, row := range body {
		if broken && i > 0 {
			lines = append(lines, "")
		}
		lines = append(lines, row...)
	}
	return lines
}

// stack renders a table that is too wide for columns: for each row the first cell, and
// below it the other cells, indented.
func stack(rows [][]string, width int) []string {
	var lines []string
	for _, row := range rows[1:] {
		lines = append(lines, wrap(row[0], width)...)
		for _, cell := range row[1:] {
			lines = append(lines, indent(wrap(cell, width-len(codeIndent)), codeIndent, codeIndent)...)
		}
	}
	return lines
}

func (s setter) cell(n ast.Node, style string) string {
	return strings.Join(strings.Fields(s.inline(n, style)), " ")
}

// fit returns the width of each column: that of its widest cell, or less if the table
// would exceed the width; then the widest columns shrink first. No column becomes
// narrower than its longest word; if the table does not fit even so, fits is false.
func fit(rows [][]string, width int) (widths []int, fits bool) {
	widths = make([]int, len(rows[0]))
	least := make([]int, len(rows[0])) // width of the longest word of each column
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], columns(cell))
			for word := range strings.FieldsSeq(cell) {
				least[i] = max(least[i], columns(word))
			}
		}
	}
	over := len(gap)*(len(widths)-1) - width
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

// join renders the cells of a row side by side, each wrapped to its column's width.
func join(row []string, widths []int) []string {
	cells := make([][]string, len(row))
	height := 1
	for i, cell := range row {
		cells[i] = wrap(cell, widths[i])
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
				b.WriteString(strings.Repeat(" ", max(widths[i]-columns(part), 0)) + gap)
			}
		}
		lines[y] = strings.TrimRight(b.String(), " ")
	}
	return lines
}
