package cli

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	urfave "github.com/urfave/cli/v3"
)

// everyCommand returns the names of every command and group, the hidden ones excepted.
func everyCommand(root *urfave.Command) (paths [][]string) {
	for _, c := range root.Commands {
		if c.Hidden {
			continue
		}
		paths = append(paths, []string{c.Name})
		for _, below := range everyCommand(c) {
			paths = append(paths, append([]string{c.Name}, below...))
		}
	}
	return paths
}

func TestEveryCommandHasHelp(t *testing.T) {
	t.Parallel()
	known, _ := tree(nil)
	for _, path := range append(everyCommand(known), nil) {
		want := stellar(t, home(t), append([]string{"help"}, path...)...)
		require.Zero(t, want.code, want.err)
		require.Contains(t, want.out, "USAGE:\n   "+strings.Join(append([]string{"stellar"}, path...), " "))
		for _, flag := range []string{"--help", "-h"} {
			require.Equal(t, want, stellar(t, home(t), append(slices.Clone(path), flag)...), path)
		}
		for _, width := range []string{"40", "60", "80", "100", "200"} {
			r := stellar(t, home(t).with("COLUMNS", width), append([]string{"help"}, path...)...)
			for line := range strings.SplitSeq(r.out, "\n") {
				most := map[string]int{"40": 48, "60": 60, "80": 80, "100": 100, "200": 100}[width] // an address is not broken
				require.LessOrEqual(t, utf8.RuneCountInString(line), most, "%v: %s", path, line)
			}
		}
		if redis := strings.Index(want.out, "\nREDIS:\n"); redis >= 0 {
			require.Less(t, strings.Index(want.out, "\nFLAGS:\n"), redis)
			require.NotContains(t, want.out[:redis], "--redis-", "%v: one group", path)
			require.NotRegexp(t, `(?m)^[A-Z ]+:$`, want.out[redis+len("\nREDIS:"):], "%v: the last group", path)
		}
		require.NotContains(t, want.out, "`")
		told := map[string]bool{}
		for _, flag := range regexp.MustCompile(`(?m)^ {3}(?:-\w, )?(--[\w-]+)`).FindAllStringSubmatch(want.out, -1) {
			require.False(t, told[flag[1]], "%v: %s twice", path, flag[1])
			told[flag[1]] = true
		}
		require.NotRegexp(t, `\[ --|\((TIME|N|ID|QUEUE)\)`, want.out)
	}
	require.Equal(t, stellar(t, home(t), "help"), stellar(t, home(t), "--help"))
	require.Zero(t, stellar(t, home(t), "help", "--help").code)
	require.Equal(t, stellar(t, home(t), "help", "tasks").out, stellar(t, home(t), "tasks", "help").out)
}

func TestFlagsMayStandBeforeTheCommand(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, at place) {
		for _, args := range [][]string{
			{"-o", "json", "tasks", "stats"}, {"--output=json", "tasks", "stats"}, {"tasks", "-o", "json"}, {"tasks", "-o", "json", "stats"},
			{"-o", "json", "tasks"}, {"tasks", "stats", "-o", "json"},
		} {
			r := stellar(t, at.env, args...)
			require.Zero(t, r.code, r.err)
			require.Contains(t, r.out, `"counts": {`, args)
		}
		require.Zero(t, stellar(t, at.env, "--ttl", "1h", "cache", "--if-absent", "set", "k", "1").code)
		require.Equal(t, "[\n  \"k\"\n]\n", stellar(t, at.env, "cache", "-o", "json", "keys").out)
		require.Equal(t, "k\n", stellar(t, at.env.with("STELLAR_NAMESPACE", "other"), "--namespace", "stellar", "cache", "keys").out)
	})
	for _, args := range [][]string{{"-o", "xml", "status"}, {"--all", "status"}, {"-o"}, {"--queue", "cancel", "status"}} {
		require.Equal(t, 2, stellar(t, home(t), args...).code, args)
	}
}

func TestAMisspeltWordIsGuessed(t *testing.T) {
	t.Parallel()
	known, _ := tree(nil)
	for _, path := range everyCommand(known) {
		word := path[len(path)-1]
		if path[0] == "completion" && len(path) > 1 { // four shells, as short as that
			continue
		}
		for i := range word {
			misspelt := append(slices.Clone(path[:len(path)-1]), word[:i]+word[i+1:])
			if slices.ContainsFunc(everyCommand(known), func(p []string) bool { return slices.Equal(p, misspelt) }) {
				continue
			}
			r := stellar(t, home(t), misspelt...)
			require.Equal(t, 2, r.code, misspelt)
			require.Contains(t, r.err, ": did you mean ", misspelt)
			r = stellar(t, home(t), append([]string{"help"}, misspelt...)...)
			require.Equal(t, 2, r.code, misspelt)
			require.Contains(t, r.err, ": did you mean ", misspelt)
		}
	}
	require.Contains(t, stellar(t, home(t), "statu").err, `"statu" is not a command: did you mean status? There is run,`)
	require.Contains(t, stellar(t, home(t), "enq").err, "did you mean enqueue?")
	require.NotContains(t, stellar(t, home(t), "frobnicate").err, "did you mean")
	require.Equal(t, "stellar: unknown flag -x (see \"stellar status --help\")\n", stellar(t, home(t), "status", "-x").err)
}

