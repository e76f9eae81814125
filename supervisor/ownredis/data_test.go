//go:build unix

package ownredis_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor/ownredis"
)

// written returns a directory on which no server runs, with keys of two transactions.
func written(t *testing.T) string {
	t.Helper()
	dir := redistest.DataDir(t)
	s, err := ownredis.Open(t.Context(), ownredis.Config{Dir: dir, Durability: ownredis.Always})
	require.NoError(t, err)
	c := redistest.Client(t, s.Redis())
	for _, keys := range [][]string{{"whole"}, {"a", "b", "c"}} {
		require.NoError(t, c.Eval(t.Context(), "for _, key in ipairs(KEYS) do redis.call('SET', key, 1) end return 1", keys).Err())
	}
	require.NoError(t, s.Close(t.Context()))
	return dir
}

func check(t *testing.T, dir string) ownredis.Report {
	t.Helper()
	r, err := ownredis.Check(t.Context(), ownredis.Config{Dir: dir})
	require.NoError(t, err)
	left, err := filepath.Glob(filepath.Join(dir, "check-*"))
	require.NoError(t, err)
	require.Empty(t, left)
	return r
}

func TestCheckTellsWhatIsDamagedAndWhatWouldBeLost(t *testing.T) {
	t.Parallel()
	dir := written(t)
	before, err := os.ReadFile(aof(t, dir))
	require.NoError(t, err)
	r := check(t, dir)
	require.Equal(t, int64(4), r.Keys)
	require.Zero(t, r.Torn)
	require.Empty(t, r.Damaged)
	require.False(t, r.Running)

	first := int64(bytes.Index(before, []byte("*1\r\n$5\r\nMULTI")))
	require.Positive(t, first)
	cut := len(before) - 30
	require.NoError(t, os.Truncate(aof(t, dir), int64(cut)))
	r = check(t, dir)
	require.Equal(t, int64(1), r.Keys)
	require.Equal(t, int64(cut)-first, r.Torn, "all of the torn transaction")
	require.Empty(t, r.Damaged)
	after, err := os.ReadFile(aof(t, dir))
	require.NoError(t, err)
	require.Equal(t, before[:cut], after, "check changes nothing")

	at := bytes.Index(before, []byte("MULTI"))
	require.NoError(t, os.WriteFile(aof(t, dir), append(bytes.Clone(before[:at]), "\x00"+string(before[at:])...), 0o600))
	r = check(t, dir)
	require.Contains(t, r.Damaged, dir+": its AOF is damaged")
	require.Equal(t, first, r.Whole)
	require.Equal(t, int64(len(before))+1-first, r.Lost)
	require.FileExists(t, filepath.Join(dir, r.File))

	base, err := filepath.Glob(filepath.Join(dir, "appendonlydir", "*.base.rdb"))
	require.NoError(t, err)
	require.NoError(t, os.Truncate(base[0], 20))
	r = check(t, dir)
	require.Contains(t, r.Damaged, "a file there is damaged")
	require.NoError(t, os.Remove(base[0]))
	require.Contains(t, check(t, dir).Damaged, "damaged or missing")
}

func TestCheckOfADirectoryWithoutDataAndOfOneThatIsInUse(t *testing.T) {
	t.Parallel()
	dir := redistest.DataDir(t)
	require.Zero(t, check(t, dir).Bytes)
	_, err := ownredis.Check(t.Context(), ownredis.Config{Dir: dir + "-none"})
	require.ErrorIs(t, err, ownredis.ErrDir)

	s := open(t, ownredis.Config{Dir: dir})
	c := redistest.Client(t, s.Redis())
	ctx, stop := context.WithCancel(t.Context())
	var writing sync.WaitGroup
	writing.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			c.Set(ctx, "k", strings.Repeat("x", i%1000), 0)
			if i%500 == 0 {
				c.BgRewriteAOF(ctx)
			}
		}
	})
	for range 5 {
		r := check(t, dir)
		require.True(t, r.Running)
		require.Empty(t, r.Damaged)
		require.Zero(t, r.Torn)
	}
	stop()
	writing.Wait()
}

