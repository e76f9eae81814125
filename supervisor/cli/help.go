package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/supervisor/cli/terminal"
)

// helpMargin is put before each line of a section of a help text.
const helpMargin = "   "

// mostName is the widest column of names in a help text, leastText the narrowest one of the texts
// beside it. The text of a name that is too long for its column goes below it.
const (
	mostName  = 27
	leastText = 32
)

// helpCommand returns the command help. The help flags of all commands are this command
// in other words: see arrange.
func helpCommand(e *cluster.Env) *urfave.Command {
	return &urfave.Command{
		Name: helpWord, Usage: "show what there is, or how to use a command", ArgsUsage: "[COMMAND…]",
		Description: "\"$0 help tasks list\" and \"$0 tasks list --help\" are the same.",
		Action: func(_ context.Context, cmd *urfave.Command) error {
			at := cmd.Root()
			path := at.Name
			for _, word := range cmd.Args().Slice() {
				next := at.Command(word)
				switch {
				case next != nil && !next.Hidden:
				case at == cmd.Root():
					return config.NoSuchCommandOf(at, "", word)
				default:
					return config.NoSuchCommandOf(at, path, word)
				}
				at, path = next, path+" "+next.Name
			}
			h := &helpText{to: e.Stdout, width: terminal.TextWidth(terminal.Width(e.Env, e.Stdout))}
			h.command(at, path)
			return h.err
		},
	}
}

// helpText writes the help of a command in lines of at most width columns.
type helpText struct {
	to    io.Writer
	width int
	err   error
}

func (h *helpText) lines(lines ...string) {
	for _, line := range lines {
		_, err := fmt.Fprintln(h.to, line)
		h.err = errors.Join(h.err, err)
	}
}

// section writes a heading and the lines below it.
func (h *helpText) section(heading string, lines ...string) {
	h.lines("", heading+":")
	h.lines(lines...)
}

func (h *helpText) command(c *urfave.Command, path string) {
	h.lines("NAME:")
	h.lines(h.prose(path + " - " + c.Usage)...)
	usage := path
	if len(visible(c)) > 0 {
		usage += " [COMMAND]"
	}
	h.section("USAGE", h.prose(strings.TrimSpace(usage+" [FLAGS] "+c.ArgsUsage))...)
	if c.Version != "" {
		h.section("VERSION", helpMargin+c.Version)
	}
	if c.Description != "" {
		h.section("DESCRIPTION", h.prose(c.Description)...)
	}
	if commands := visible(c); len(commands) > 0 {
		var entries [][2]string
		for _, sub := range commands {
			entries = append(entries, [2]string{sub.Name, sub.Usage})
		}
		h.section("COMMANDS", h.columns(entries)...)
	}
	for _, g := range flagGroups(c) {
		h.section(strings.ToUpper(cmp.Or(g.name, "flags")), h.columns(g.entries)...)
	}
}

// prose wraps paragraphs. Lines that begin with a space are examples, which are folded.
func (h *helpText) prose(text string) []string {
	var lines, paragraph []string
	end := func() {
		lines = append(lines, terminal.Indent(terminal.Wrap(strings.Join(paragraph, " "), h.width-len(helpMargin)), helpMargin, helpMargin)...)
		paragraph = nil
	}
	for line := range strings.SplitSeq(text, "\n") {
		switch {
		case line == "":
			end()
			lines = append(lines, "")
		case strings.HasPrefix(line, " "):
			end()
			lines = append(lines, h.example(strings.TrimLeft(line, " "))...)
		default:
			paragraph = append(paragraph, line)
		}
	}
	end()
	return lines
}

// exampleMargin is put before each example, more of it before the rest of an example that does not
// fit into one line.
const exampleMargin = helpMargin + helpMargin

// example sets a line of the shell, with what it does behind a gap if it has one. If it is too long,
// that goes below it, and the line of the shell goes on behind a backslash.
func (h *helpText) example(line string) []string {
	if terminal.Columns(exampleMargin+line) <= h.width {
		return []string{exampleMargin + line}
	}
	command, about, _ := strings.Cut(line, terminal.Gap)
	lines := terminal.Fold(command, h.width-len(exampleMargin)-len(helpMargin))
	lines = terminal.Indent(lines, exampleMargin, exampleMargin+helpMargin)
	margin := exampleMargin + helpMargin + "# "
	return append(lines, terminal.Indent(terminal.Wrap(about, h.width-len(margin)), margin, margin)...)
}

