package cli

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/supervisor/cli/config"
)

// Words of the command line that the program itself understands.
const (
	helpWord     = "help"
	versionWord  = "version"
	completeWord = "__complete" // for the completion scripts
)

// line is a command line as the words before its flags were understood.
type line struct {
	root     *urfave.Command
	path     []string        // names of the command, from the program's commands down
	at       *urfave.Command // the command
	early    []string        // the flags that stand before the last name, with their values
	rest     []string        // everything behind the names
	help     bool            // a help flag is among the words, or "help" after a group
	version  bool            // the version flag is before any name
	output   []string        // the flags for the output format, with their values
	format   string          // the value of the last of them; "" for none
	open     *urfave.Flag    // a flag at the end that lacks its value
	operands []string        // the words of rest that are neither flags nor their values
	literal  bool            // everything behind rest is an argument
	unknown  bool            // a flag that no command has is among the words: the word behind it may be its value
	misspelt bool            // the first of operands stands where a command of the group would
}

// readLine follows the words of a command line, without the program's name, down the tree of
// commands. Flags may stand before the command, and before a command within a group: the
// flag library takes them behind it only.
func readLine(root *urfave.Command, words []string) line {
	l := line{root: root, at: root}
	for i := 0; i < len(words); i++ {
		word := words[i]
		name, value, isFlag := flagName(word)
		switch {
		case l.literal:
			l.operand(word)
		case isFlag:
			i += l.flag(words[i:], name, value)
		case word != "-" && strings.HasPrefix(word, "-"): // --, or a negative number: what follows are no flags
			l.literal = true
			if l.rest = append(l.rest, word); word != "--" {
				l.operands = append(l.operands, word)
			}
		case l.descend(word):
		case word == helpWord && len(l.at.Commands) > 0 && len(l.path) > 0 && len(l.operands) == 0:
			l.help = true
		default:
			l.operand(word)
		}
	}
	return l
}

// operand takes a word that is neither a command nor a flag.
func (l *line) operand(word string) {
	if len(l.at.Commands) > 0 && len(l.operands) == 0 && !l.unknown && !l.literal {
		l.misspelt = true
	}
	l.rest, l.operands = append(l.rest, word), append(l.operands, word)
}

// descend goes to the command of that name, if the words before lead to it.
func (l *line) descend(word string) bool {
	next := l.at.Command(word)
	if next == nil || len(l.operands) > 0 {
		return false
	}
	l.early, l.rest = append(l.early, l.rest...), nil
	l.at, l.path = next, append(l.path, next.Name)
	return true
}

// flag reads the flag that words begin with, and returns how many of the words are its value.
func (l *line) flag(words []string, name string, value *string) (more int) {
	switch {
	case name == helpWord || name == "h":
		l.help = true
		return 0
	case len(l.path)+len(l.operands) == 0 && (name == versionWord || name == "v"):
		l.version = true
		return 0
	}
	f := findFlag(l.at, name)
	if f == nil {
		if f = findFlag(l.root, name); f != nil && f.Names()[0] != outputFlag {
			f = nil
		}
	}
	if f == nil {
		l.rest, l.unknown = append(l.rest, words[0]), true
		return 0
	}
	if d, ok := f.(urfave.DocGenerationFlag); ok && d.TakesValue() && value == nil {
		if len(words) == 1 {
			l.rest, l.open = append(l.rest, words[0]), &f
			return 0
		}
		value, more = &words[1], 1
	}
	if f.Names()[0] == outputFlag {
		l.output, l.format = append(l.output, words[:1+more]...), *value
	} else {
		l.rest = append(l.rest, words[:1+more]...)
	}
	return more
}

// hasOutput reports whether the command, or the default one of a group, has the flag for the
// output format. For others that is the format of their errors: they need not know of it.
func (l *line) hasOutput() bool {
	at := l.at
	if at.DefaultCommand != "" {
		at = at.Command(at.DefaultCommand)
	}
	return slices.ContainsFunc(at.Flags, func(f urfave.Flag) bool { return f.Names()[0] == outputFlag })
}

// check returns an error about what the command that the line leads to does not see: a word in
// place of the default command's name, or a wrong flag for the output format.
func (l *line) check() error {
	switch {
	case l.misspelt && l.at == l.root:
		return config.NoSuchCommandOf(l.at, "", l.operands[0])
	case l.misspelt && l.at.DefaultCommand != "":
		return config.NoSuchCommandOf(l.at, strings.Join(append([]string{l.root.Name}, l.path...), " "), l.operands[0])
	case l.help || l.version || l.misspelt || l.hasOutput():
		return nil
	case l.open != nil && (*l.open).Names()[0] == outputFlag:
		return config.Usagef("%s needs a value: table or json", l.rest[len(l.rest)-1])
	case len(l.output) > 0 && l.format != "table" && l.format != "json":
		return config.Usagef("--%s: %q is neither table nor json", outputFlag, l.format)
	default:
		return nil
	}
}

// outputFlag is the name of the flag for the output format.
const outputFlag = "output"

// arranged returns the command line as the flag library reads it: the command first, the
// default one of a group included. A misspelt command stands alone: the flags with it are of
// the command that is meant, and unknown where the word leads to.
func (l *line) arranged(root *urfave.Command) []string {
	words := []string{root.Name}
	switch {
	case l.misspelt:
		return append(append(words, l.path...), l.operands[0])
	case l.help:
		return append(append(words, helpWord), l.path...)
	case l.version:
		return append(append(words, versionWord), l.output...)
	}
	words = append(words, l.path...)
	if l.at.DefaultCommand != "" && len(l.operands) == 0 {
		words = append(words, l.at.DefaultCommand)
	}
	if l.hasOutput() {
		words = append(words, l.output...)
	}
	return append(append(words, l.early...), l.rest...)
}

// flagName returns the name of the flag that a word is, and its value if the word holds one.
func flagName(word string) (name string, value *string, ok bool) {
	name = strings.TrimPrefix(strings.TrimPrefix(word, "-"), "-")
	if r, _ := utf8.DecodeRuneInString(name); name == word || name == "" || !unicode.IsLetter(r) {
		return "", nil, false
	}
	if before, after, has := strings.Cut(name, "="); has {
		return before, &after, true
	}
	return name, nil, true
}

// findFlag returns the flag of that name of the command or of those below it, or nil.
func findFlag(c *urfave.Command, name string) urfave.Flag { //nolint:ireturn // the library knows flags of many types
	for _, f := range c.Flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	for _, sub := range c.Commands {
		if f := findFlag(sub, name); f != nil {
			return f
		}
	}
	return nil
}