func TestABackupHasTheDataOfOneMomentAndCanBeRestored(t *testing.T) {
	t.Parallel()
	dir := redistest.DataDir(t)
	s := open(t, ownredis.Config{Dir: dir})
	c := redistest.Client(t, s.Redis())
	ctx, stop := context.WithCancel(t.Context())
	var writing sync.WaitGroup
	writing.Go(func() { // a backup between the two would have different values
		for ctx.Err() == nil {
			c.Eval(ctx, "redis.call('INCR', KEYS[1]) return redis.call('INCR', KEYS[2])", []string{"a", "b"})
		}
	})
	require.Eventually(t, func() bool { return c.Exists(ctx, "a").Val() == 1 }, patience, time.Millisecond)
	require.NoError(t, c.BgRewriteAOF(ctx).Err(), "a backup waits for a rewrite")
	var backup bytes.Buffer
	size, err := ownredis.Backup(t.Context(), ownredis.Config{Dir: dir}, &backup)
	require.NoError(t, err)
	require.Equal(t, int64(backup.Len()), size)
	require.NoFileExists(t, filepath.Join(dir, "dump.rdb"))
	stop()
	writing.Wait()

	file := filepath.Join(t.TempDir(), "backup")
	require.NoError(t, os.WriteFile(file, backup.Bytes(), 0o600))
	_, err = ownredis.Restore(t.Context(), ownredis.Config{Dir: dir}, file, true)
	require.ErrorIs(t, err, ownredis.ErrInUse)
	other := redistest.DataDir(t)
	r, err := ownredis.Restore(t.Context(), ownredis.Config{Dir: other}, file, false)
	require.NoError(t, err)
	require.Equal(t, int64(2), r.Keys)
	require.Empty(t, r.Replaced)
	restored := redistest.Client(t, open(t, ownredis.Config{Dir: other}).Redis())
	require.NotEmpty(t, restored.Get(t.Context(), "a").Val())
	require.Equal(t, restored.Get(t.Context(), "a").Val(), restored.Get(t.Context(), "b").Val())
}

func TestABackupOfADirectoryThatNobodyUses(t *testing.T) {
	t.Parallel()
	dir := written(t)
	var backup bytes.Buffer
	_, err := ownredis.Backup(t.Context(), ownredis.Config{Dir: dir}, &backup)
	require.NoError(t, err)
	_, err = ownredis.Find(t.Context(), dir)
	require.ErrorIs(t, err, ownredis.ErrNotRunning, "the server that was started for it has ended")
	_, err = ownredis.Backup(t.Context(), ownredis.Config{Dir: redistest.DataDir(t)}, &backup)
	require.ErrorContains(t, err, "there is no data")
	_, err = ownredis.Backup(t.Context(), ownredis.Config{Dir: dir}, full{})
	require.ErrorIs(t, err, syscall.ENOSPC)
}

// full is a disk that is full.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

func TestRestoreChangesNothingUnlessItCanBeDone(t *testing.T) {
	t.Parallel()
	dir := written(t)
	var backup bytes.Buffer
	_, err := ownredis.Backup(t.Context(), ownredis.Config{Dir: dir}, &backup)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "backup")
	restore := func(dir string, text []byte, replace bool) (ownredis.Restored, error) {
		require.NoError(t, os.WriteFile(file, text, 0o600))
		return ownredis.Restore(t.Context(), ownredis.Config{Dir: dir}, file, replace)
	}
	names := func() (all []string) {
		require.NoError(t, filepath.WalkDir(filepath.Join(dir, "appendonlydir"), func(path string, _ fs.DirEntry, err error) error {
			all = append(all, path)
			return err
		}))
		return all
	}
	before := names()
	flipped := bytes.Clone(backup.Bytes())
	flipped[len(flipped)/2] ^= 1
	for name, text := range map[string][]byte{
		"flipped": flipped, "cut": backup.Bytes()[:backup.Len()-1], "short": []byte("REDIS"), "empty": nil, "another": []byte("hello, world"),
	} {
		_, err := restore(dir, text, true)
		require.ErrorIs(t, err, ownredis.ErrNoBackup, name)
		require.Equal(t, before, names())
	}
	_, err = restore(dir, backup.Bytes(), false)
	require.ErrorIs(t, err, ownredis.ErrHasData)
	_, err = ownredis.Restore(t.Context(), ownredis.Config{Dir: dir}, file+"-none", true)
	require.ErrorIs(t, err, fs.ErrNotExist)
	cancelled, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	cancel(stopped)
	_, err = ownredis.Restore(cancelled, ownredis.Config{Dir: dir}, file, true)
	require.Error(t, err)
	require.Equal(t, before, names())
	require.Equal(t, int64(4), check(t, dir).Keys)

	r, err := restore(dir, backup.Bytes(), true)
	require.NoError(t, err)
	require.Equal(t, int64(4), r.Keys)
	require.DirExists(t, filepath.Join(r.Replaced, "appendonlydir"))
	left, err := filepath.Glob(filepath.Join(dir, "restore-*"))
	require.NoError(t, err)
	require.Empty(t, left)
	s := open(t, ownredis.Config{Dir: dir})
	require.Equal(t, []any{"1", "1"}, redistest.Client(t, s.Redis()).MGet(t.Context(), "whole", "c").Val())
}