// The flags of a misspelt command do not hide that it is misspelt.
func TestAMisspeltCommandWithFlagsIsGuessed(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"staus -o json":             `"staus" is not a command: did you mean status?`,
		"-o json staus":             `"staus" is not a command: did you mean status?`,
		"-o json frob":              `"frob" is not a command: use run, `,
		"enque echo 1 --wait":       `"enque" is not a command: did you mean enqueue?`,
		"taks list --state dead":    `"taks" is not a command: did you mean tasks?`,
		"taks list --frob":          `"taks" is not a command: did you mean tasks?`,
		"tasks lst --state dead":    `"lst" is not a command of stellar tasks: did you mean list?`,
		"tasks lst --help":          `"lst" is not a command of stellar tasks: did you mean list?`,
		"tasks --state dead lst":    `"lst" is not a command of stellar tasks: did you mean list?`,
		"tasks periodic rn -o json": `"rn" is not a command of stellar tasks periodic: did you mean run?`,
		"cache kyes -o json":        `"kyes" is not a command of stellar cache: did you mean keys?`,
		"manual taks --frob":        `"taks" is not a page of the manual: did you mean tasks?`,
		"--wrokers 4":               "unknown flag --wrokers: did you mean --workers?", // 4 is no command
	} {
		r := stellar(t, home(t), strings.Fields(args)...)
		require.Equal(t, 2, r.code, args)
		if strings.Contains(args, "-o json") {
			var said struct {
				Error string `json:"error"`
			}
			require.NoError(t, json.Unmarshal([]byte(r.err), &said), "%s: %s", args, r.err)
			r.err = said.Error
		}
		require.Contains(t, r.err, want, args)
	}
}

// Every command takes -o: those that print no documents write their errors so.
func TestEveryErrorOfTheCommandLineIsThereAsJSON(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"run --frob":                 "unknown flag --frob",
		"--workers many":             `--workers: \"many\" is not`,
		"run extra":                  `\"extra\" is an argument too many`,
		"manual taks":                `\"taks\" is not a page of the manual`,
		"help staus":                 `\"staus\" is not a command`,
		"completion sh":              `\"sh\" is not a command of stellar completion`,
		"completion":                 "name a command of stellar completion: ",
		"completion bash extra":      `\"extra\" is an argument too many`,
		"cache":                      "name a command of stellar cache: ",
		"demo /no/such/directory":    "/no/such/directory",
		"demo --crash-every -3s":     "--crash-every: -3s is negative",
		"config check /no/such/file": "/no/such/file",
		"version extra":              `\"extra\" is an argument too many`,
	} {
		words := strings.Fields(args)
		before, behind := append([]string{"-o", "json"}, words...), append(slices.Clone(words), "--output=json")
		for _, words := range [][]string{before, behind} {
			r := stellar(t, home(t), words...)
			require.NotZero(t, r.code, words)
			require.Regexp(t, `^\{"error":".*","exitCode":\d+\}\n$`, r.err, words)
			require.Contains(t, r.err, want, words)
		}
	}
	for args, want := range map[string]string{
		"run -o xml": `--output: "xml" is neither table nor json`, "-o xml help": `--output: "xml" is neither table nor json`,
		"manual -o": "-o needs a value", "status -o": "-o needs a value",
	} {
		r := stellar(t, home(t), strings.Fields(args)...)
		require.Equal(t, 2, r.code, args)
		require.Contains(t, r.err, want, args)
	}
	require.Equal(t, stellar(t, home(t), "manual", "tasks"), stellar(t, home(t), "-o", "json", "manual", "tasks"))
	require.Equal(t, []string{"json"}, completed(t, home(t), "run", "-o", "j"))
}

// A word too many behind a command is not taken for a command of its group.
func TestAWordTooManyIsAnArgument(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"run", "tasks stats", "tasks periodic list", "namespace list", "version", "manual tasks"} {
		r := stellar(t, home(t), append(strings.Fields(command), "extra")...)
		require.Equal(t, result{2, "", fmt.Sprintf("stellar: \"extra\" is an argument too many: \"stellar %s\" takes none, see \"stellar %[1]s --help\"\n", command)}, r)
	}
}
