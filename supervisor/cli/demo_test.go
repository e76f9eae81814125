package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/redistest"
)

// eachDemo runs the scenario where the demo finds an embedded Redis and a real one.
func eachDemo(t *testing.T, scenario func(t *testing.T, env environment)) {
	t.Helper()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		scenario(t, home(t))
	})
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		cfg := redistest.Start(t).Config()
		scenario(t, home(t).with("REDIS_URL", cfg.URL))
		keys, err := redistest.Client(t, cfg).Keys(t.Context(), "*").Result()
		require.NoError(t, err)
		require.Empty(t, keys, "it removes what it stored")
	})
}

func TestDemo(t *testing.T) {
	t.Parallel()
	eachDemo(t, func(t *testing.T, env environment) {
		r := stellar(t, env, "demo", "..", "--workers", "3", "--crash-every", "50ms", "--concurrency", "2")
		require.Zero(t, r.code, r.out+r.err)
		require.Contains(t, r.out, "3 nodes on")
		require.Contains(t, r.out, "The sums are equal")
		require.Regexp(t, `tasks +\d+ \(one for each file\)`, r.out)
		require.NotContains(t, r.out, "\x1b", "no bar where there is no terminal")
	})
}

func TestDemoInSteps(t *testing.T) {
	t.Parallel()
	eachDemo(t, func(t *testing.T, env environment) {
		r := stellar(t, env, "demo", "..", "--steps", "--workers", "3", "--crash-every", "20ms")
		require.Zero(t, r.code, r.out+r.err)
		require.Contains(t, r.out, "the one at work is crashed every 20ms")
		require.Regexp(t, `tasks +1 \(for \d+ files, a checkpoint after each\), 1 done, 0 dead`, r.out)
		require.Contains(t, r.out, "The sums are equal")
	})
}

func TestDemoOfWhatDiffers(t *testing.T) {
	t.Parallel()
	eachDemo(t, func(t *testing.T, env environment) {
		dir := t.TempDir()
		path := filepath.Join(dir, "a.txt")
		require.NoError(t, os.WriteFile(path, []byte("one two\n"), 0o600))
		info, err := os.Stat(path)
		require.NoError(t, err)
		set := &running{out: newOutput(), err: newOutput(), code: make(chan int, 1)}
		// Between the nodes' count and the direct one the file changes, and looks as before.
		set.out.watch = func(text string) {
			if strings.HasSuffix(text, "one after the other\n") {
				require.NoError(t, os.WriteFile(path, []byte("one+two\n"), 0o600))
				require.NoError(t, os.Chtimes(path, info.ModTime(), info.ModTime()))
			}
		}
		set.begin(t, env, echoApp(), nil, []string{"demo", dir, "--crash-every", "0"})
		require.Equal(t, 1, set.wait(t), set.out)
		require.Contains(t, set.out.String(), "THE SUMS DIFFER")
		require.Contains(t, set.err.String(), "the sums differ")
	})
}

func TestDemoOfNothing(t *testing.T) {
	t.Parallel()
	eachDemo(t, func(t *testing.T, env environment) {
		r := stellar(t, env, "demo", t.TempDir())
		require.Equal(t, 2, r.code)
		require.Contains(t, r.err, "no regular text file found under")
	})
}

func TestDemoIsInterrupted(t *testing.T) {
	t.Parallel()
	eachDemo(t, func(t *testing.T, env environment) {
		dir := t.TempDir()
		for name := range strings.FieldsSeq("a b c d e f g h") {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(strings.Repeat("word \n", 1<<20)), 0o600))
		}
		d := start(t, env, echoApp(), "demo", dir, "--workers", "1", "--concurrency", "1")
		d.out.await(t, "of 8", 1) // perhaps not all are listed yet
		d.term()
		require.Equal(t, 143, d.wait(t), d.out)
		require.NotContains(t, d.out.String(), "The sums")
	})
}

func TestDemoWithoutGo(t *testing.T) {
	t.Setenv("PATH", "")
	r := stellar(t, home(t), "demo")
	require.Equal(t, 2, r.code)
	require.Contains(t, r.err, "stellar demo DIR")
}

func TestDemoOnARedisThatIsNotThere(t *testing.T) {
	t.Parallel()
	r := stellar(t, home(t).with("REDIS_URL", "redis://:"+secret+"@127.0.0.1:1"), "demo", t.TempDir())
	require.Equal(t, 69, r.code)
	require.Contains(t, r.err, "redis://127.0.0.1:1")
	require.NotContains(t, r.out+r.err, secret)
}
