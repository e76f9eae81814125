package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

func TestMain(m *testing.M) { redistest.Main(m) }

func TestCount(t *testing.T) {
	for text, want := range map[string]Sums{
		"": {}, "a": {0, 1, 1}, "a\n": {1, 1, 2}, "a  b\tc \n\n.": {2, 4, 10}, "\r\n": {1, 0, 2}, "übel\v\fx": {0, 2, 8},
		strings.Repeat("ab\n", 50_000): {50_000, 50_000, 150_000},
	} {
		got, err := Count(t.Context(), strings.NewReader(text))
		require.NoError(t, err)
		require.Equal(t, want, got, "%.20q", text)
		got, err = Count(t.Context(), iotest.OneByteReader(strings.NewReader(text)))
		require.NoError(t, err)
		require.Equal(t, want, got, "in pieces: %.20q", text)
	}
	_, err := Count(t.Context(), iotest.ErrReader(os.ErrInvalid))
	require.ErrorIs(t, err, os.ErrInvalid)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Count(ended, strings.NewReader("a"))
	require.ErrorIs(t, err, context.Canceled)
}

func TestWhatIsText(t *testing.T) {
	dir := t.TempDir()
	head := strings.Repeat("x", headSize)
	for i, c := range []struct {
		text string
		want bool
	}{
		{"", true},
		{"plain", true},
		{"über", true},
		{"nul\x00", false},
		{"latin \xfc", false},
		{head + "\x00\xff", true}, // beyond what is looked at
		{head[:headSize-1] + "é", true},
		{head[:headSize-3] + "\U0001f600", true},
		{head[:headSize-1] + "\xff!", false},
		{head[:headSize-5] + "\xff1234", false},
	} {
		path := filepath.Join(dir, strconv.Itoa(i))
		require.NoError(t, os.WriteFile(path, []byte(c.text), 0o600))
		got, err := isText(path)
		require.NoError(t, err)
		require.Equal(t, c.want, got, i)
	}
}

func TestList(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "sub/b", "sub/c", "sub/deep/d", "sub/binary"} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(strings.Repeat("\x00", strings.Count(name, "binary"))), 0o600))
	}
	require.NoError(t, os.Symlink(dir, filepath.Join(dir, "loop")))
	require.NoError(t, os.Symlink(filepath.Join(dir, "a"), filepath.Join(dir, "link")))
	require.NoError(t, os.Symlink(dir, filepath.Join(dir, "loop2")))
	var chunks [][]string
	s, err := list(t.Context(), dir, 3, func(files []file) error {
		var names []string
		for _, f := range files {
			name, err := filepath.Rel(dir, f.path)
			require.NoError(t, err)
			names = append(names, name)
			require.True(t, f.same())
		}
		chunks = append(chunks, names)
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, [][]string{{"a", "sub/b", "sub/c"}, {"sub/deep/d"}}, chunks)
	require.Equal(t, skipped{other: 4}, s)
}

// tree makes a directory of n files with known sums.
func tree(t *testing.T, n int) (dir string, sums Sums) {
	t.Helper()
	dir = t.TempDir()
	for i := range n {
		text := strings.Repeat("some words in a line\n", i%50)
		require.NoError(t, os.WriteFile(filepath.Join(dir, strconv.Itoa(i)), []byte(text), 0o600))
		own, err := Count(t.Context(), strings.NewReader(text))
		require.NoError(t, err)
		sums = sums.plus(own)
	}
	return dir, sums
}

// written collects what the demo says; at is called with each piece.
type written struct {
	mu sync.Mutex
	b  bytes.Buffer
	at func(text string)
}

func (w *written) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.at != nil {
		w.at(string(p))
	}
	return w.b.Write(p)
}

func (w *written) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

func configOf(cfg link.Config, dir string, out *written) Config {
	cfg.Namespace = "demo-test"
	return Config{
		Dir: dir, CrashEvery: 100 * time.Millisecond, Out: out, Log: zerolog.Nop(),
		Set: supervisor.Config{Workers: 3, Concurrency: 3, Redis: cfg},
	}
}

func TestTheSumsAreTheSameHoweverOftenNodesCrash(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		dir, sums := tree(t, 1500)
		out := &written{}
		require.NoError(t, Run(t.Context(), configOf(cfg, dir, out)))
		text := out.String()
		require.Regexp(t, `the nodes +`+strconv.FormatInt(sums.Lines, 10)+` +`+strconv.FormatInt(sums.Words, 10)+` +`+strconv.FormatInt(sums.Bytes, 10)+`\n`, text)
		require.Regexp(t, `tasks +1500 .*1500 done, 0 dead`, text)
		require.Regexp(t, `crashes +[1-9]`, text)
		keys, err := redistest.Client(t, cfg).Keys(t.Context(), "*").Result()
		require.NoError(t, err)
		require.Empty(t, keys)
	})
}

