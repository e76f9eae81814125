//go:build unix

package ownredis_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor/ownredis"
)

// refused returns the error of Open, which must be of that kind.
func refused(t *testing.T, cfg ownredis.Config, kind error) string {
	t.Helper()
	s, err := ownredis.Open(t.Context(), cfg)
	if err == nil {
		require.NoError(t, s.Close(t.Context()))
	}
	require.ErrorIs(t, err, kind)
	return err.Error()
}

// script makes a program that prints the text.
func script(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\necho '"+text+"'\n"), 0o700))
	return path
}

func TestOnlyAServerOfVersion62OrNewerIsUsed(t *testing.T) {
	bin, dir := t.TempDir(), redistest.DataDir(t)
	for text, told := range map[string]string{
		"Redis server v=6.0.16 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64 build=a3fdef44459b3ad6": "6.0.16",
		"Redis server v=5.0.7 sha=0": "5.0.7",
		"hello":                      "hello",
	} {
		said := refused(t, ownredis.Config{Dir: dir, Program: script(t, bin, "redis-server", text)}, ownredis.ErrNotInstalled)
		require.Contains(t, said, "install Redis 6.2 or newer")
		require.Contains(t, said, told)
	}
	server, err := exec.LookPath("redis-server")
	require.NoError(t, err)

	script(t, bin, "redis-server", "Redis server v=6.0.16 sha=0")
	t.Setenv("PATH", bin)
	require.Contains(t, refused(t, ownredis.Config{Dir: dir}, ownredis.ErrNotInstalled), "6.0.16")
	// An old redis-server does not hide a valkey-server.
	require.NoError(t, os.Symlink(server, filepath.Join(bin, "valkey-server")))
	s := open(t, ownredis.Config{Dir: dir})
	require.NoError(t, redistest.Client(t, s.Redis()).Ping(t.Context()).Err())

	t.Setenv("PATH", t.TempDir())
	said := refused(t, ownredis.Config{Dir: dir + "2"}, ownredis.ErrNotInstalled)
	require.Contains(t, said, "apt-get install redis-server")
	require.NoDirExists(t, dir+"2")
}

func TestADirectoryThatOthersCanUseIsRefused(t *testing.T) {
	t.Parallel()
	root := redistest.DataDir(t)
	empty := filepath.Join(root, "empty")
	require.NoError(t, os.Mkdir(empty, 0o755))
	open(t, ownredis.Config{Dir: empty})
	info, err := os.Stat(empty)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm(), "an empty one is closed to others")

	used := filepath.Join(root, "used")
	require.NoError(t, os.Mkdir(used, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(used, "a"), nil, 0o600))
	require.Contains(t, refused(t, ownredis.Config{Dir: used}, ownredis.ErrDir), "chmod 0700 "+used)
	_, err = ownredis.Find(t.Context(), used)
	require.ErrorIs(t, err, ownredis.ErrDir)

	require.Contains(t, refused(t, ownredis.Config{Dir: filepath.Join(used, "a")}, ownredis.ErrDir), "not a directory")
	dangling := filepath.Join(root, "dangling")
	require.NoError(t, os.Symlink("nowhere", dangling))
	require.Contains(t, refused(t, ownredis.Config{Dir: dangling}, ownredis.ErrDir), "is a link to nowhere")
	require.NoError(t, os.Chmod(used, 0o700))
	require.NoError(t, os.Symlink("a", filepath.Join(used, "stellar.lock")))
	require.Contains(t, refused(t, ownredis.Config{Dir: used}, ownredis.ErrDir), "stellar.lock is a symbolic link")
	require.Contains(t, refused(t, ownredis.Config{}, ownredis.ErrDir), "no data directory")
	require.Contains(t, refused(t, ownredis.Config{Dir: "/proc/1/data"}, ownredis.ErrDir), "data directory")
	_, err = ownredis.Open(t.Context(), ownredis.Config{Dir: empty, Durability: "sometimes"})
	require.ErrorContains(t, err, "use everysec or always")
	if os.Geteuid() == 0 {
		others := filepath.Join(root, "others")
		require.NoError(t, os.Mkdir(others, 0o700))
		require.NoError(t, os.Chown(others, 12345, -1))
		require.Contains(t, refused(t, ownredis.Config{Dir: others}, ownredis.ErrDir), "belongs to another user")
	}
}

