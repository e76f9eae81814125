package cli

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// testRedisLog is about the lines of the Redis client library in the built program.
func testRedisLog(t *testing.T, path string) {
	set := launch(t, path, home(t).with("REDIS_URL", "redis://127.0.0.1:1"), "--workers", "1", "--log-level", "debug")
	require.Equal(t, exitUnavailable, set.wait(t))
	require.Contains(t, set.err.String(), `"level":"debug","part":"redis client"`)
	for line := range strings.Lines(set.err.String()) {
		require.True(t, json.Valid([]byte(line)), line)
	}
	b := launch(t, path, home(t).with("REDIS_URL", "redis://127.0.0.1:1"), "status")
	require.Equal(t, exitUnavailable, b.wait(t))
	require.Equal(t, 1, strings.Count(b.err.String(), "\n"), "a command says it once")
}

// In every log line "task" is a task's id and "name" its name: who looks for a task finds
// all its lines, and an index of logs finds one type.
func TestTheFieldTaskIsTheIDOfATask(t *testing.T) {
	field := regexp.MustCompile(`\.([A-Z][A-Za-z]*)\("(tasks?)", ([^()]*(?:\([^()]*\))?)\)`)
	found := 0
	require.NoError(t, filepath.WalkDir("../..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range field.FindAllStringSubmatch(string(text), -1) {
			switch {
			case !strings.HasPrefix(m[1], "Str") && !strings.HasPrefix(m[1], "Int"): // no field of a log line
			case m[2] == "task":
				found++
				require.Regexp(t, `^Str$`, m[1], path)
				require.Regexp(t, `ID$`, m[3], path)
			default:
				found++
				require.Equal(t, "Strs", m[1], "%s: tasks are the ids of tasks: %s", path, m[0])
			}
		}
		return err
	}))
	require.Greater(t, found, 2)
}
