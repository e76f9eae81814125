package cli

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/config"
)

// The completion scripts. They need nothing but their shell: each runs the program with the
// words before the cursor, and reads a line for each word that is possible there, with a tab
// and a description behind it.
var (
	//go:embed completion/bash
	bashScript string
	//go:embed completion/zsh
	zshScript string
	//go:embed completion/fish
	fishScript string
	//go:embed completion/pwsh
	pwshScript string
)

// notInNames matches what cannot be in the name of a shell's function.
var notInNames = regexp.MustCompile(`[^a-zA-Z0-9_]`)

// completionCommand returns the command completion.
func completionCommand(e *cluster.Env) *urfave.Command {
	c := &urfave.Command{
		Name: "completion", Usage: "print the completion script for bash, zsh, fish or pwsh",
		Description: "The script completes commands, flags and values: states, tasks, queues, nodes and methods of the running\n" +
			"cluster. It needs no other package.\n\n" +
			"   source <($0 completion bash)   in ~/.bashrc\n" +
			"   source <($0 completion zsh)    in ~/.zshrc\n" +
			"   $0 completion fish > ~/.config/fish/completions/$0.fish\n" +
			"   $0 completion pwsh | Out-String | Invoke-Expression",
		Action: config.WhichCommand,
	}
	for _, shell := range []struct{ name, script string }{
		{"bash", bashScript}, {"zsh", zshScript}, {"fish", fishScript}, {"pwsh", pwshScript},
	} {
		c.Commands = append(c.Commands, &urfave.Command{
			Name: shell.name, Usage: "print the script for " + shell.name, ArgValidator: config.NoArguments,
			Action: func(context.Context, *urfave.Command) error {
				script := strings.NewReplacer("$PROGRAM", e.Program, "$NAME", notInNames.ReplaceAllString(e.Program, "_")).Replace(shell.script)
				_, err := io.WriteString(e.Stdout, script)
				return err
			},
		})
	}
	return c
}

