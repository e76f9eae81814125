package cli

import (
	"context"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/supervisor/cli/buscmd"
	"github.com/stellarfw/stellar/supervisor/cli/cachecmd"
	"github.com/stellarfw/stellar/supervisor/cli/callcmd"
	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/supervisor/cli/configcmd"
	"github.com/stellarfw/stellar/supervisor/cli/datacmd"
	"github.com/stellarfw/stellar/supervisor/cli/demo"
	"github.com/stellarfw/stellar/supervisor/cli/eventscmd"
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
"$0 run --help" lists its flags; "$0 config show" tells what they are set to.
Without a Redis it uses one of its own, in memory, that ends with the process.

   $0 --workers 4              start four nodes
   $0 status                   what lives, from another shell
   $0 enqueue TASK '{"hello":"world"}' --wait
   $0 tasks list --state dead  what failed for good, and why
   $0 call api.ping --all
   $0 cache keys 'user:*'
   $0 config check FILE        what is wrong with a configuration
   $0 demo                     count words while nodes crash`

// root returns the root command, which has all other commands below it.
func root(e *cluster.Env, program Program, r *runner) *urfave.Command {
	c := &urfave.Command{
		Name: program.Name, Usage: "a cluster of supervised nodes on one Redis", Version: program.Version, Description: description,
		Commands: slices.Concat(
			[]*urfave.Command{r.command()},
			setcmd.Commands(e), eventscmd.Commands(e), callcmd.Commands(e), buscmd.Commands(e), taskscmd.Commands(e),
			cachecmd.Commands(e), namespacecmd.Commands(e), datacmd.Commands(e), configcmd.Commands(e, program.App), demo.Commands(e),
			[]*urfave.Command{
				manual.Command(e.Env), versionCommand(e, program.Version), helpCommand(e), completionCommand(e), completeCommand(e, program),
			},
		),
		DefaultCommand: "run",
		Reader:         e.Stdin, Writer: e.Stdout, ErrWriter: e.Stderr,
		ExitErrHandler: func(context.Context, *urfave.Command, error) {}, // Main returns the exit code
	}
	share(c, program.Name, slices.Contains(e.Args, "--"))
	return c
}

// share sets the fields that all commands share, in c and the commands below it, and
// replaces $0 in their texts by the program's name. literal says that there is a -- on the
// command line.
func share(c *urfave.Command, program string, literal bool) {
	c.OnUsageError = config.ExplainUsage
	if !c.SkipFlagParsing { // the words of a line to complete are arguments, whatever they look like
		config.ExplainStrayFlags(c, literal)
	}
	c.HideHelp = true // readLine sees the flag --help and the command help
	// The library has every flag describe itself at every start, for help texts of its own.
	for _, f := range c.Flags {
		if s, ok := f.(urfave.StringerSetter); ok {
			s.SetStringer(func(f urfave.Flag) string { return f.Names()[0] })
		}
	}
	for _, text := range []*string{&c.Usage, &c.Description} {
		*text = strings.ReplaceAll(*text, "$0", program)
	}
	for _, sub := range c.Commands {
		share(sub, program, literal)
	}
}
