package redisbus

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

// While a host is suspended its monotonic clock stands still, and Redis's goes on.
func TestSuspendedHostReadsTheClockAgainBeforeItHearsAnything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var redisClock redistest.Clock
		cfg := redisClock.Through(redistest.Embedded(t).Config())
		conns, err := link.Open(cfg, "a")
		require.NoError(t, err)
		defer conns.Close()
		b, err := NewBus(BusConfig{
			Publisher: conns.Client, Subscriber: conns.Subscriber, Keys: cfg.Keys(), Token: newToken,
			Identity: Identity{ID: "a", Incarnation: "a#1:x"}, Log: zerolog.Nop(),
		})
		require.NoError(t, err)
		var slept atomic.Int64
		b.clock.host = func() time.Time { return time.Now().Add(time.Duration(slept.Load())) }
		ended := make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { ended <- b.Serve(ctx) }()
		<-b.Ready()
		time.Sleep(suspicionPause)
		synctest.Wait()

		slept.Store(int64(time.Hour))
		redisClock.Step(time.Hour)
		time.Sleep(2 * beaconPause)
		synctest.Wait()
		require.WithinDuration(t, time.Now().Add(time.Hour), b.Now(), time.Second)
		cancel()
		require.NoError(t, <-ended)
	})
}

func TestSteadyTimeIgnoresTheHostsClock(t *testing.T) {
	c := newClock()
	before := c.steady()
	c.host = func() time.Time { return time.Now().Add(-time.Hour) }
	require.True(t, c.drifted())
	require.False(t, c.steady().Before(before))
}
