package manual

import (
	"strings"

	"github.com/yuin/goldmark/ast"
	extast "github.com/yuin/goldmark/extension/ast"

	"github.com/stellarfw/stellar/supervisor/cli/terminal"
)

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
	widths, fits := terminal.Fit(rows, width)
	if !fits {
		return stack(rows, width)
	}
	lines := terminal.Join(rows[0], widths)
	rule := make([]string, len(widths))
	for i, w := range widths {
		rule[i] = strings.Repeat("-", w)
	}
	lines = append(lines, strings.Join(rule, terminal.Gap))
	body := make([][]string, 0, len(rows))
	broken := false
	for _, row := range rows[1:] {
		body = append(body, terminal.Join(row, widths))
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
// below it the other cells, indented, and with the names of their columns if they are several.
func stack(rows [][]string, width int) []string {
	var lines []string
	for _, row := range rows[1:] {
		lines = append(lines, terminal.Wrap(row[0], width)...)
		for i, cell := range row[1:] {
			if i+1 < len(rows[0]) && len(rows[0]) > 2 && rows[0][i+1] != "" {
				cell = rows[0][i+1] + ": " + cell
			}
			lines = append(lines, terminal.Indent(terminal.Wrap(cell, width-len(codeIndent)), codeIndent, codeIndent)...)
		}
	}
	return lines
}

func (s setter) cell(n ast.Node, style string) string {
	return strings.Join(strings.Fields(s.inline(n, style)), " ")
}
