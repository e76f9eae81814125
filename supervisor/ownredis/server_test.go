//go:build unix

package ownredis_test

import (
	"context"
	"fmt"
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

const patience = time.Minute

func TestDataAndNoProcessStayWhenTheServerIsClosed(t *testing.T) {
	dir := filepath.Join(redistest.DataDir(t), "new")
	var pid int
	t.Run("written", func(t *testing.T) {
		s := open(t, ownredis.Config{Dir: dir})
		pid = s.PID()
		c := redistest.Client(t, s.Redis())
		require.NoError(t, c.Set(t.Context(), "a", "1", 0).Err())
		for option, value := range map[string]string{
			"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction", "port": "0", "save": "",
			"stop-writes-on-bgsave-error": "no",
		} {
			require.Equal(t, value, c.ConfigGet(t.Context(), option).Val()[option], option)
		}
		require.ErrorContains(t, c.Do(t.Context(), "DEBUG", "SLEEP", "0").Err(), "DEBUG")
		socket, err := os.Stat(filepath.Join(dir, "redis.sock"))
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o600), socket.Mode().Perm())
		info, err := os.Stat(dir)
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o700), info.Mode().Perm())
	})
	require.False(t, alive(pid))
	_, err := os.Lstat(filepath.Join(dir, "redis.sock"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = ownredis.Find(t.Context(), dir)
	require.ErrorIs(t, err, ownredis.ErrNotRunning)
	s := open(t, ownredis.Config{Dir: dir, Durability: ownredis.Always})
	c := redistest.Client(t, s.Redis())
	require.Equal(t, "1", c.Get(t.Context(), "a").Val())
	require.Equal(t, "always", c.ConfigGet(t.Context(), "appendfsync").Val()["appendfsync"])
}

func TestAServerThatDiesIsStartedAgainAndHasAllThatItAcknowledged(t *testing.T) {
	t.Parallel()
	s := open(t, ownredis.Config{Dir: redistest.DataDir(t), Durability: ownredis.Always})
	c := redistest.Client(t, s.Redis())
	acknowledged := 0
	for range 3 {
		before := s.PID()
		var killed sync.WaitGroup
		killed.Go(func() {
			time.Sleep(20 * time.Millisecond)
			_ = syscall.Kill(before, syscall.SIGKILL)
		})
		for failed := false; !failed || s.PID() == before; {
			err := c.Set(t.Context(), fmt.Sprintf("k%d", acknowledged), "1", 0).Err()
			if failed = failed || err != nil; err == nil {
				acknowledged++
			} else {
				time.Sleep(time.Millisecond)
			}
		}
		killed.Wait()
		require.Eventually(t, func() bool { return c.Ping(t.Context()).Err() == nil }, patience, time.Millisecond)
		for i := range acknowledged {
			require.Equal(t, int64(1), c.Exists(t.Context(), fmt.Sprintf("k%d", i)).Val(), i)
		}
	}
}

func TestTheServerOfAKilledProgramIsTakenOverByTheNext(t *testing.T) {
	t.Parallel()
	dir := redistest.DataDir(t)
	first := start(t, dir)
	require.NotZero(t, first.server, first.said)
	cfg, err := ownredis.Find(t.Context(), dir)
	require.NoError(t, err)
	c := redistest.Client(t, cfg)
	require.NoError(t, c.Set(t.Context(), "a", "1", 0).Err())

	second := start(t, dir)
	require.Contains(t, second.said, fmt.Sprintf("process %d runs on it", first.Process.Pid))

	first.end(syscall.SIGKILL)
	require.True(t, alive(first.server), "it does not die with its owner")
	third := start(t, dir)
	require.Equal(t, first.server, third.server, third.said)
	require.Equal(t, "1", c.Get(t.Context(), "a").Val())

	require.NoError(t, syscall.Kill(third.server, syscall.SIGKILL))
	require.Eventually(t, func() bool { return c.Get(t.Context(), "a").Val() == "1" }, patience, 5*time.Millisecond, "it is started again")

	third.end(syscall.SIGTERM)
	_, err = ownredis.Find(t.Context(), dir)
	require.ErrorIs(t, err, ownredis.ErrNotRunning)
	require.False(t, third.ProcessState.Sys().(syscall.WaitStatus).Signaled())
}

func TestTheLastMemberStopsTheServerThatHasLostItsOwner(t *testing.T) {
	t.Parallel()
	dir := redistest.DataDir(t)
	owner := start(t, dir)
	require.NotZero(t, owner.server, owner.said)
	one, two, three := start(t, "join "+dir), start(t, "abandon "+dir), start(t, "join "+dir)
	three.end(syscall.SIGTERM)
	require.True(t, alive(owner.server), "its owner lives")
	owner.end(syscall.SIGKILL)
	one.end(syscall.SIGTERM)
	require.True(t, alive(owner.server), "a member is left")
	two.end(syscall.SIGTERM)
	require.Eventually(t, func() bool { return !alive(owner.server) }, patience, 5*time.Millisecond, "also if that one ends at once")
}

func TestAnOwnerThatEndsLeavesTheServerToItsMembers(t *testing.T) {
	t.Parallel()
	dir := redistest.DataDir(t)
	owner := start(t, dir)
	require.NotZero(t, owner.server, owner.said)
	member := start(t, "join "+dir)
	owner.end(syscall.SIGTERM)
	require.True(t, alive(owner.server))
	member.end(syscall.SIGTERM)
	require.Eventually(t, func() bool { return !alive(owner.server) }, patience, 5*time.Millisecond)
}

func TestAProgramThatIsKilledWhileItsServerLoadsLeavesItToTheNext(t *testing.T) {
	t.Parallel()
	dir := redistest.DataDir(t)
	first := start(t, dir)
	require.NotZero(t, first.server, first.said)
	first.end(syscall.SIGKILL)
	// What the owner does last of all when it starts a server is undone.
	require.NoError(t, os.Rename(filepath.Join(dir, "redis.sock"), filepath.Join(dir, "start.sock")))
	second := start(t, dir)
	require.Equal(t, first.server, second.server, second.said)
	second.end(syscall.SIGTERM)
	require.False(t, alive(first.server))
}

func TestASocketThatIsGoneCostsARestartAndNoData(t *testing.T) {
	t.Parallel()
	dir := redistest.DataDir(t)
	first := start(t, dir)
	require.NotZero(t, first.server, first.said)
	cfg, err := ownredis.Find(t.Context(), dir)
	require.NoError(t, err)
	require.NoError(t, redistest.Client(t, cfg).Set(t.Context(), "a", "1", 0).Err())
	first.end(syscall.SIGKILL)
	require.NoError(t, os.Remove(filepath.Join(dir, "redis.sock")))
	s := open(t, ownredis.Config{Dir: dir})
	require.NotEqual(t, first.server, s.PID())
	require.Equal(t, "1", redistest.Client(t, s.Redis()).Get(t.Context(), "a").Val())
}

func TestTheSocketOfALongPathLiesInTheRuntimeDirectory(t *testing.T) {
	t.Parallel()
	root := redistest.DataDir(t)
	dir := filepath.Join(root, strings.Repeat("d", 100))
	other := filepath.Join(root, "r")
	s := open(t, ownredis.Config{Dir: dir, RuntimeDir: other})
	t.Cleanup(func() { _ = syscall.Kill(s.PID(), syscall.SIGKILL) })
	require.True(t, strings.HasPrefix(s.Redis().URL, "unix://"+other), s.Redis().URL)
	require.NoError(t, redistest.Client(t, s.Redis()).Ping(t.Context()).Err())
	cfg, err := ownredis.Find(t.Context(), dir)
	require.NoError(t, err)
	require.Equal(t, s.Redis().URL, cfg.URL, "commands find it, whatever their own run-time directory is")
	info, err := os.Stat(other)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o700), info.Mode().Perm())

	open := filepath.Join(root, "open")
	require.NoError(t, os.Mkdir(open, 0o755))
	_, err = ownredis.Open(t.Context(), ownredis.Config{Dir: dir + "2", RuntimeDir: open})
	require.ErrorIs(t, err, ownredis.ErrDir)
	require.ErrorContains(t, err, "chmod 0700")
	_, err = ownredis.Open(t.Context(), ownredis.Config{Dir: dir + "2", RuntimeDir: filepath.Join(dir, "r")})
	require.ErrorContains(t, err, "use a directory with a shorter path")
}

func TestAPathWithAnyCharacters(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a b", "100%", "50%41", "a#b", "a?b", `a"b'c\d`, "--port", "ü"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, ownredis.Config{Dir: filepath.Join(redistest.DataDir(t), name)})
			require.NoError(t, redistest.Client(t, s.Redis()).Ping(t.Context()).Err())
		})
	}
}

func TestServeEndsWithItsContextAndTheServerStaysForThoseThatDrain(t *testing.T) {
	t.Parallel()
	s, err := ownredis.Open(t.Context(), ownredis.Config{Dir: redistest.DataDir(t)})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, s.Serve(ctx))
	require.NoError(t, redistest.Client(t, s.Redis()).Ping(t.Context()).Err())
	require.NoError(t, s.Close(t.Context()))
	require.False(t, alive(s.PID()))
}
