package embedded_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/embedded"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

func TestSocketIsItsOwnersAndGoesWithTheServer(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "redis.sock")
	s := embedded.New()
	socket, err := s.Listen(t.Context(), path)
	require.NoError(t, err)
	require.Equal(t, path, socket.Path())
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.ModeSocket|0o600, info.Mode())
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1, "the private directory is gone")

	inside, outside := redistest.Client(t, s.Config()), redistest.Client(t, link.Config{URL: "unix://" + path})
	require.NoError(t, inside.Set(t.Context(), "k", "v", 0).Err())
	require.Equal(t, "v", outside.Get(t.Context(), "k").Val())

	_, err = s.Listen(t.Context(), path)
	require.Error(t, err, "a file that is there is not replaced")
	_, err = s.Listen(t.Context(), filepath.Join(dir, "none", "redis.sock"))
	require.Error(t, err)

	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	_, err = os.Stat(path)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.Equal(t, link.DidNotRun, link.OutcomeOf(redistest.Client(t, s.Config()).Ping(t.Context()).Err()))
	require.Error(t, outside.Ping(t.Context()).Err())
}

func TestSocketClosesAlone(t *testing.T) {
	s := redistest.Embedded(t)
	socket, err := s.Listen(t.Context(), filepath.Join(t.TempDir(), "s"))
	require.NoError(t, err)
	outside := redistest.Client(t, link.Config{URL: "unix://" + socket.Path()})
	require.NoError(t, outside.Ping(t.Context()).Err())
	require.NoError(t, socket.Close())
	require.Error(t, outside.Ping(t.Context()).Err())
	require.NoError(t, redistest.Client(t, s.Config()).Ping(t.Context()).Err())
}

func TestBreakMakesEveryCommandFail(t *testing.T) {
	s := redistest.Embedded(t)
	c := redistest.Client(t, s.Config())
	require.NoError(t, c.Ping(t.Context()).Err())
	s.Break("LOADING Redis is loading the dataset in memory")
	err := c.Set(t.Context(), "k", "v", 0).Err()
	require.ErrorIs(t, link.Explain(err), link.ErrUnavailable)
	s.Break("")
	require.ErrorIs(t, c.Get(t.Context(), "k").Err(), redis.Nil)
}

func TestExpiryFollowsTheClock(t *testing.T) {
	c := redistest.Client(t, redistest.Embedded(t).Config())
	require.NoError(t, c.Set(t.Context(), "k", "v", 20*time.Millisecond).Err())
	require.Equal(t, "v", c.Get(t.Context(), "k").Val())
	require.Eventually(t, func() bool { return c.Exists(t.Context(), "k").Val() == 0 }, time.Minute, 5*time.Millisecond)
}
