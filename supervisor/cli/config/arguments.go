package config

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker"
)

// Action returns the action of a command. The action checks the values of all flags,
// then calls f with the arguments.
func (s *Settings) Action(f func(ctx context.Context, args []string) error) urfave.ActionFunc {
	return func(ctx context.Context, cmd *urfave.Command) error {
		s.Use(cmd.Flags)
		if err := s.Check(); err != nil {
			return err
		}
		return f(ctx, cmd.Args().Slice())
	}
}

// SetAction returns the action of a command with the flags of run. The action prepares a
// set, then calls f.
func (s *Settings) SetAction(newApp func() (*worker.App, error), f func(context.Context, Prepared) error) urfave.ActionFunc {
	return func(ctx context.Context, cmd *urfave.Command) error {
		s.Use(cmd.Flags)
		p, err := s.Prepare(ctx, newApp)
		if err != nil {
			return err
		}
		return f(ctx, p)
	}
}

// Arguments returns a validator for a command that takes least to most arguments, of the given
// form. Its error is an [ErrUsage] that says which are missing, or which is too many.
func Arguments(least, most int, form string) urfave.ArgValidatorFunc {
	return func(_ context.Context, cmd *urfave.Command) error {
		switch given := cmd.Args().Slice(); {
		case len(given) < least:
			missing := strings.Fields(form)[len(given):least]
			return Usagef("%s missing: use \"%s %s\", see \"%[2]s --help\"", are(missing), cmd.FullName(), form)
		case len(given) > most && most == 0:
			return Usagef("%q is an argument too many: \"%s\" takes none, see \"%[2]s --help\"", given[0], cmd.FullName())
		case len(given) > most:
			return Usagef("%q is an argument too many: use \"%s %s\", see \"%[2]s --help\"", given[most], cmd.FullName(), form)
		default:
			return nil
		}
	}
}

// are returns the words as the subject of a sentence, with its verb.
func are(words []string) string {
	if len(words) == 1 {
		return words[0] + " is"
	}
	return strings.Join(words, " and ") + " are"
}

// NoArguments returns an [ErrUsage] if the command was given arguments.
func NoArguments(ctx context.Context, cmd *urfave.Command) error {
	return Arguments(0, 0, "")(ctx, cmd)
}

// WhichCommand is the action of a command group without a default command. It returns
// an [ErrUsage] that lists the group's subcommands.
func WhichCommand(_ context.Context, cmd *urfave.Command) error {
	if word := cmd.Args().First(); word != "" {
		return NoSuchCommandOf(cmd, cmd.FullName(), word)
	}
	return Usagef("name a command of %s: %s", cmd.FullName(), strings.Join(subcommands(cmd), ", "))
}

// NoSuchCommandOf returns the [ErrUsage] for a word that is not a command of the group, whose
// full name is path, "" for the program itself.
func NoSuchCommandOf(group *urfave.Command, path, word string) error {
	if path != "" {
		path = " of " + path
	}
	known := subcommands(group)
	if len(known) == 0 {
		return Usagef("%q is not a command%s: it has none", word, path)
	}
	return Usagef("%q is not a command%s: %s", word, path, Choose(word, known))
}

// Choose returns the end of an error about an unknown word: which of the known words may have
// been meant, the most similar or the only one that begins so, and all of them.
func Choose(word string, known []string) string {
	all := strings.Join(known, ", ")
	like := link.Nearest(word, known)
	if like == "" && word != "" {
		begins := slices.DeleteFunc(slices.Clone(known), func(k string) bool { return !strings.HasPrefix(k, word) })
		if len(begins) == 1 {
			like = begins[0]
		}
	}
	if like == "" {
		return "use " + all
	}
	return fmt.Sprintf("did you mean %s? There is %s", like, all)
}

func subcommands(group *urfave.Command) []string {
	var names []string
	for _, c := range group.Commands {
		if !c.Hidden {
			names = append(names, c.Name)
		}
	}
	return names
}

