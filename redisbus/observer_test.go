package redisbus_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

// observer collects the reasons of dropped messages.
type observer chan redisbus.Drop

func (o observer) MessageDropped(reason redisbus.Drop) { o <- reason }
func (o observer) MessagePassed(redisbus.Direction)    {}
func (o observer) MessagesMissed(redisbus.GapReason)   {}

func TestTheObserverHearsOfDroppedMessages(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		dropped := make(observer, 10)
		a := start(t, cfg, "a")
		b := start(t, cfg, "b", func(c *redisbus.BusConfig) { c.Observer = dropped })
		client := redistest.Client(t, cfg)
		require.NoError(t, client.Publish(t.Context(), cfg.Keys().Channel(), `{"forged":true}`).Err())
		require.Equal(t, redisbus.DropProof, receive(t, dropped))
		channel, sealed, err := seal(t.Context(), a, "x", 1, redisbus.PublishOptions{})
		require.NoError(t, err)
		for range 2 {
			require.NoError(t, client.Publish(t.Context(), channel, sealed).Err())
		}
		require.Equal(t, redisbus.DropReplay, receive(t, dropped))

		release := make(chan struct{})
		defer close(release)
		b.Subscribe("x", func(context.Context, redisbus.Message) { <-release }, redisbus.SubscribeOptions{Buffer: 1})
		for range 3 {
			require.NoError(t, a.Publish(t.Context(), "x", 1))
		}
		require.Equal(t, redisbus.DropOverflow, receive(t, dropped))
	})
}
