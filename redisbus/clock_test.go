package redisbus_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

// steps are those that messages notice: a minute is the most by which they may be off.
var steps = map[string]time.Duration{"ahead": time.Hour, "back": -time.Hour, "a little": 30 * time.Second}

// New processes read the clock after its step; the nodes that run read it as soon as they
// hear of one of them, and lose nothing that it says.
func TestStepOfRedissClockIsNoticedAtTheFirstMessage(t *testing.T) {
	t.Parallel()
	for name, step := range steps {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redistest.Each(t, func(t *testing.T, cfg link.Config) {
				var clock redistest.Clock
				cfg = clock.Through(cfg)
				old := start(t, cfg, "old")
				atOld := inbox(old.Bus, "x")
				clock.Step(step)
				fresh := start(t, cfg, "fresh")
				atFresh := inbox(fresh.Bus, "x")

				require.EqualValues(t, 1, counted(t, fresh.Bus, "old"))
				require.True(t, receive(t, atOld).Directed)
				require.WithinDuration(t, time.Now().Add(step), old.Now(), 10*time.Second)
				require.EqualValues(t, 1, counted(t, old.Bus, "fresh"))
				receive(t, atFresh)
				require.Empty(t, old.Stats().Dropped)
				require.Empty(t, fresh.Stats().Dropped)
			})
		})
	}
}

// A failover to a host with another clock breaks the connections too.
func TestFailoverToAHostWithAnotherClock(t *testing.T) {
	t.Parallel()
	for name, step := range steps {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			var clock redistest.Clock
			cfg := clock.Through(server.Config())
			a, b := start(t, cfg, "a"), start(t, cfg, "b")
			atA, atB := inbox(a.Bus, "x"), inbox(b.Bus, "x")
			server.Kill()
			clock.Step(step)
			require.NoError(t, server.Run())
			fresh := start(t, cfg, "fresh")
			connected := func() bool { return a.Stats().Connected && b.Stats().Connected }
			require.Eventually(t, connected, time.Minute, time.Millisecond)
			for to, at := range map[string]<-chan redisbus.Message{"a": atA, "b": atB} {
				require.EqualValues(t, 1, counted(t, fresh.Bus, to))
				require.Equal(t, "fresh", receive(t, at).ServerID)
			}
			require.EqualValues(t, 1, counted(t, a.Bus, "b"))
			require.Equal(t, "a", receive(t, atB).ServerID)
		})
	}
}

// timeReads counts the TIME commands that the server has run.
func timeReads(t *testing.T, c *redis.Client) string {
	t.Helper()
	return redistest.Info(t, c, "commandstats", "cmdstat_time")
}

func TestFloodOfOldMessagesReadsTheClockOnce(t *testing.T) {
	cfg := redistest.Start(t).Config()
	var clock redistest.Clock
	clock.Step(-time.Hour)
	late := start(t, clock.Through(cfg), "late")
	b := start(t, cfg, "b")
	c := redistest.Client(t, cfg)
	read := timeReads(t, c)
	for range 1000 {
		require.NoError(t, late.Publish(t.Context(), "x", 1))
	}
	require.Eventually(t, func() bool { return b.Stats().Dropped[redisbus.DropStale] == 1000 }, time.Minute, time.Millisecond)
	reads := func(stat string) (n int) {
		_, err := fmt.Sscanf(stat, "calls=%d,", &n)
		require.NoError(t, err)
		return n
	}
	require.LessOrEqual(t, reads(timeReads(t, c)), reads(read)+3, "one, and one more each 10 s on a slow machine")
}
