package redisbus_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

// A burst outgrows the outbox's spare queue. What comes after it has queues of its own.
func TestMessagesAfterABurstAreNotMixedUp(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		b := start(t, cfg, "b")
		got := inbox(b.Bus, "x")
		for round := range 30 {
			seen := map[string]bool{}
			var wg sync.WaitGroup
			for i := range []int{2, 600, 30}[round%3] {
				seen[fmt.Sprint(i)] = true
				wg.Go(func() {
					require.NoError(t, b.Post(t.Context(), redisbus.Outgoing{Type: "x", Body: []byte(fmt.Sprint(i))}, nil))
				})
			}
			wg.Wait()
			for len(seen) > 0 {
				text := string(receive(t, got).Body)
				require.True(t, seen[text], "%s in round %d", text, round)
				delete(seen, text)
			}
		}
	})
}
