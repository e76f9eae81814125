package redisbus_test

import (
	"context"
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

// The buses of a process share an outbox: each one's messages stay in order, and it can be
// closed alone.
func TestBusesWithOneOutboxSendInOrderAndEndAlone(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		out := redisbus.NewOutbox(redistest.Client(t, cfg))
		shared := func(c *redisbus.BusConfig) { c.Outbox = out }
		a, b, receiver := start(t, cfg, "a", shared), start(t, cfg, "b", shared), start(t, cfg, "r", shared)
		const each = 3000
		got := make(chan redisbus.Message, 2*each)
		receiver.Subscribe("x", func(_ context.Context, m redisbus.Message) { got <- m }, redisbus.SubscribeOptions{
			Buffer: 2 * each, OnGap: func(_ context.Context, gap redisbus.Gap) { t.Errorf("%+v", gap) },
		})
		var wg sync.WaitGroup
		for _, sender := range []node{a, b} {
			for range 3 {
				wg.Go(func() {
					for range each / 3 {
						if _, err := sender.Send(t.Context(), "r", "x", nil); err != nil {
							t.Error(err)
						}
					}
				})
			}
		}
		wg.Wait()
		last := map[string]uint64{}
		for range 2 * each {
			m := receive(t, got)
			require.True(t, last[m.ServerID] == 0 || m.Seq == last[m.ServerID]+1)
			last[m.ServerID] = m.Seq
		}
		require.Empty(t, receiver.Stats().Dropped)

		a.Close()
		err := a.Publish(t.Context(), "x", nil)
		require.ErrorIs(t, err, redisbus.ErrClosed)
		require.ErrorIs(t, err, link.ErrUnavailable)
		require.NoError(t, b.Publish(t.Context(), "x", nil))
	})
}
