package redisbus_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus"
)

func TestWhoWaitsForAnAnnouncementIsNotHeldUpByARedisThatDoesNotAnswer(t *testing.T) {
	answer := make(chan struct{})
	client := redis.NewClient(&redis.Options{
		MaxRetries: -1,
		Dialer: func(context.Context, string, string) (net.Conn, error) {
			<-answer
			return nil, errors.New("refused")
		},
	})
	a := redisbus.NewAnnouncements(client)
	const waiters = 20
	ended := make(chan error, waiters)
	for i := range waiters {
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			ended <- a.Await(ctx, fmt.Sprint("channel", i), true, func(error) bool { return true }, func() (time.Duration, error) { return 0, nil })
		}()
	}
	for range waiters {
		select {
		case err := <-ended:
			require.ErrorIs(t, err, context.DeadlineExceeded)
		case <-time.After(time.Minute):
			close(answer)
			require.Fail(t, "it waits longer than its context lasts")
		}
	}
	close(answer)
	require.NoError(t, client.Close())
}