// columns sets names and the texts that explain them in two columns, of which the second is as wide
// as the longest word of a text, such as an address of Redis.
func (h *helpText) columns(entries [][2]string) []string {
	least := leastText
	for _, e := range entries {
		for word := range strings.FieldsSeq(e[1]) {
			least = max(least, terminal.Columns(word))
		}
	}
	name, most := 0, min(mostName, h.width-least-len(helpMargin)-len(terminal.Gap))
	for _, e := range entries {
		if n := terminal.Columns(e[0]); n <= most {
			name = max(name, n)
		}
	}
	margin := strings.Repeat(" ", len(helpMargin)+name+len(terminal.Gap))
	var lines []string
	for _, e := range entries {
		text := terminal.Indent(terminal.Wrap(e[1], h.width-len(margin)), margin, margin)
		first := helpMargin + e[0]
		if terminal.Columns(e[0]) <= name && len(text) > 0 {
			first += text[0][terminal.Columns(first):] // in place of the margin, which is spaces
			text = text[1:]
		}
		lines = append(append(lines, first), text...)
	}
	return lines
}

func visible(c *urfave.Command) []*urfave.Command {
	return slices.DeleteFunc(slices.Clone(c.Commands), func(c *urfave.Command) bool { return c.Hidden })
}

// flagGroup is flags under a heading: each its names and its text.
type flagGroup struct {
	name    string
	entries [][2]string
}

// flagGroups returns the flags of a command in groups: first its own, with those that all
// commands share behind them, last those of Redis.
func flagGroups(c *urfave.Command) []flagGroup {
	own := &flagGroup{}
	groups := []*flagGroup{own}
	var last [][2]string
	for _, f := range c.Flags {
		name, text := describeFlag(f)
		entry := [2]string{name, text}
		if f.Names()[0] == "config" { // it is declared first, as it is read first
			last = append(last, entry)
			continue
		}
		category := ""
		if in, ok := f.(urfave.CategorizableFlag); ok {
			category = in.GetCategory()
		}
		at := slices.IndexFunc(groups, func(g *flagGroup) bool { return g.name == category })
		if at < 0 {
			at, groups = len(groups), append(groups, &flagGroup{name: category})
		}
		groups[at].entries = append(groups[at].entries, entry)
	}
	if f := findFlag(c, outputFlag); f != nil && !slices.Contains(c.Flags, f) { // it may stand before the command of a group
		name, text := describeFlag(f)
		own.entries = append(own.entries, [2]string{name, text})
	}
	own.entries = append(append(own.entries, last...), [2]string{"-h, --help", "show this help"})
	slices.SortStableFunc(groups, func(a, b *flagGroup) int { return groupRank(a.name) - groupRank(b.name) })
	all := make([]flagGroup, len(groups))
	for i, g := range groups {
		all[i] = *g
	}
	return all
}

func groupRank(name string) int {
	if name == config.GroupRedis {
		return 1
	}
	return 0
}

// placeholder matches the word for a flag's value in the flag's text; one in parentheses of
// its own is for the name of the flag only.
var (
	placeholder     = regexp.MustCompile("`([^`]*)`")
	ownParentheses  = regexp.MustCompile(" \\(`[^`]*`\\)")
	quotedByLibrary = regexp.MustCompile(`^"(.*)"$`)
)

// describeFlag returns the names of a flag, the short one first, with the word for its value,
// and its text with its default and its variables.
func describeFlag(f urfave.Flag) (name, text string) {
	d, ok := f.(urfave.DocGenerationFlag)
	if !ok {
		return "--" + f.Names()[0], ""
	}
	names := f.Names()
	slices.SortStableFunc(names, func(a, b string) int { return min(len(a), 2) - min(len(b), 2) })
	for i, n := range names {
		names[i] = dashed(n)
	}
	name, text = strings.Join(names, ", "), d.GetUsage()
	if d.TakesValue() {
		word := "VALUE"
		if m := placeholder.FindStringSubmatch(text); m != nil {
			word = m[1]
		}
		name += " " + word
	}
	text = placeholder.ReplaceAllString(ownParentheses.ReplaceAllString(text, ""), "$1")
	standard := quotedByLibrary.ReplaceAllString(cmp.Or(d.GetDefaultText(), d.GetValue()), "$1")
	if d.TakesValue() && d.IsDefaultVisible() && standard != "" {
		text += fmt.Sprintf(" (default: %s)", standard)
	}
	if variables := d.GetEnvVars(); len(variables) > 0 {
		text += " [$" + strings.Join(variables, ", $") + "]"
	}
	return name, text
}

// dashed returns the name of a flag as it is typed.
func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}
