package manual_test

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	spanPattern = regexp.MustCompile("`([^`]+)`")
	namePattern = regexp.MustCompile(`^([a-z]+)\.([A-Z]\w*)`)
	flagPattern = regexp.MustCompile(`--([a-zA-Z][a-zA-Z-]*)`)
)

// Names of the API in sentences and tables are not compiled with the blocks.
func TestNamesInProseExist(t *testing.T) {
	packages := exported(t)
	paths := map[string]string{}
	imported, err := preludeImports()
	require.NoError(t, err)
	for _, path := range imported {
		paths[path[strings.LastIndex(path, "/")+1:]] = path
	}
	for _, d := range documents(t) {
		for _, span := range spanPattern.FindAllStringSubmatch(d.prose(), -1) {
			name := namePattern.FindStringSubmatch(span[1])
			if len(name) == 0 || paths[name[1]] == "" {
				continue
			}
			pkg, err := packages.Import(paths[name[1]])
			require.NoError(t, err)
			assert.NotNil(t, pkg.Scope().Lookup(name[2]), "%s: %s", d.path, span[1])
		}
	}
}

func TestFlagsInProseExist(t *testing.T) {
	var help strings.Builder
	for _, command := range []string{"run", "enqueue", "call", "roll", "tasks list", "tasks cancel", "tasks limit", "tasks rerun", "demo", "cache import", "cache clear", "subscribe", "data restore"} {
		args := append(strings.Fields(command), "--help")
		output, err := exec.CommandContext(t.Context(), binary(t), args...).CombinedOutput()
		require.NoError(t, err, "%s", output)
		help.Write(output)
	}
	for _, d := range documents(t) {
		for _, span := range spanPattern.FindAllStringSubmatch(d.prose(), -1) {
			for _, flag := range flagPattern.FindAllStringSubmatch(span[1], -1) {
				assert.Regexp(t, "--"+flag[1]+`\b`, help.String(), d.path)
			}
		}
	}
}
