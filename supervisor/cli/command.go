package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/supervisor/cli/buscmd"
	"github.com/stellarfw/stellar/supervisor/cli/cachecmd"
	"github.com/stellarfw/stellar/supervisor/cli/callcmd"
	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/supervisor/cli/configcmd"
	"github.com/stellarfw/stellar/supervisor/cli/demo"
	"github.com/stellarfw/stellar/supervisor/cli/manual"
	"github.com/stellarfw/stellar/supervisor/cli/namespacecmd"
	"github.com/stellarfw/stellar/supervisor/cli/setcmd"
	"github.com/stellarfw/stellar/supervisor/cli/taskscmd"
)

// In the texts of commands, $0 stands for the program's name.
const description = `$0 starts nodes that share a cache, a task queue, RPC and publish/subscribe
through Redis. They are supervised: a node that crashes starts again, and what it had
in hand runs on another one at once. All nodes of all processes in one namespace on
one Redis are one cluster.

Without a command it runs a set: "$0 --workers 4" is "$0 run --workers 4".
ITS FLAGS ARE LISTED BY "$0 run --help"; "$0 config show" tells what they are set to.
Without a Redis it uses one of its own, in memory, that ends with the process.

   $0 --workers 4                          start four nodes
   $0 status                               what lives, from another shell
   $0 enqueue TASK '{"hello":"world"}' --wait
   $0 tasks list --state dead              what failed for good, and why
   $0 call api.ping --all
   $0 cache keys 'user:*'
   $0 config check FILE                    what is wrong with a configuration
   $0 demo                                 count the words of a source tree while nodes crash`

// root returns the root command, which has all other commands below it.
func root(e *cluster.Env, program Program, r *runner) *urfave.Command {
	literal := slices.Contains(e.Args, "--")
	c := &urfave.Command{
		Name: program.Name, Usage: "a cluster of supervised nodes on one Redis", Version: program.Version, Description: description,
		UsageText: "$0 [command] [flags] [arguments]",
		Commands: slices.Concat(
			[]*urfave.Command{r.command()},
			setcmd.Commands(e), callcmd.Commands(e), buscmd.Commands(e), taskscmd.Commands(e), cachecmd.Commands(e), namespacecmd.Commands(e),
			configcmd.Commands(e, program.App), demo.Commands(e),
			[]*urfave.Command{manual.Command(e.Env), versionCommand(e, program.Version)},
		),
		DefaultCommand:        "run",
		EnableShellCompletion: true,
		ConfigureShellCompletionCommand: func(c *urfave.Command) {
			c.Hidden = false
			c.Usage = "print the completion script for bash, zsh, fish or pwsh"
			complete(c, program.Name, literal)
		},
		ShellComplete: completeRoot,
		Reader:        e.Stdin, Writer: e.Stdout, ErrWriter: e.Stderr,
		ExitErrHandler: func(context.Context, *urfave.Command, error) {}, // Main returns the exit code
	}
	complete(c, program.Name, literal)
	c.HideHelpCommand = false
	return c
}

// complete sets the fields that all commands share, in c and the commands below it, and
// replaces $0 in their texts by the program's name. literal says that there is a -- on the
// command line.
func complete(c *urfave.Command, program string, literal bool) {
	c.OnUsageError = config.ExplainUsage
	config.ExplainStrayFlags(c, literal)
	c.HideHelpCommand = true // a help command would capture an argument named help
	for _, text := range []*string{&c.Usage, &c.UsageText, &c.Description} {
		*text = strings.ReplaceAll(*text, "$0", program)
	}
	for _, sub := range c.Commands {
		complete(sub, program, literal)
	}
}

// commandOrNothing rejects any argument of run. As run is the default command, its
// argument is usually a misspelt command.
func commandOrNothing(_ context.Context, cmd *urfave.Command) error {
	if cmd.Args().Len() == 0 {
		return nil
	}
	word := cmd.Args().First()
	var known []string
	for _, c := range cmd.Root().VisibleCommands() {
		known = append(known, c.Name)
	}
	if slices.Contains(known, word) {
		return config.Usagef("put the command before its flags: %s %s …", cmd.Root().Name, word)
	}
	return config.Usagef("%q is not a command: use %s", word, strings.Join(known, ", "))
}

// completeRoot prints completions: the flags of run after a word that begins with "-",
// otherwise the names of commands.
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
