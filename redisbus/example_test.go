package redisbus_test

import (
	"context"
	"fmt"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/embedded"
	"github.com/stellarfw/stellar/redisbus/link"
)

// Publish and subscribe: every node of the cluster gets the message, its sender
// included.
func ExampleBus() {
	server := embedded.New()
	defer server.Close()
	conns, err := link.Open(server.Config(), "node")
	if err != nil {
		panic(err)
	}
	defer conns.Close()
	bus, err := redisbus.NewBus(redisbus.BusConfig{
		Publisher: conns.Client, Subscriber: conns.Subscriber, Keys: server.Config().Keys(),
		Identity: redisbus.Identity{ID: "node"}, Token: link.NewSecret("an example's token"), Log: zerolog.Nop(),
	})
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- bus.Serve(ctx) }()
	<-bus.Ready()

	heard := make(chan struct{})
	bus.Subscribe("priceChanged", func(_ context.Context, m redisbus.Message) {
		var price struct{ EUR float64 }
		if err := m.Decode(&price); err != nil {
			fmt.Println(err)
		}
		fmt.Println(m.Type, "from", m.ServerID, price.EUR)
		close(heard)
	}, redisbus.SubscribeOptions{
		OnGap: func(_ context.Context, gap redisbus.Gap) { fmt.Println("messages were lost:", gap.Reason) },
	})
	if err := bus.Publish(ctx, "priceChanged", map[string]any{"eur": 9.5}); err != nil {
		fmt.Println(err)
	}
	<-heard
	cancel()
	fmt.Println(<-ended)
	// Output:
	// priceChanged from node 9.5
	// <nil>
}