// completeCommand returns the hidden command that the completion scripts run. Its arguments
// are the words behind the program's name up to the cursor; the last one is to be completed.
func completeCommand(e *cluster.Env, program Program) *urfave.Command {
	return &urfave.Command{
		Name: completeWord, Hidden: true, SkipFlagParsing: true,
		ArgValidator: func(context.Context, *urfave.Command) error { return nil }, // that of run is for its own
		Action: func(ctx context.Context, cmd *urfave.Command) error {
			words := cmd.Args().Slice()
			if len(words) == 0 {
				words = []string{""}
			}
			c := &completer{env: e, program: program, root: cmd.Root(), word: words[len(words)-1]}
			for _, v := range c.values(ctx, words[:len(words)-1]) {
				if _, err := fmt.Fprintf(e.Stdout, "%s\t%s\n", cluster.Printable(v.Text), cluster.Printable(v.About)); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// completer finds what the last word of a command line can be.
type completer struct {
	env     *cluster.Env
	program Program
	root    *urfave.Command
	word    string // what is there of the word
}

// values returns the values that the word can have behind the words before it.
func (c *completer) values(ctx context.Context, before []string) []value {
	l := readLine(c.root, before)
	name, given, isFlag := flagName(c.word)
	switch {
	case l.open != nil:
		return c.of(ctx, l, flagValues[(*l.open).Names()[0]], "", c.word)
	case isFlag && given != nil && !l.literal:
		if f := findFlag(l.at, name); f != nil {
			prefix, _, _ := strings.Cut(c.word, "=")
			return c.of(ctx, l, flagValues[f.Names()[0]], prefix+"=", *given)
		}
		return nil
	case strings.HasPrefix(c.word, "-") && !l.literal:
		return c.flags(l.at)
	case len(visible(l.at)) > 0 && len(l.operands) == 0:
		var all []value
		for _, sub := range visible(l.at) {
			all = append(all, value{sub.Name, sub.Usage})
		}
		return matching(all, "", c.word)
	case len(l.path) > 0 && l.path[0] == helpWord:
		return c.topics(l.operands)
	default:
		return c.of(ctx, l, argumentValues[argument(l.at.ArgsUsage, len(l.operands))], "", c.word)
	}
}

// flags returns the flags of a command that begin with the word. A group without a command
// has those of its default.
func (c *completer) flags(at *urfave.Command) []value {
	if def := at.Command(at.DefaultCommand); at.DefaultCommand != "" && def != nil {
		at = def
	}
	all := []value{{"--help", "show this help"}}
	for _, f := range at.Flags {
		_, text := describeFlag(f)
		all = append(all, value{dashed(f.Names()[0]), text})
	}
	return matching(all, "", c.word)
}

// topics returns the commands of which there is help, below those that are named already.
func (c *completer) topics(path []string) []value {
	at := c.root
	for _, name := range path {
		if at = at.Command(name); at == nil {
			return nil
		}
	}
	var all []value
	for _, sub := range visible(at) {
		all = append(all, value{sub.Name, sub.Usage})
	}
	return matching(all, "", c.word)
}

// completeTime is how long a completion may ask the cluster: somebody waits at the keyboard.
const completeTime = time.Second

// of returns the values of a source that begin with the word, each with the prefix that is
// typed already. A source that asks the cluster finds it by the flags of the line.
func (c *completer) of(ctx context.Context, l line, s source, prefix, word string) (found []value) {
	var given []string // values before this one
	if comma := strings.LastIndexByte(word, ',') + 1; s.many && comma > 0 {
		given = strings.Split(word[:comma-1], ",")
		prefix, word = prefix+word[:comma], word[comma:]
	}
	if s.list != nil {
		return matching(without(s.list(), given), prefix, word)
	}
	if s.ask == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, completeTime)
	defer cancel()
	e := &cluster.Env{
		Settings: config.New(c.env.Env), Program: c.env.Program, Args: c.env.Args, Stdout: io.Discard, Stderr: io.Discard,
	}
	root := root(e, c.program, &runner{env: e, newApp: c.program.App})
	at := root
	for _, name := range l.path {
		at = at.Command(name)
	}
	at.ArgValidator = nil
	at.Action = e.Action(func(ctx context.Context, e *cluster.Env, _ []string) error {
		client, err := e.Connect(ctx)
		if err != nil {
			return err
		}
		defer client.Close()
		found, err = s.ask(ctx, client, word)
		return err
	})
	words := slices.Concat([]string{root.Name}, l.path, l.early, flagsOnly(l))
	_ = root.Run(ctx, words) // without an answer there is nothing to complete
	return matching(without(found, given), prefix, word)
}

// without returns the values whose texts are not among those that are given already.
func without(all []value, given []string) []value {
	return slices.DeleteFunc(all, func(v value) bool { return slices.Contains(given, v.Text) })
}

// flagsOnly returns the flags of a line that have their values: not the operands.
func flagsOnly(l line) []string {
	words := l.rest
	if at := slices.Index(words, "--"); at >= 0 {
		words = words[:at]
	}
	if l.open != nil {
		words = words[:len(words)-1]
	}
	return words
}

// matching returns the values that begin with the word, each behind the prefix.
func matching(all []value, prefix, word string) []value {
	var some []value
	for _, v := range all {
		if strings.HasPrefix(v.Text, word) {
			some = append(some, value{prefix + v.Text, v.About})
		}
	}
	return some
}

// argument returns the word for the n-th argument in a form such as "ID [VALUE]" or "NAME…",
// without brackets.
func argument(form string, n int) string {
	words := strings.Fields(form)
	if len(words) == 0 {
		return ""
	}
	last := words[len(words)-1]
	if n >= len(words) && !strings.Contains(last, "…") {
		return ""
	}
	return strings.Trim(words[min(n, len(words)-1)], "[]…")
}
