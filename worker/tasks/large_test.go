package tasks_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/tasks"
)

// Anybody who may publish can send 25 MB to those who wait for a task.
func TestWaitDropsMessagesThatAreTooLarge(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		c := newCluster(t, cfg, &tasks.Registry{})
		dropped := make(chan redisbus.Drop, 1)
		c.tasks.CountDrops(func(reason redisbus.Drop) { dropped <- reason })
		receipt, err := c.tasks.EnqueueWith(t.Context(), "later", nil, tasks.Options{In: time.Hour, Await: true})
		require.NoError(t, err)
		ended := make(chan error, 1)
		go func() { _, err := c.tasks.Wait(t.Context(), receipt.ID); ended <- err }()
		require.Eventually(t, func() bool {
			return c.redis.PubSubNumSub(t.Context(), c.keys.Ended(receipt.ID)).Val()[c.keys.Ended(receipt.ID)] == 1
		}, time.Minute, 10*time.Millisecond)
		text := redistest.LargeText("")
		redistest.KeepsMemory(t, cfg, func() {
			redistest.PublishLarge(t, c.redis, c.keys.Ended(receipt.ID), text)
			require.Equal(t, redisbus.DropSize, <-dropped)
		})
		_, err = c.inspector.Cancel(t.Context(), receipt.ID, "test")
		require.NoError(t, err)
		require.ErrorIs(t, <-ended, tasks.ErrCancelled)
	})
}
