package manual

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/supervisor/cli/terminal"
)

// run runs "stellar manual …" with the variables and returns its output.
func run(t *testing.T, env map[string]string, args ...string) (string, error) {
	t.Helper()
	return runAs(t, "stellar", env, args...)
}

func runAs(t *testing.T, program string, env map[string]string, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	root := &urfave.Command{
		Name: program, Writer: &out, ExitErrHandler: func(context.Context, *urfave.Command, error) {},
		Commands: []*urfave.Command{Command(lookup(env))},
	}
	err := root.Run(t.Context(), append([]string{program, "manual"}, args...))
	return out.String(), err
}

func lookup(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, set := env[name]
		return value, set
	}
}

func TestTheListFitsATerminal(t *testing.T) {
	out, err := run(t, nil)
	require.NoError(t, err)
	for _, topic := range Topics() {
		assert.Contains(t, out, "  "+topic.Name+" ")
		assert.NotEmpty(t, topic.Summary)
	}
	for line := range strings.Lines(out) {
		assert.LessOrEqual(t, terminal.Columns(strings.TrimRight(line, "\n")), terminal.TextWidth(0), line)
	}
	assert.Contains(t, out, `"stellar manual TOPIC"`)
}

func TestAnotherProgramHasItsOwnName(t *testing.T) {
	out, err := runAs(t, "shop", nil)
	require.NoError(t, err)
	assert.Contains(t, out, `"shop manual TOPIC"`)
	assert.Contains(t, out, "Where a page says stellar, type shop.")
	_, err = runAs(t, "shop", nil, "nothing")
	require.ErrorContains(t, err, `"nothing" is not a page of the manual: use embed, tasks`)
}

func TestAPageInAPipeIsPlain(t *testing.T) {
	out, err := run(t, nil, "cache")
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(out, "Cache\n=====\n\nHow to share"), out)
	assert.NotContains(t, out, "\x1b")
	assert.NotContains(t, out, hardSpace)
}

func TestPagesKeepToTheirWidth(t *testing.T) {
	for _, width := range []string{"60", "80", "500"} {
		most := map[string]int{"60": 60, "80": 80, "500": terminal.TextWidth(1000)}[width]
		for _, topic := range Topics() {
			out, err := run(t, map[string]string{"COLUMNS": width}, topic.Name)
			require.NoError(t, err)
			for line := range strings.Lines(out) {
				line = strings.TrimRight(line, "\n")
				if n := terminal.Columns(line); n > most && strings.Contains(line, " ") && !strings.HasPrefix(line, codeIndent) {
					t.Errorf("%s at %s columns: a line of %d: %s", topic.Name, width, n, line)
				}
			}
		}
	}
}

func TestAnUnknownTopicNamesTheNearest(t *testing.T) {
	_, err := run(t, nil, "guarante")
	require.ErrorContains(t, err, `did you mean guarantees?`)
	require.ErrorIs(t, err, config.ErrUsage)
}

func TestThePagerShowsThePage(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "terminal"))
	require.NoError(t, err)
	defer file.Close()
	assert.False(t, throughPager(t.Context(), file, lookup(map[string]string{"PAGER": ""}), []byte("page\n")), "none is wanted")
	assert.False(t, throughPager(t.Context(), file, lookup(map[string]string{"PAGER": "no-such-program"}), []byte("page\n")))
	assert.True(t, throughPager(t.Context(), file, lookup(map[string]string{"PAGER": "cat -n"}), []byte("page\n")))
	shown, err := os.ReadFile(file.Name())
	require.NoError(t, err)
	assert.Equal(t, "     1\tpage\n", string(shown))
}

const sample = "# A title\n\nSome *words* with `a piece of code`, the page [tasks](tasks.md), [its end](tasks.md#end) and\n" +
	"[a site](https://example.org).\n\n<!-- no text -->\n\n## Below\n\n1. one\n2. two, which is so long that it\n   needs more than a line\n   - inner\n\n" +
	"| a | column |\n|---|---|\n| x | y |\n| `z` | a cell that is too long for the width |\n\n```go\nif x {\n\ty()\n}\n```\n"

func TestRender(t *testing.T) {
	assert.Equal(t, `A title
=======

Some words with
`+"`a piece of code`"+`, the page
tasks, its end (shop manual
tasks) and a site
(https://example.org).

Below
-----

1. one
2. two, which is so long that it
   needs more than a line
   - inner

a    column
---  ---------------------------
x    y

`+"`z`"+`  a cell that is too long for
     the width

    if x {
        y()
    }
`, string(layout{width: 32, program: "shop"}.render([]byte(sample))))
}

func TestATableOfLongWordsIsStacked(t *testing.T) {
	const table = "| address | what |\n|---|---|\n| a-word-as-long-as-this | one server |\n| b | two |\n"
	assert.Equal(t, "a-word-as-long-as-this\n    one server\nb\n    two\n", string(layout{width: 24}.render([]byte(table))))
}

func TestACellMayHaveAnEscapedBar(t *testing.T) {
	const table = "| a | b |\n|---|---|\n| `x \\| y` | z \\| w |\n"
	assert.Equal(t, "a        b\n-------  -----\n`x | y`  z | w\n", string(layout{width: 40}.render([]byte(table))))
	out, err := run(t, nil, "exit-codes")
	require.NoError(t, err)
	assert.Contains(t, strings.Join(strings.Fields(out), " "), "`stellar tasks list | head`); a set goes on")
}

func TestRenderStyled(t *testing.T) {
	out := string(layout{width: 40, styled: true, program: "shop"}.render([]byte(sample)))
	assert.Contains(t, out, "\x1b[1mA\x1b[0m \x1b[1mtitle\x1b[0m\n=======\n")
	assert.Contains(t, out, "\x1b[36mz\x1b[0m  a cell", "a style takes no column")
	assert.NotContains(t, out, "`")
}
