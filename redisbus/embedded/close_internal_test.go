package embedded

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
)

func TestCloseDoesNotWaitForAScriptThatLoops(t *testing.T) {
	s := New()
	s.patience = 10 * time.Millisecond
	c, err := link.OpenClient(s.Config(), "test")
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.Set(t.Context(), "k", "v", 0).Err())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = c.Eval(t.Context(), "repeat until redis.call('TIME')[1] + 0 > ARGV[1] + 0", nil, time.Now().Unix()+1).Err()
	}()
	require.Eventually(t, func() bool {
		if !s.redis.TryLock() {
			return true
		}
		s.redis.Unlock()
		return false
	}, 30*time.Second, 100*time.Microsecond)
	require.ErrorContains(t, s.Close(), "still runs a command")
	require.ErrorIs(t, c.Ping(t.Context()).Err(), net.ErrClosed)
	<-ended
}
