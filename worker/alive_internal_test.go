package worker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestALeaseIsRenewedAsLongAsTheNodesLoopTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := (&Host{}).NewNode(NodeConfig{})
		stopping, release := make(chan struct{}), make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- n.loop(ctx, func(error) { close(stopping); <-release }) // what a loop hangs in
		}()
		for range 10 { // heartbeats, some of them soon again because Redis was away
			require.True(t, n.alive())
			time.Sleep(50 * time.Millisecond)
			require.True(t, n.alive())
			time.Sleep(5 * time.Second)
		}
		n.ends <- ErrInjected
		<-stopping
		require.True(t, n.alive(), "it may be late")
		time.Sleep(50 * time.Millisecond)
		require.True(t, n.alive())
		time.Sleep(stuckAfter)
		require.False(t, n.alive())
		close(release)
		synctest.Wait()
		require.True(t, n.alive(), "it turns again")
		cancel()
		require.NoError(t, <-ended)
	})
}
