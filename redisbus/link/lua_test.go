package link_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	luaName    = regexp.MustCompile(`^([a-z/]+): \S`)
	luaScript  = regexp.MustCompile(`(?m)^return\b`) // a snippet only defines what scripts use
	luaWord    = regexp.MustCompile(`return [^\n]*\{'([A-Z]+)'`)
	luaCounted = regexp.MustCompile(`^(KEYS|ARGV) (for each )?1(\.\.)? \S`)
)

// Every Lua file begins with "name: purpose"; a script goes on with KEYS, ARGV and
// Returns, where it has them, and names every word that it refuses with.
func TestLuaFilesHaveOneHeader(t *testing.T) {
	root, files := filepath.Join("..", ".."), 0
	require.NoError(t, filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".lua" {
			return err // the scripts of tasks are moving
		}
		files++
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		_, name, found := strings.Cut(filepath.ToSlash(path), "/lua/")
		require.True(t, found, "%s: scripts stand in a folder lua", path)
		checkHeader(t, path, strings.TrimSuffix(name, ".lua"), string(text))
		return nil
	}))
	require.Greater(t, files, 50)
}

func checkHeader(t *testing.T, path, name, text string) {
	t.Helper()
	var header []string
	for line := range strings.Lines(text) {
		line, isComment := strings.CutPrefix(line, "--")
		if !isComment {
			break
		}
		header = append(header, strings.TrimPrefix(strings.TrimSuffix(line, "\n"), " "))
	}
	require.NotEmpty(t, header, "%s: no header", path)
	got := luaName.FindStringSubmatch(header[0])
	require.NotNil(t, got, "%s: begin with %q", path, "-- "+name+": purpose")
	require.Equal(t, name, got[1], "%s: the name in the header", path)
	if !luaScript.MatchString(text) {
		return
	}
	code := strings.Join(strings.Split(text, "\n")[len(header):], "\n")
	var parts []string
	for _, line := range header {
		if word, _, _ := strings.Cut(line, " "); word == "KEYS" || word == "ARGV" || word == "Returns" {
			parts = append(parts, word)
			require.True(t, word == "Returns" || luaCounted.MatchString(line), "%s: %q: number the arguments: 1 name  2 name", path, line)
		}
	}
	want := []string{"KEYS", "ARGV", "Returns"}
	if !strings.Contains(strings.Join(parts, " "), "ARGV") {
		require.NotContains(t, code, "ARGV", "%s: ARGV is not explained", path)
		want = []string{"KEYS", "Returns"}
	}
	require.Equal(t, want, parts, "%s: the parts of the header", path)
	_, returns, _ := strings.Cut(strings.Join(header, "\n"), "\nReturns ")
	for _, word := range luaWord.FindAllStringSubmatch(code, -1) {
		require.Contains(t, returns, "{'"+word[1]+"'", "%s: the header does not say when it returns this", path)
	}
}
