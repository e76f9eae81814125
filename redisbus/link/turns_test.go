package link_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

// More callers than sockets wait for each other, on virtual time and then beside it: the
// client library's own timers would end the process.
func TestCallersWaitForATurnOnAnyClock(t *testing.T) {
	busy := func(t *testing.T) {
		cable := &redistest.Cable{To: redistest.Embedded(t).Dial}
		client := redistest.Client(t, link.Config{Dial: cable.Dial})
		wait := []any{"blpop", "nothing", "0.01"} // seconds
		var callers sync.WaitGroup
		for range 40 {
			callers.Go(func() {
				if err := client.Do(t.Context(), wait...).Err(); !errors.Is(err, redis.Nil) {
					t.Error(err)
				}
				if _, err := client.Pipelined(t.Context(), func(p redis.Pipeliner) error {
					return p.Do(t.Context(), wait...).Err()
				}); !errors.Is(err, redis.Nil) {
					t.Error(err)
				}
			})
		}
		callers.Wait()
		require.EqualValues(t, 8, cable.Dials.Load(), "a client has eight sockets")
	}
	for range 3 {
		synctest.Test(t, busy)
		busy(t)
	}
}

func TestACallerThatGetsNoTurnIsToldThatNothingWasSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := redistest.Client(t, redistest.Embedded(t).Config())
		for range 8 {
			go func() { _ = client.BLPop(t.Context(), 3*time.Second, "nothing").Err() }()
		}
		synctest.Wait()
		began := time.Now()
		err := client.Ping(t.Context()).Err()
		require.ErrorIs(t, err, redis.ErrPoolTimeout)
		require.Equal(t, link.DidNotRun, link.OutcomeOf(err))
		require.Equal(t, time.Second, time.Since(began))

		short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		_, err = client.Pipelined(short, func(p redis.Pipeliner) error { return p.Ping(short).Err() })
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, link.DidNotRun, link.OutcomeOf(err))

		var ended atomic.Bool
		abandoned, leave := context.WithCancel(t.Context())
		go func() {
			err := client.Ping(abandoned).Err()
			ended.Store(link.OutcomeOf(err) == link.DidNotRun)
		}()
		synctest.Wait()
		leave()
		synctest.Wait()
		require.True(t, ended.Load())
		time.Sleep(3 * time.Second)
		require.NoError(t, client.Ping(t.Context()).Err())
	})
}
