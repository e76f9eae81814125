package manual_test

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
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
	names := append(app.Tasks(), demo.TaskName, demo.TreeTask)
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

// licences are texts that only one licence has.
var licences = map[string]string{
	"MIT": "Permission is hereby granted, free of charge", "Apache-2.0": "Apache License", "MPL-2.0": "Mozilla Public License Version 2.0",
	"BSD-2-Clause": "Redistribution and use in source and binary forms", "BSD-3-Clause": "Neither the name of",
}

// The table of dependencies names those of go.mod and no others, each with its licence and
// the month of its release, and says rightly which of them the program has in it.
func TestTheManualNamesTheDependencies(t *testing.T) {
	list := func(args ...string) []string {
		output, err := exec.CommandContext(t.Context(), "go", append([]string{"-C", root, "list"}, args...)...).Output()
		require.NoError(t, err)
		return strings.Split(strings.TrimSpace(string(output)), "\n")
	}
	linked := list("-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", ".")
	rows := map[string][]string{}
	for line := range strings.Lines(section(t, "Dependencies")) {
		if cells := strings.Split(line, "|"); len(cells) > 3 {
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			rows[strings.Trim(cells[1], "`")] = cells[2:]
		}
	}
	delete(rows, "module")
	delete(rows, "---")
	for _, line := range list("-m", "-f", "{{if not (or .Main .Indirect)}}{{.Path}} {{.Dir}} {{with .Time}}{{.Format \"2006-01\"}}{{end}}{{end}}", "all") {
		path, rest, ok := strings.Cut(line, " ")
		if !ok {
			continue
		}
		dir, released, _ := strings.Cut(rest, " ")
		row := rows[path]
		if !assert.NotNil(t, row, "a row about %s is missing", path) {
			continue
		}
		delete(rows, path)
		files, err := filepath.Glob(filepath.Join(dir, "LICENSE*"))
		require.NoError(t, err)
		require.NotEmpty(t, files, path)
		text, err := os.ReadFile(files[0])
		require.NoError(t, err)
		for licence := range strings.SplitSeq(row[0], ", ") {
			require.NotEmpty(t, licences[licence], "%s: %s", path, licence)
			assert.Contains(t, string(text), licences[licence], path)
		}
		assert.Equal(t, strings.Contains(row[0], "BSD-3-Clause"), strings.Contains(string(text), licences["BSD-3-Clause"]), path)
		if released != "" { // it is known where the module was downloaded
			assert.Equal(t, released, row[1], path)
		}
		assert.Equal(t, slices.Contains(linked, path), !strings.HasPrefix(row[2], "tests: "), path)
	}
	assert.Empty(t, rows, "go.mod has no such modules")
}
