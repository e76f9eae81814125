//go:build unix

package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/redistest"
)

// A pipe in the place of a file is not waited for: its writer may never come.
func TestAPipeIsNoFile(t *testing.T) {
	t.Parallel()
	env := home(t)
	pipe := filepath.Join(env["XDG_RUNTIME_DIR"], "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	file := write(t, "file", "hello")
	for name, c := range map[string]environment{
		"config":       {"STELLAR_CONFIG": pipe},
		"token":        {"STELLAR_TOKEN_FILE": pipe},
		"second token": {"STELLAR_TOKEN_ALSO_FILE": pipe},
		"admin token":  {"STELLAR_ADMIN_TOKEN_FILE": pipe, "STELLAR_ADMIN_ADDR": "127.0.0.1:0"},
		"password":     {"REDIS_PASS_FILE": pipe, "REDIS_HOST": "h"},
		"sentinel":     {"REDIS_SENTINEL_PASS_FILE": pipe, "REDIS_URL": "redis+sentinel://h/m"},
		"authorities":  {"REDIS_CA_FILE": pipe, "REDIS_URL": "rediss://h"},
		"certificate":  {"REDIS_CERT_FILE": pipe, "REDIS_KEY_FILE": file, "REDIS_URL": "rediss://h"},
		"key":          {"REDIS_CERT_FILE": file, "REDIS_KEY_FILE": pipe, "REDIS_URL": "rediss://h"},
	} {
		r := stellar(t, c, "config", "check")
		require.Equal(t, 78, r.code, name)
		require.Contains(t, r.err, "it is not a regular file", name)
		require.Contains(t, r.err, pipe, name)
	}
	r := stellar(t, environment{"STELLAR_PIDFILE": pipe}, "config", "check")
	require.Equal(t, 78, r.code)
	require.Contains(t, r.err, "it is not the number of a process")
}

// A command that waits for its input ends when it is told to.
func TestACommandThatWaitsForItsInputCanBeEnded(t *testing.T) {
	t.Parallel()
	env := home(t).with("REDIS_URL", redistest.Start(t).Config().URL)
	pipe := filepath.Join(env["XDG_RUNTIME_DIR"], "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	for _, args := range [][]string{
		{"cache", "import", pipe}, {"cache", "import", "-"}, {"enqueue", "echo", "-"}, {"call", "api.log", "-"}, {"cache", "set", "k", "-"},
	} {
		stdin, never := io.Pipe()
		c := &running{out: newOutput(), err: newOutput(), signals: make(chan os.Signal, 3), code: make(chan int, 1)}
		c.begin(t, env, nil, stdin, args)
		select {
		case code := <-c.code:
			t.Fatalf("%v ended by itself with %d: %s", args, code, c.err)
		case <-time.After(100 * time.Millisecond):
		}
		c.term()
		require.Equal(t, 143, c.wait(t), "%v: %s", args, c.err)
		require.NoError(t, never.Close())
	}
	for range 2 { // an open that still waits, for goleak
		w, err := os.OpenFile(pipe, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		if err == nil {
			require.NoError(t, w.Close())
		}
	}
}

func TestAnInterruptedImportSaysHowFarItCame(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, at place) {
		pipe := filepath.Join(t.TempDir(), "pipe")
		require.NoError(t, syscall.Mkfifo(pipe, 0o600))
		importing := start(t, at.env, nil, "cache", "import", pipe)
		w, err := os.OpenFile(pipe, os.O_WRONLY, 0)
		require.NoError(t, err)
		defer w.Close()
		for n := range 3 {
			_, err = fmt.Fprintf(w, "{\"key\":\"k%d\",\"value\":1,\"createdAt\":1}\n", n)
			require.NoError(t, err)
		}
		time.Sleep(100 * time.Millisecond) // it may read some, all or none of it
		importing.term()
		require.Equal(t, 143, importing.wait(t))
		require.Regexp(t, `stellar: .*pipe: interrupted: \d (entry was|entries were) imported before; it can be repeated\n$`, importing.err.String())
	})
}
