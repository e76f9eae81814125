package redisbus_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

// A message of another implementation that cannot be delivered is a loss, and said; what
// anybody may send is none.
func TestForeignMessageThatCannotBeDeliveredIsAGap(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		for _, mode := range []link.Mode{link.ModePlain, link.ModeBoth} {
			cfg := cfg
			cfg.Namespace = string(mode)
			b := start(t, cfg, "b", func(c *redisbus.BusConfig) { c.Mode = mode })
			gaps, got := make(chan redisbus.Gap, 100), make(chan redisbus.Message, 100)
			b.Subscribe("chat", func(_ context.Context, m redisbus.Message) { got <- m }, redisbus.SubscribeOptions{
				OnGap: func(_ context.Context, g redisbus.Gap) { gaps <- g },
			})
			client := redistest.Client(t, cfg)
			for _, fields := range []string{
				`,"seq":5`, `,"incarnation":"x#1:a"`, `,"seq":5,"incarnation":"x#1:a","sentAt":1`,
				`,"text":"a","Text":"b"`, `,"größe":1`, `,"\u0061":1`, `,"serverId":7,"ServerID":8`,
			} {
				message := fmt.Sprintf(`{"messageType":"chat","serverToken":%q%s}`, token.Reveal(), fields)
				forged := fmt.Sprintf(`{"messageType":"chat","serverToken":"wrong"%s}`, fields)
				require.NoError(t, client.Publish(t.Context(), cfg.Keys().Channel(), forged).Err())
				require.NoError(t, client.Publish(t.Context(), cfg.Keys().Channel(), message).Err())
				require.Equal(t, redisbus.Gap{Reason: redisbus.GapMalformed, Lost: 1}, receive(t, gaps), fields)
			}
			require.NoError(t, client.Publish(t.Context(), cfg.Keys().Channel(),
				fmt.Sprintf(`{"messageType":"chat","serverToken":%q,"text":"a"}`, token.Reveal())).Err())
			require.Equal(t, "chat", receive(t, got).Type)
			require.Empty(t, gaps)
		}
	})
}
