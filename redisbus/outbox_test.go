package redisbus

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stretchr/testify/require"
)

func TestTheResidentFlusherGoesWhenNothingIsPosted(t *testing.T) {
	t.Parallel()
	o := outbox{publisher: func(context.Context) (redis.UniversalClient, error) { return nil, link.ErrUnavailable }}
	post := func() {
		done := make(chan error, 1)
		seal := func(to []byte, _ uint64) []byte { return append(to, "c\x00message"...) }
		lead, err := o.put(posting{channel: "c", done: func(_ int64, err error) { done <- err }}, time.Now(), seal)
		require.NoError(t, err)
		require.True(t, lead)
		o.startFlush(t.Context())
		require.ErrorIs(t, <-done, link.ErrUnavailable)
		o.drain()
	}
	post()
	require.Nil(t, o.wake, "nobody serves")
	o.open()
	for range 2 {
		post()
		o.relax()
		require.NotNil(t, o.wake, "something was posted since the last time")
		o.relax()
		require.Nil(t, o.wake)
		o.residents.Wait() // it has returned
	}
	post()
	o.close()
	post()
	require.Nil(t, o.wake)
}
