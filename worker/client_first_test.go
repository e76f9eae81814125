package worker_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// Many first callers of a client ask for its layout with a request that none of them holds up.
func TestManyFirstCallersOfAClientAreServed(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var failed atomic.Int32
		for range 3 {
			client, err := worker.ConnectWith(t.Context(), worker.ClientConfig{Redis: cfg})
			require.NoError(t, err)
			var all sync.WaitGroup
			for range 40 {
				all.Go(func() {
					if _, err := client.Inspector.Get(t.Context(), "x"); errors.Is(err, redis.ErrPoolTimeout) {
						failed.Add(1)
					}
				})
			}
			all.Wait()
			require.NoError(t, client.Close())
		}
		require.Zero(t, failed.Load())
	})
}

func TestWaitsForADoneTaskAreAnsweredAtOnce(t *testing.T) {
	redistest.Each(t, func(t *testing.T, at link.Config) {
		app, _, _ := clientApp()
		supervisortest.StartWith(t, app, supervisor.Config{Workers: 1, Redis: at})
		client := connect(t, worker.ClientConfig{Redis: at, App: app})
		receipt, err := client.Tasks.EnqueueWith(t.Context(), "double", 1, tasks.Options{})
		require.NoError(t, err)
		for range 4 {
			began := time.Now()
			_, err := client.Tasks.Wait(t.Context(), receipt.ID)
			require.NoError(t, err)
			require.Less(t, time.Since(began), time.Second)
		}
	})
}