// ExplainStrayFlags makes the command tell which of its arguments look like flags that were
// meant as such: the flag library takes everything behind -- and behind a negative number
// for arguments. literal says that there is a -- on the command line.
func ExplainStrayFlags(c *urfave.Command, literal bool) {
	validate, action := c.ArgValidator, c.Action
	c.ArgValidator = func(ctx context.Context, cmd *urfave.Command) error {
		if flag, number := strayFlag(cmd.Args().Slice()); flag != "" && !literal {
			return Usagef("%s comes after %s and counts as an argument: put flags before a negative number%s", flag, number, suggest(flag, cmd))
		}
		if validate == nil {
			return nil
		}
		return explainStray(cmd, validate(ctx, cmd))
	}
	if action != nil {
		c.Action = func(ctx context.Context, cmd *urfave.Command) error { return explainStray(cmd, action(ctx, cmd)) }
	}
}

// explainStray adds to an [ErrUsage] that one of the arguments looks like a flag.
func explainStray(cmd *urfave.Command, err error) error {
	flag, _ := strayFlag(cmd.Args().Slice())
	if flag == "" || !errors.Is(err, ErrUsage) {
		return err
	}
	return As(err, fmt.Errorf("%w; %s comes after -- and counts as an argument: put flags before it%s", err, flag, suggest(flag, cmd)))
}

// strayFlag returns the first argument that looks like a flag, and the argument before it
// that begins with a minus and is none, such as -5.
func strayFlag(args []string) (flag, number string) {
	for _, arg := range args {
		if name := strings.TrimLeft(arg, "-"); name == arg || name == "" {
			continue
		} else if r, _ := utf8.DecodeRuneInString(name); unicode.IsLetter(r) {
			return arg, number
		}
		number = cmp.Or(number, arg)
	}
	return "", number
}

// suggest names the flag of the command that is meant by one that it does not have.
func suggest(flag string, cmd *urfave.Command) string {
	name, _, _ := strings.Cut(strings.TrimLeft(flag, "-"), "=")
	like := link.Nearest(name, flagNames(cmd))
	if like == "" || like == name {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", dashed(like))
}

// dashed returns the name of a flag as it is typed.
func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

func flagNames(cmd *urfave.Command) (names []string) {
	for _, f := range cmd.Flags {
		names = append(names, f.Names()...)
	}
	return names
}

var invalidValue = regexp.MustCompile(`^invalid value (".*") for flag -(\S+): `)

// ExplainUsage replaces the flag library's error about a wrong command line with an
// [ErrUsage] that suggests the right flag or the kind of value that is needed.
func ExplainUsage(_ context.Context, cmd *urfave.Command, err error, _ bool) error {
	text := err.Error()
	more := fmt.Sprintf("see \"%s --help\"", cmd.FullName())
	if name, unknown := strings.CutPrefix(text, "flag provided but not defined: -"); unknown {
		if variable := secretVariable(name); variable != "" {
			return Usagef("unknown flag --%s: secrets do not belong on the command line: set %s or %s_FILE", name, variable, variable)
		}
		if cmd.ArgsUsage != "" {
			more += "; put -- before arguments that begin with -"
		}
		if like := link.Nearest(name, flagNames(cmd)); like != "" {
			return Usagef("unknown flag %s: did you mean %s? (%s)", dashed(name), dashed(like), more)
		}
		return Usagef("unknown flag %s (%s)", dashed(name), more)
	}
	if name, missing := strings.CutPrefix(text, "flag needs an argument: "); missing {
		return Usagef("%s needs a value (%s)", name, more)
	}
	if m := invalidValue.FindStringSubmatch(text); m != nil {
		for _, f := range cmd.Flags {
			if slices.Contains(f.Names(), m[2]) {
				return Usagef("%s: %s is not %s", dashed(m[2]), m[1], describe(kindOf(f)))
			}
		}
	}
	return Usagef("%s (%s)", text, more)
}
