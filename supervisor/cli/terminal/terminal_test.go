package terminal_test

import (
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/supervisor/cli/terminal"
)

var rows = [][]string{
	{"ID", "STATE", "WHEN", "PAYLOAD"},
	{"order:17", "delayed", "in 5h0m0s", `{"to":"ada@example.org","subject":"a longer text of words"}`},
	{"order:18", "dead", "3s ago", ""},
}

func TestATableFitsIntoItsWidth(t *testing.T) {
	for width := 24; width < 120; width++ {
		lines := terminal.Table(rows, width)
		for _, line := range lines {
			require.LessOrEqual(t, terminal.Columns(line), width, "%d: %s", width, strings.Join(lines, "\n"))
			require.Equal(t, strings.TrimRight(line, " "), line)
		}
		all := strings.Join(strings.Fields(strings.Join(lines, "")), "")
		for _, row := range rows[1:] {
			require.Contains(t, all, strings.ReplaceAll(row[0], " ", ""), "%d columns", width)
		}
		letters := func(text string) (n int) { return strings.Count(text, "a") }
		require.GreaterOrEqual(t, letters(all), letters(rows[1][3]), "nothing is cut")
	}
	require.Equal(t, []string{
		"ID        STATE    WHEN       PAYLOAD",
		`order:17  delayed  in 5h0m0s  {"to":"ada@example.org","subject":"a longer text of words"}`,
		"order:18  dead     3s ago",
	}, terminal.Table(rows, 0))
	require.Equal(t, []string{
		"ID        STATE    WHEN    PAYLOAD",
		`order:17  delayed  in      {"to":"ada@example.org","s`,
		`                   5h0m0s  ubject":"a longer text of`,
		`                           words"}`,
		"order:18  dead     3s ago",
	}, terminal.Table(rows, 53))
	require.Equal(t, []string{
		"ID       order:17", "STATE    delayed", "WHEN     in 5h0m0s", `PAYLOAD  {"to":"ada@examp`, `         le.org","subject`, `         ":"a longer text`, `         of words"}`,
		"", "ID       order:18", "STATE    dead", "WHEN     3s ago",
	}, terminal.Table(rows, 25))
}

// A folded command is the same command for a shell.
func TestAFoldedCommandIsTheSameCommand(t *testing.T) {
	const command = `printf '%s|' call api.log '["hello", "warn"]' --node "a b" x`
	want, err := exec.CommandContext(t.Context(), "sh", "-c", command).Output()
	require.NoError(t, err)
	for width := 1; width < 70; width++ {
		lines := terminal.Fold(command, width)
		got, err := exec.CommandContext(t.Context(), "sh", "-c", strings.Join(lines, "\n")).Output()
		require.NoError(t, err)
		require.Equal(t, string(want), string(got), "%d columns", width)
		for _, line := range lines {
			require.LessOrEqual(t, terminal.Columns(line), max(width, len(`'["hello", "warn"]' \`)), "%d: %s", width, line)
		}
	}
	require.Equal(t, []string{command}, terminal.Fold(command, 80))
}

func TestTheWidthOfAStream(t *testing.T) {
	env := func(columns string) func(string) (string, bool) {
		return func(string) (string, bool) { return columns, columns != "" }
	}
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close()
	require.Equal(t, 60, terminal.Width(env("60"), w))
	for _, columns := range []string{"", "0", "-5", "many"} {
		require.Zero(t, terminal.Width(env(columns), w), "a pipe has none: %q", columns)
	}
	require.Equal(t, []int{80, 40, 77, 100}, []int{terminal.TextWidth(0), terminal.TextWidth(7), terminal.TextWidth(77), terminal.TextWidth(1000)})
	f, ok := terminal.File(wrapped{w})
	require.True(t, ok)
	require.Equal(t, w, f)
	require.False(t, terminal.Is(wrapped{w}))
	_, ok = terminal.File(&strings.Builder{})
	require.False(t, ok)
}

type wrapped struct{ io.Writer }

func (w wrapped) Unwrap() io.Writer { return w.Writer }