func TestATaskWithCheckpointsCountsOnceHoweverOftenItsNodeCrashes(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		dir, sums := tree(t, 1500)
		out := &written{at: func(text string) {
			if strings.Contains(text, "counting the same") { // what changes now is taken from the nodes
				require.NoError(t, os.Remove(filepath.Join(dir, "3")))
			}
		}}
		c := configOf(cfg, dir, out)
		c.Steps, c.CrashEvery = true, 20*time.Millisecond
		require.NoError(t, Run(t.Context(), c))
		text := out.String()
		require.Regexp(t, `the nodes +`+strconv.FormatInt(sums.Lines, 10)+` +`+strconv.FormatInt(sums.Words, 10)+` +`+strconv.FormatInt(sums.Bytes, 10)+`\n`, text)
		require.Regexp(t, `tasks +1 \(for 1500 files, a checkpoint after each\), 1 done, 0 dead`, text)
		require.Regexp(t, `crashes +[1-9]`, text)
		require.Contains(t, text, "1 file changed or vanished")
		require.Contains(t, text, "The sums are equal")
		keys, err := redistest.Client(t, cfg).Keys(t.Context(), "*").Result()
		require.NoError(t, err)
		require.Empty(t, keys)
	})
}

func TestASumThatIsWrongIsFound(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		dir, _ := tree(t, 20)
		out := &written{}
		c := configOf(cfg, dir, out)
		entries := cache.New(cache.Config{Client: redistest.Client(t, cfg), Keys: c.Set.Redis.Keys()})
		_, err := entries.Increment(t.Context(), wordsKey, 1) // as if a file were counted twice
		require.NoError(t, err)
		require.ErrorIs(t, Run(t.Context(), c), ErrDifferent)
		require.Contains(t, out.String(), "THE SUMS DIFFER")
	})
}

func TestFilesThatChangeMeanwhileDoNotMakeItLie(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		dir, _ := tree(t, 20)
		out := &written{at: func(text string) {
			if strings.Contains(text, "counting the same") {
				require.NoError(t, os.Remove(filepath.Join(dir, "3")))
				require.NoError(t, os.WriteFile(filepath.Join(dir, "4"), []byte("now something else"), 0o600))
			}
		}}
		require.NoError(t, Run(t.Context(), configOf(cfg, dir, out)))
		require.Contains(t, out.String(), "2 files changed or vanished")
		require.Contains(t, out.String(), "The sums are equal")
	})
}

func TestABarOnATerminal(t *testing.T) {
	dir, _ := tree(t, 20)
	out := &written{}
	c := configOf(redistest.Embedded(t).Config(), dir, out)
	c.Terminal = true
	require.NoError(t, Run(t.Context(), c))
	require.Contains(t, out.String(), "\r\x1b[K["+strings.Repeat("#", barWidth)+"] 20 of 20 files")
}

// Whoever may enqueue must not learn of files that the demo does not count.
func TestNoPayloadChoosesAPath(t *testing.T) {
	dir := t.TempDir()
	secret, listed := filepath.Join(dir, "secret"), filepath.Join(dir, "listed")
	require.NoError(t, os.WriteFile(secret, []byte("one two three\nfour\n"), 0o600))
	require.NoError(t, os.WriteFile(listed, []byte("word\n"), 0o600))
	d := &demo{files: []file{{path: listed, size: 5}}}
	app := worker.NewApp()
	d.register(app)
	queue := supervisortest.StartWith(t, app, supervisor.Config{Workers: 1}).Node("stellar-worker-1").API().Tasks
	for payload, want := range map[string]string{
		`{"path": "` + secret + `"}`:            `{"lines":1,"words":1,"bytes":5}`, // that of file 0
		`{"path": "` + secret + `", "file": 1}`: "no file 1",
		`{"file": -1}`:                          "no file -1",
		`{"file": 9223372036854775807}`:         "no file 9223372036854775807",
		`{"file": "` + secret + `"}`:            "", // it is dead, whatever the words
	} {
		result, err := queue.EnqueueAndWait(t.Context(), TaskName, json.RawMessage(payload), tasks.Options{MaxAttempts: 1})
		require.NotContains(t, string(result), "19", payload)
		if strings.HasPrefix(want, "{") {
			require.NoError(t, err)
			require.JSONEq(t, want, string(result))
			continue
		}
		require.ErrorIs(t, err, tasks.ErrDead, payload)
		require.ErrorContains(t, err, want)
	}
}

// What has come in the place of a listed file is not read, and nothing is read without end.
func TestOnlyTheListedFileIsRead(t *testing.T) {
	dir := t.TempDir()
	for name, f := range map[string]file{"link": {size: 5}, "dir": {size: 5}, "missing": {size: 5}} {
		f.path = filepath.Join(dir, name)
		switch name {
		case "link":
			require.NoError(t, os.WriteFile(f.path+".target", []byte("word\n"), 0o600))
			require.NoError(t, os.Symlink(f.path+".target", f.path))
		case "dir":
			require.NoError(t, os.Mkdir(f.path, 0o700))
		}
		s, err := f.count(t.Context())
		require.Error(t, err)
		require.True(t, gone(err), err)
		require.Zero(t, s)
	}
	grown := file{path: filepath.Join(dir, "grown"), size: 5}
	require.NoError(t, os.WriteFile(grown.path, []byte("word\nand more\n"), 0o600))
	s, err := grown.count(t.Context())
	require.NoError(t, err)
	require.Equal(t, Sums{1, 1, 5}, s)
	if runtime.GOOS == "linux" {
		s, err := file{path: "/proc/self/pagemap"}.count(t.Context()) // it says that it is empty and has no end
		require.NoError(t, err)
		require.Zero(t, s)
	}
}
