package cli

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/supervisor/cli/manual"
)

const description = `Stellar starts nodes that share a cache, a task queue, RPC and publish/subscribe
through Redis. They are supervised: a node that crashes starts again, and what it had
in hand runs on another one at once. All nodes of all processes in one namespace on
one Redis are one cluster.

Without a command it runs a set: "stellar --workers 4" is "stellar run --workers 4".
ITS FLAGS ARE LISTED BY "stellar run --help"; "stellar config show" tells what they are set to.
Without a Redis it uses one of its own, in memory, that ends with the process.

   stellar --workers 4                          start four nodes
   stellar status                               what lives, from another shell
   stellar enqueue echo '{"hello":"world"}' --wait
   stellar tasks list --state dead              what failed for good, and why
   stellar call api.ping --all
   stellar cache keys 'user:*'
   stellar config check stellar.yaml            what is wrong with a configuration
   stellar demo                                 count the words of a source tree while nodes crash`

// command is the whole command line.
func (p *program) command() *urfave.Command {
	root := &urfave.Command{
		Name: "stellar", Usage: "a cluster of supervised nodes on one Redis", Version: version(), Description: description,
		UsageText: "stellar [command] [flags] [arguments]",
		Commands: append([]*urfave.Command{
			p.runCommand(), p.statusCommand(), p.callCommand(), p.enqueueCommand(), p.tasksCommand(), p.cacheCommand(), p.configCommand(),
			p.demoCommand(), p.versionCommand(), manual.Command(p.Env),
		}, p.operateCommands()...),
		DefaultCommand:        "run",
		EnableShellCompletion: true,
		ConfigureShellCompletionCommand: func(c *urfave.Command) {
			c.Hidden = false
			c.Usage = "print the completion script for bash, zsh, fish or pwsh"
			p.settle(c)
		},
		ShellComplete: completeRoot,
		Reader:        p.Stdin, Writer: p.Stdout, ErrWriter: p.Stderr,
		ExitErrHandler: func(context.Context, *urfave.Command, error) {}, // Main decides how the process ends
		OnUsageError:   explain,
	}
	for _, c := range root.Commands {
		p.settle(c)
	}
	return root
}

// settle gives a command, and those below it, what all have in common.
func (p *program) settle(c *urfave.Command) {
	c.OnUsageError = explain
	c.HideHelpCommand = true // its name would stand in the way of an argument
	for _, sub := range c.Commands {
		p.settle(sub)
	}
}

// action checks all values before it does what a command is for.
func (p *program) action(f func(context.Context, []string) error) urfave.ActionFunc {
	return func(ctx context.Context, cmd *urfave.Command) error {
		p.input.use(cmd.Flags)
		if err := p.check(); err != nil {
			return err
		}
		return f(ctx, cmd.Args().Slice())
	}
}

// arguments says how many arguments a command takes.
func arguments(least, most int, form string) urfave.ArgValidatorFunc {
	return func(_ context.Context, cmd *urfave.Command) error {
		if n := cmd.Args().Len(); n < least || n > most {
			return usagef("%d arguments where %s is expected: see \"%s --help\"", n, form, cmd.FullName())
		}
		return nil
	}
}

// noArguments is for run, which is also what runs when the command is misspelt.
func noArguments(_ context.Context, cmd *urfave.Command) error {
	word := cmd.Args().First()
	if word == "" && cmd.Args().Len() == 0 {
		return nil
	}
	var known []string
	for _, c := range cmd.Root().Commands {
		if !c.Hidden {
			known = append(known, c.Name)
		}
	}
	if slices.Contains(known, word) {
		return usagef("put the command before its flags: stellar %s …", word)
	}
	return usagef("%q is not a command: use %s", word, strings.Join(known, ", "))
}

var invalidValue = regexp.MustCompile(`^invalid value (".*") for flag -(\S+): `)

// secretFlags are what somebody may try for want of knowing better.
var secretFlags = map[string]string{
	"redis-pass": redisPass, "redis-password": redisPass, "redisPass": redisPass, "password": redisPass,
	"token": "STELLAR_TOKEN", "token-also": "STELLAR_TOKEN_ALSO", "admin-token": adminToken,
}

// explain turns the library's words about a wrong command line into ours.
func explain(_ context.Context, cmd *urfave.Command, err error, _ bool) error {
	text := err.Error()
	more := fmt.Sprintf("see \"%s --help\"", cmd.FullName())
	if name, unknown := strings.CutPrefix(text, "flag provided but not defined: -"); unknown {
		if variable, secret := secretFlags[name]; secret {
			return usagef("unknown flag --%s: secrets do not belong on the command line: set %s or %s_FILE", name, variable, variable)
		}
		var known []string
		for _, f := range cmd.Flags {
			known = append(known, f.Names()...)
		}
		if like := nearest(name, known); like != "" {
			return usagef("unknown flag --%s: did you mean --%s? (%s)", name, like, more)
		}
		return usagef("unknown flag --%s (%s)", name, more)
	}
	if name, missing := strings.CutPrefix(text, "flag needs an argument: "); missing {
		return usagef("%s needs a value (%s)", name, more)
	}
	if m := invalidValue.FindStringSubmatch(text); m != nil {
		for _, f := range cmd.Flags {
			if typed, ok := f.(urfave.SchemaTyper); ok && slices.Contains(f.Names(), m[2]) {
				return usagef("--%s: %s is not %s", m[2], m[1], wants(typed.SchemaType()))
			}
		}
	}
	return usagef("%s (%s)", text, more)
}

// completeRoot completes the name of a command, or the flags of run.
func completeRoot(_ context.Context, cmd *urfave.Command) {
	args := cmd.Args().Slice()
	run := cmd.Command("run")
	if len(args) == 0 || run == nil || !strings.HasPrefix(args[len(args)-1], "-") {
		for _, c := range cmd.VisibleCommands() {
			_, _ = fmt.Fprintf(cmd.Writer, "%s:%s\n", c.Name, c.Usage)
		}
		return
	}
	for _, f := range run.VisibleFlags() {
		documented, ok := f.(urfave.DocGenerationFlag)
		name := "--" + f.Names()[0]
		if ok && strings.HasPrefix(name, args[len(args)-1]) {
			_, _ = fmt.Fprintf(cmd.Writer, "%s:%s\n", name, documented.GetUsage())
		}
	}
}
