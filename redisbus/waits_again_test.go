package redisbus_test

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

// Who leaves a channel and waits on it again, looks at once.
func TestWhoWaitsAgainLooksAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := redisbus.NewAnnouncements(redistest.Client(t, redistest.Embedded(t).Config()))
		defer a.Close()
		for i := range 4 {
			began := time.Now()
			err := a.Await(t.Context(), "c", true, func(err error) bool { return err != nil }, func() (time.Duration, error) { return 0, nil })
			require.NoError(t, err)
			if time.Since(began) > time.Second {
				t.Errorf("try %d came after %s", i, time.Since(began))
			}
		}
	})
}

// Waits that are shorter than a dial do not each begin a new one.
func TestShortWaitsLetADialEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := redistest.Embedded(t)
		cfg := link.Config{Dial: func(ctx context.Context) (net.Conn, error) {
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			return at.Dial(ctx)
		}}
		a := redisbus.NewAnnouncements(redistest.Client(t, cfg))
		defer a.Close()
		looked := 0
		for range 50 {
			ctx, cancel := context.WithTimeout(t.Context(), 80*time.Millisecond)
			_ = a.Await(ctx, "c", true, func(err error) bool { return err != nil }, func() (time.Duration, error) { looked++; return 0, nil })
			cancel()
		}
		require.NotZero(t, looked)
	})
}
