package manual_test

import (
	"os"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/supervisor/cli/demo"
	"github.com/stellarfw/stellar/supervisor/cli/echo"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
)

// section returns the text of the page security below a heading, up to the next one.
func section(t *testing.T, heading string) string {
	t.Helper()
	text, err := os.ReadFile("security.md")
	require.NoError(t, err)
	_, below, ok := strings.Cut(string(text), "\n## "+heading+"\n")
	require.True(t, ok, heading)
	below, _, _ = strings.Cut(below, "\n## ")
	return below
}

// Every built-in task and method is in one row of the table, and every row is about some.
func TestTheManualListsWhatCallersCanHaveDone(t *testing.T) {
	app, err := echo.App()
	require.NoError(t, err)
	names := append(app.Tasks(), demo.TaskName)
	for _, m := range supervisortest.Start(t, app).Node("stellar-worker-1").API().RPC.Methods() {
		names = append(names, m.Name)
	}
	rows := map[string]int{} // by pattern, how many names match it
	for line := range strings.Lines(section(t, "What callers can have done")) {
		first, _, _ := strings.Cut(strings.TrimPrefix(line, "|"), "|")
		for _, span := range spanPattern.FindAllStringSubmatch(first, -1) {
			if strings.HasPrefix(line, "|") && !strings.Contains(span[1], " ") {
				rows[span[1]] = 0
			}
		}
	}
	for _, name := range names {
		found := 0
		for pattern := range rows {
			if ok, err := path.Match(pattern, name); ok {
				require.NoError(t, err)
				found++
				rows[pattern]++
			}
		}
		assert.Equal(t, 1, found, "rows about %s", name)
	}
	for pattern, n := range rows {
		assert.Positive(t, n, pattern)
	}
}
