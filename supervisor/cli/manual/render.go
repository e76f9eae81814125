package manual

import (
	"fmt"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	extast "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"

	"github.com/stellarfw/stellar/supervisor/cli/terminal"
)

// layout configures how a Markdown page is rendered as text.
type layout struct {
	width   int    // of a line, in columns; code blocks are not wrapped
	styled  bool   // use bold and colours of the terminal
	program string // name of the program in examples
}

// codeIndent is put before each line of a code block, and replaces each tab in it.
const codeIndent = "    "

// Inline code of at most unbroken bytes is not wrapped: hardSpace replaces its spaces
// until all lines are wrapped.
const (
	unbroken  = 24
	hardSpace = "\ue000"
)

// Styles of words, as parameters of an SGR escape sequence of the terminal.
const (
	plain  = ""
	bold   = "1"
	italic = "3"
	code   = "36"
)

// render renders a Markdown page as text.
func (l layout) render(page []byte) []byte {
	doc := goldmark.New(goldmark.WithExtensions(extension.Table)).Parser().Parse(text.NewReader(page))
	s := setter{layout: l, source: page}
	lines := strings.TrimRight(strings.Join(s.blocks(doc, l.width), "\n"), "\n")
	return []byte(strings.ReplaceAll(lines, hardSpace, " ") + "\n")
}

// setter renders the blocks of one page as lines of text.
type setter struct {
	layout

	source []byte
}

// blocks renders the children of a node as lines, with an empty line between two blocks.
func (s setter) blocks(parent ast.Node, width int) []string {
	var lines []string
	for n := parent.FirstChild(); n != nil; n = n.NextSibling() {
		block := s.block(n, width)
		if len(block) == 0 {
			continue
		}
		if _, tight := n.(*ast.TextBlock); len(lines) > 0 && !tight && !tightItem(n) {
			lines = append(lines, "")
		}
		lines = append(lines, block...)
	}
	return lines
}

// tightItem reports whether n, an item of a list or a list within an item, is rendered
// without an empty line above it.
func tightItem(n ast.Node) bool {
	if n.Kind() == ast.KindList {
		_, within := n.Parent().(*ast.ListItem)
		return within
	}
	list, ok := n.Parent().(*ast.List)
	return ok && list.IsTight
}

func (s setter) block(n ast.Node, width int) []string {
	switch n := n.(type) {
	case *ast.Heading:
		return s.heading(n, width)
	case *ast.FencedCodeBlock, *ast.CodeBlock:
		var lines []string
		for _, segment := range n.Lines().Sliced(0, n.Lines().Len()) {
			line := strings.ReplaceAll(string(segment.Value(s.source)), "\t", codeIndent)
			lines = append(lines, strings.TrimRight(codeIndent+line, " \n"))
		}
		return lines
	case *ast.Blockquote:
		return terminal.Indent(s.blocks(n, width-2), "| ", "| ")
	case *ast.List:
		return s.blocks(n, width)
	case *ast.ListItem:
		mark := "- "
		if list, ok := n.Parent().(*ast.List); ok && list.IsOrdered() {
			number := list.Start
			for before := n.PreviousSibling(); before != nil; before = before.PreviousSibling() {
				number++
			}
			mark = fmt.Sprintf("%d. ", number)
		}
		return terminal.Indent(s.blocks(n, width-len(mark)), mark, strings.Repeat(" ", len(mark)))
	case *extast.Table:
		return s.table(n, width)
	case *ast.HTMLBlock, *ast.ThematicBreak:
		return nil
	}
	return terminal.Wrap(s.inline(n, plain), width)
}

// heading renders a heading, with an underline for the first two levels.
func (s setter) heading(n *ast.Heading, width int) []string {
	lines := terminal.Wrap(s.inline(n, bold), width)
	widest := 0
	for _, line := range lines {
		widest = max(widest, terminal.Columns(line))
	}
	switch n.Level {
	case 1:
		lines = append(lines, strings.Repeat("=", widest))
	case 2:
		lines = append(lines, strings.Repeat("-", widest))
	}
	return lines
}

// inline returns the inline content of a node as text. Each word is styled separately,
// so that a line can be wrapped between any two words.
func (s setter) inline(parent ast.Node, style string) string {
	var b strings.Builder
	for n := parent.FirstChild(); n != nil; n = n.NextSibling() {
		switch n := n.(type) {
		case *ast.Text:
			b.WriteString(s.dress(string(util.UnescapePunctuations(n.Value(s.source))), style))
			if n.SoftLineBreak() || n.HardLineBreak() {
				b.WriteByte(' ')
			}
		case *ast.String:
			b.WriteString(s.dress(string(n.Value), style))
		case *ast.CodeSpan:
			b.WriteString(s.code(n))
		case *ast.Emphasis:
			b.WriteString(s.inline(n, []string{italic, bold}[min(n.Level, 2)-1]))
		case *ast.AutoLink:
			b.Write(n.URL(s.source))
		case *ast.Link:
			b.WriteString(s.link(n, style))
		default:
			b.WriteString(s.inline(n, style))
		}
	}
	return b.String()
}

// code renders inline code: in colour, or in backquotes if the layout is not styled.
func (s setter) code(n *ast.CodeSpan) string {
	var b strings.Builder
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		if t, ok := c.(*ast.Text); ok {
			b.Write(t.Value(s.source))
		}
	}
	words := b.String()
	if len(words) <= unbroken {
		words = strings.ReplaceAll(words, " ", hardSpace)
	}
	if !s.styled {
		return "`" + words + "`"
	}
	return s.dress(words, code)
}

// link renders the text of a link, followed by the target in parentheses unless the
// text names the target already.
func (s setter) link(n *ast.Link, style string) string {
	label, to := s.inline(n, style), string(n.Destination)
	file, _, _ := strings.Cut(to, "#")
	switch topic, page := strings.CutSuffix(file, ".md"); {
	case file == "" || to == label:
		return label
	case page && topic == label:
		return label
	case page:
		return fmt.Sprintf("%s (%s manual %s)", label, s.program, topic)
	}
	return label + " (" + to + ")"
}

// dress puts the escape sequences of a style around each word, if the layout is styled.
func (s setter) dress(words, style string) string {
	if !s.styled || style == plain {
		return words
	}
	var b strings.Builder
	for i, word := range strings.Split(words, " ") {
		if i > 0 {
			b.WriteByte(' ')
		}
		if word != "" {
			b.WriteString("\x1b[" + style + "m" + word + "\x1b[0m")
		}
	}
	return b.String()
}
