package worker_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker"
)

func TestCloseEndsWaitsForLocksAndItems(t *testing.T) {
	redistest.Each(t, func(t *testing.T, at link.Config) {
		holder := connect(t, worker.ClientConfig{Redis: at})
		lock, err := holder.Cache.Lock(t.Context(), "k", time.Minute)
		require.NoError(t, err)
		client, err := worker.Connect(t.Context(), at, nil)
		require.NoError(t, err)
		ends := make(chan error, 2)
		ctx := context.WithoutCancel(t.Context())
		go func() { _, err := client.Cache.Lock(ctx, "k", time.Minute); ends <- err }()
		go func() { _, err := client.Cache.PopWait(ctx, "list", -1); ends <- err }()
		time.Sleep(300 * time.Millisecond) // for them to wait
		began := time.Now()
		require.NoError(t, client.Close())
		for range 2 {
			select {
			case err := <-ends:
				require.ErrorIs(t, err, cache.ErrClosed)
			case <-time.After(patient):
				require.Fail(t, "it waits although its client is closed")
			}
		}
		require.Less(t, time.Since(began), 3*time.Second)
		require.NoError(t, lock.Unlock())
	})
}
