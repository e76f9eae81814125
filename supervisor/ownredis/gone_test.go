//go:build linux

package ownredis_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor/ownredis"
)

// empty removes all that is in the directory.
func empty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, entry := range entries {
		require.NoError(t, os.RemoveAll(filepath.Join(dir, entry.Name())))
	}
}

// What is removed while the server runs is there again, with all data, whatever it is.
func TestFilesThatAreRemovedComeBackAndNoDataIsLost(t *testing.T) {
	t.Parallel()
	for name, remove := range map[string]func(dir, sockets string) error{
		"the socket":              func(_, sockets string) error { return os.Remove(filepath.Join(sockets, "redis.sock")) },
		"the socket's directory":  func(_, sockets string) error { return os.RemoveAll(filepath.Dir(sockets)) },
		"a file of data":          func(dir, _ string) error { return os.RemoveAll(filepath.Join(dir, "appendonlydir")) },
		"all, the directory kept": func(dir, _ string) error { empty(t, dir); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := redistest.DataDir(t)
			dir, sockets := filepath.Join(root, "d"), filepath.Join(root, "d")
			if name == "the socket's directory" {
				dir = filepath.Join(root, strings.Repeat("d", 100))
			}
			s := open(t, ownredis.Config{Dir: dir, RuntimeDir: filepath.Join(root, "r")})
			if name == "the socket's directory" {
				sockets = filepath.Dir(s.Redis().URL[len("unix://"):])
			}
			require.NoError(t, redistest.Client(t, s.Redis()).Set(t.Context(), "a", "1", 0).Err())
			require.NoError(t, remove(dir, sockets))
			require.Eventually(t, func() bool {
				cfg, err := ownredis.Find(t.Context(), dir)
				if err != nil {
					return false
				}
				_, err = os.Stat(filepath.Join(dir, "appendonlydir"))
				return err == nil && redistest.Client(t, cfg).Get(t.Context(), "a").Val() == "1"
			}, patience, 100*time.Millisecond)
			if strings.HasPrefix(name, "all") {
				require.Contains(t, start(t, dir).said, "runs on it")
			}
		})
	}
}

func TestAServerWhoseFilesAreGoneEndsWithItsDataOrAnError(t *testing.T) {
	t.Parallel()
	for name, remove := range map[string]func(dir string) error{
		"what is in it": func(dir string) error { empty(t, dir); return nil },
		"the lock":      func(dir string) error { return os.Remove(filepath.Join(dir, "redis.lock")) },
		"the directory": os.RemoveAll,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(redistest.DataDir(t), "d")
			s, err := ownredis.Open(t.Context(), ownredis.Config{Dir: dir})
			require.NoError(t, err)
			require.NoError(t, redistest.Client(t, s.Redis()).Set(t.Context(), "a", "1", 0).Err())
			require.NoError(t, remove(dir))
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			err = s.Close(ctx)
			require.NoError(t, ctx.Err(), "it ends")
			require.False(t, alive(s.PID()))
			if name == "the directory" {
				require.ErrorContains(t, err, "the data is lost")
				return
			}
			require.NoError(t, err)
			require.Equal(t, "1", redistest.Client(t, open(t, ownredis.Config{Dir: dir}).Redis()).Get(t.Context(), "a").Val())
		})
	}
}

func TestAServerThatHangsIsEnded(t *testing.T) {
	t.Parallel()
	s := open(t, ownredis.Config{Dir: redistest.DataDir(t)})
	s.EndAfterSilenceOf(time.Second)
	require.NoError(t, redistest.Client(t, s.Redis()).Set(t.Context(), "a", "1", 0).Err())
	before := s.PID()
	require.NoError(t, syscall.Kill(before, syscall.SIGSTOP))
	require.Eventually(t, func() bool { return !alive(before) }, patience, 50*time.Millisecond)
	require.Eventually(t, func() bool {
		return redistest.Client(t, s.Redis()).Get(t.Context(), "a").Val() == "1"
	}, patience, 50*time.Millisecond)
}

func TestAServerThatDoesNotEndIsKilledAtClose(t *testing.T) {
	t.Parallel()
	s, err := ownredis.Open(t.Context(), ownredis.Config{Dir: redistest.DataDir(t)})
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(s.PID(), syscall.SIGSTOP))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	require.ErrorContains(t, s.Close(ctx), "was killed")
	require.False(t, alive(s.PID()))
}

// A server that was just started has the lock before its number is noted: the number of an older one, which may be that of any
// process today, must not be there any more, as what is left of its group is killed.
func TestTheNumberOfAnEarlierServerIsForgottenBeforeTheNextOneStarts(t *testing.T) {
	t.Parallel()
	dir := redistest.DataDir(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "redis.json"), []byte(`{"pid":4711,"start":"1","sockets":"`+dir+`"}`), 0o600))
	program := filepath.Join(t.TempDir(), "redis-server")
	require.NoError(t, os.WriteFile(program, []byte("#!/bin/sh\n[ \"$1\" = --version ] && rm $0 && echo v=7.0.0\n"), 0o700))
	_, err := ownredis.Open(t.Context(), ownredis.Config{Dir: dir, Program: program})
	require.ErrorIs(t, err, os.ErrNotExist, "it has gone since it was asked for its version")
	seen, err := os.ReadFile(filepath.Join(dir, "redis.json"))
	require.NoError(t, err)
	require.NotContains(t, string(seen), "4711")
}
