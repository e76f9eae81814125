package manual

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"strings"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/supervisor/cli/terminal"
)

// Command returns the command "manual [TOPIC]". Without a topic the command lists the
// topics; otherwise it shows the topic's page, through a pager on a terminal and as plain
// text elsewhere. It writes to the writer of the root command. env looks up environment
// variables, such as PAGER, NO_COLOR and COLUMNS.
func Command(env func(name string) (value string, set bool)) *urfave.Command {
	topics := Topics()
	c := &urfave.Command{
		Name: "manual", Usage: "read the manual", ArgsUsage: "[TOPIC]",
		Description: "Without a topic it lists them. On a terminal a page goes through $PAGER, or less; elsewhere it is plain text,\n" +
			"80 columns wide unless $COLUMNS says otherwise.",
	}
	c.Action = func(_ context.Context, cmd *urfave.Command) error {
		if word := cmd.Args().First(); cmd.Args().Present() {
			names := make([]string, len(topics))
			for i, t := range topics {
				names[i] = t.Name
			}
			return config.Usagef("%q is not a page of the manual: %s", word, config.Choose(word, names))
		}
		to := cmd.Root().Writer
		return writeList(to, terminal.TextWidth(terminal.Width(env, to)), cmd.Root().Name, topics)
	}
	for _, t := range topics {
		c.Commands = append(c.Commands, &urfave.Command{
			Name: t.Name, Usage: t.Summary, ArgValidator: config.NoArguments,
			Action: func(ctx context.Context, cmd *urfave.Command) error {
				return show(ctx, cmd.Root().Writer, env, cmd.Root().Name, t)
			},
		})
	}
	return c
}

// show writes a page, through a pager when w is a terminal.
func show(ctx context.Context, w io.Writer, env func(string) (string, bool), program string, t Topic) error {
	layout := layout{width: terminal.TextWidth(terminal.Width(env, w)), program: program}
	file, ok := terminal.File(w)
	if ok = ok && terminal.Is(w); ok {
		plain, _ := env("NO_COLOR")
		layout.styled = plain == ""
	}
	page := layout.render(t.text)
	if ok && throughPager(ctx, file, env, page) {
		return nil
	}
	_, err := w.Write(page)
	return err
}

// throughPager shows a page in the user's pager, and reports whether a pager could be
// started.
func throughPager(ctx context.Context, file *os.File, env func(string) (string, bool), page []byte) bool {
	pagers := [][]string{{"less", "-FRX"}, {"more"}}
	if own, set := env("PAGER"); set {
		pagers = [][]string{strings.Fields(own)} // an empty PAGER means none
	}
	for _, pager := range pagers {
		if len(pager) == 0 {
			continue
		}
		// Ctrl-C must not kill the pager, which restores the terminal when it ends.
		cmd := exec.CommandContext(context.WithoutCancel(ctx), pager[0], pager[1:]...) //nolint:gosec // the user's own program
		cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(page), file, file
		if _, set := env("LESS"); !set {
			cmd.Env = append(cmd.Environ(), "LESS=FRX")
		}
		if cmd.Start() != nil {
			continue
		}
		_ = cmd.Wait() // the exit code of the pager does not matter
		return true
	}
	return false
}
