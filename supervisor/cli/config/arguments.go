package config

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v3"
)

// Action returns the action of a command: it checks the values of all flags before
// it calls f with the arguments.
func (s *Settings) Action(f func(ctx context.Context, args []string) error) urfave.ActionFunc {
	return func(ctx context.Context, cmd *urfave.Command) error {
		s.Use(cmd.Flags)
		if err := s.Check(); err != nil {
			return err
		}
		return f(ctx, cmd.Args().Slice())
	}
}

// Arguments says how many arguments a command takes, and in which form.
func Arguments(least, most int, form string) urfave.ArgValidatorFunc {
	return func(_ context.Context, cmd *urfave.Command) error {
		if n := cmd.Args().Len(); n < least || n > most {
			return Usagef("%d arguments where %s is expected: see \"%s --help\"", n, form, cmd.FullName())
		}
		return nil
	}
}

// NoArguments is [Arguments] for a command without any.
func NoArguments(ctx context.Context, cmd *urfave.Command) error {
	return Arguments(0, 0, "none")(ctx, cmd)
}

// NoSuchCommand is for the default command of a group: its arguments can only be a
// misspelt command.
func NoSuchCommand(_ context.Context, cmd *urfave.Command) error {
	if word := cmd.Args().First(); cmd.Args().Len() > 0 {
		group := cmd.Lineage()[1]
		return Usagef("%q is not a command of %s: use %s", word, group.FullName(), subcommands(group))
	}
	return nil
}

// WhichCommand is the action of a group without a default command.
func WhichCommand(_ context.Context, cmd *urfave.Command) error {
	if word := cmd.Args().First(); word != "" {
		return Usagef("%q is not a command of %s: use %s", word, cmd.FullName(), subcommands(cmd))
	}
	return Usagef("%s: name what to do: %s", cmd.FullName(), subcommands(cmd))
}

func subcommands(group *urfave.Command) string {
	var names []string
	for _, c := range group.Commands {
		if !c.Hidden {
			names = append(names, c.Name)
		}
	}
	return strings.Join(names, ", ")
}

var invalidValue = regexp.MustCompile(`^invalid value (".*") for flag -(\S+): `)

// ExplainUsage turns the library's error about a wrong command line into one that
// says what to do.
func ExplainUsage(_ context.Context, cmd *urfave.Command, err error, _ bool) error {
	text := err.Error()
	more := fmt.Sprintf("see \"%s --help\"", cmd.FullName())
	if name, unknown := strings.CutPrefix(text, "flag provided but not defined: -"); unknown {
		if variable, secret := secretFlags[name]; secret {
			return Usagef("unknown flag --%s: secrets do not belong on the command line: set %s or %s_FILE", name, variable, variable)
		}
		var known []string
		for _, f := range cmd.Flags {
			known = append(known, f.Names()...)
		}
		if like := nearest(name, known); like != "" {
			return Usagef("unknown flag --%s: did you mean --%s? (%s)", name, like, more)
		}
		return Usagef("unknown flag --%s (%s)", name, more)
	}
	if name, missing := strings.CutPrefix(text, "flag needs an argument: "); missing {
		return Usagef("%s needs a value (%s)", name, more)
	}
	if m := invalidValue.FindStringSubmatch(text); m != nil {
		for _, f := range cmd.Flags {
			if slices.Contains(f.Names(), m[2]) {
				return Usagef("--%s: %s is not %s", m[2], m[1], describe(kindOf(f)))
			}
		}
	}
	return Usagef("%s (%s)", text, more)
}