func TestFilesThatTheServerWouldNotLoadAreTold(t *testing.T) {
	t.Parallel()
	dir := redistest.DataDir(t)
	rdb := filepath.Join(dir, "dump.rdb")
	require.NoError(t, os.WriteFile(rdb, []byte("REDIS0011"), 0o600))
	require.Contains(t, refused(t, ownredis.Config{Dir: dir}, ownredis.ErrDir), "would not load it")
	require.NoError(t, os.Remove(rdb))

	cut := filepath.Join(dir, "replaced-20260101-000000.000")
	require.NoError(t, os.Mkdir(cut, 0o700))
	require.Contains(t, refused(t, ownredis.Config{Dir: dir}, ownredis.ErrDir), "has not come to its end")
	require.NoError(t, os.Remove(cut))

	// An old file of one part whose beginning is an RDB of a version to come.
	aof := filepath.Join(dir, "appendonly.aof")
	require.NoError(t, os.WriteFile(aof, []byte("REDIS9999\xff12345678"), 0o600))
	require.Contains(t, refused(t, ownredis.Config{Dir: dir}, ownredis.ErrDir), "a newer version of Redis")
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "appendonlydir")))
	require.NoError(t, os.WriteFile(aof, []byte("REDIS0009nonsense"), 0o600))
	require.Contains(t, refused(t, ownredis.Config{Dir: dir}, ownredis.ErrDamaged), "data restore")
}

func TestAnOldServerDoesNotSeeTheFilesOfANewOne(t *testing.T) {
	t.Parallel()
	dir := redistest.DataDir(t)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "appendonlydir"), 0o700))
	old := script(t, t.TempDir(), "redis-server", "Redis server v=6.2.14 sha=00000000:0 malloc=jemalloc-5.1.0 bits=64 build=0")
	require.Contains(t, refused(t, ownredis.Config{Dir: dir, Program: old}, ownredis.ErrDir), "Redis 7 or newer has written it")
}

func TestAServerOfSomebodyElseOnTheDirectoryIsTold(t *testing.T) {
	t.Parallel()
	dir := redistest.DataDir(t)
	other := redistest.Start(t, "--dir", dir)
	require.Contains(t, refused(t, ownredis.Config{Dir: dir}, ownredis.ErrInUse), fmt.Sprintf("process %d", other.PID()))
	other.Kill()
	open(t, ownredis.Config{Dir: dir})
}

// aof returns the path of the part of the AOF that is written to.
func aof(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "appendonlydir", "*.incr.aof"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	return files[0]
}

func TestADamagedAOFIsToldAndATornOneRepairedForGood(t *testing.T) {
	t.Parallel()
	dir := redistest.DataDir(t)
	cfg := ownredis.Config{Dir: dir, Durability: ownredis.Always}
	half := []any{"1", nil, nil, nil}
	session := func(keys ...string) []any {
		s, err := ownredis.Open(t.Context(), cfg)
		require.NoError(t, err)
		defer func() { require.NoError(t, s.Close(t.Context())) }()
		c := redistest.Client(t, s.Redis())
		values := c.MGet(t.Context(), "whole", "a", "b", "c").Val()
		require.NoError(t, c.Eval(t.Context(), "for _, key in ipairs(KEYS) do redis.call('SET', key, 1) end return 1", keys).Err())
		return values
	}
	session("whole", "x")
	session("a", "b", "c")
	text, err := os.ReadFile(aof(t, dir))
	require.NoError(t, err)
	at := strings.LastIndex(string(text), "\r\nc\r\n")
	require.Positive(t, at)
	require.NoError(t, os.Truncate(aof(t, dir), int64(at+3)))
	require.Equal(t, half, session("d", "e"), "the torn transaction is not there")
	require.Equal(t, half, session("f", "g"), "nor half of it at the next start")

	text, err = os.ReadFile(aof(t, dir))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(aof(t, dir), []byte(strings.Replace(string(text), "SET", "\x00\x00\r\n*", 1)), 0o600))
	said := refused(t, cfg, ownredis.ErrDamaged)
	require.Contains(t, said, "data check")
	require.Contains(t, said, "redis-check-aof --fix")
}

func TestAServerThatHasStoppedIsNotAdopted(t *testing.T) {
	t.Parallel()
	dir := redistest.DataDir(t)
	first := start(t, dir)
	require.NotZero(t, first.server, first.said)
	first.end(syscall.SIGKILL)
	require.NoError(t, syscall.Kill(first.server, syscall.SIGSTOP))
	began := time.Now()
	require.Contains(t, refused(t, ownredis.Config{Dir: dir}, ownredis.ErrInUse), fmt.Sprintf("process %d) runs on it and does not answer", first.server))
	require.Less(t, time.Since(began), patience)
	require.NoError(t, syscall.Kill(first.server, syscall.SIGCONT))
	require.Equal(t, first.server, open(t, ownredis.Config{Dir: dir}).PID())
}
