package redisbus_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/json"
	"fmt"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/embedded"
	"github.com/stellarfw/stellar/redisbus/link"
)

// exampleBus serves a bus of its own Redis until stop. A worker.App hands the
// middleware of app.UsePublish and app.UseSubscription to the bus of each node.
func exampleBus(publish redisbus.PublishMiddleware, subscription redisbus.SubscriptionMiddleware) (bus *redisbus.Bus, stop func()) {
	server := embedded.New()
	conns, err := link.Open(server.Config(), "node")
	if err != nil {
		panic(err)
	}
	bus, err = redisbus.NewBus(redisbus.BusConfig{
		Publisher: conns.Client, Subscriber: conns.Subscriber, Keys: server.Config().Keys(),
		Identity: redisbus.Identity{ID: "node"}, Token: link.NewSecret("an example's token"), Log: zerolog.Nop(),
		PublishMiddleware: []redisbus.PublishMiddleware{publish}, SubscriptionMiddleware: []redisbus.SubscriptionMiddleware{subscription},
	})
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	serve := bus.Serve
	go func() { ended <- serve(ctx) }()
	<-bus.Ready()
	return bus, func() {
		cancel()
		if err := <-ended; err != nil {
			panic(err)
		}
		_ = conns.Close()
		_ = server.Close()
	}
}

// The bodies of all messages are encrypted: publish middleware encrypts them and
// subscription middleware decrypts them.
func ExamplePublishMiddleware() {
	block, err := aes.NewCipher([]byte("an example's key, of 32 bytes ok"))
	if err != nil {
		panic(err)
	}
	box, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	encrypt := func(next redisbus.PublishFunc) redisbus.PublishFunc {
		return func(ctx context.Context, m redisbus.Outgoing) (int64, error) {
			text, err := json.Marshal(box.Seal(nil, nil, m.Body, []byte(m.Type)))
			if err != nil {
				return 0, err
			}
			m.Body = text
			return next(ctx, m)
		}
	}
	decrypt := func(next redisbus.Handler) redisbus.Handler {
		return func(ctx context.Context, m redisbus.Message) {
			var sealed []byte
			if m.Decode(&sealed) != nil {
				return // not a message of this program
			}
			if m.Body, err = box.Open(nil, nil, sealed, []byte(m.Type)); err == nil {
				next(ctx, m)
			}
		}
	}
	bus, stop := exampleBus(encrypt, decrypt)
	defer stop()
	heard := make(chan struct{})
	bus.Subscribe("priceChanged", func(_ context.Context, m redisbus.Message) {
		fmt.Println(string(m.Body))
		close(heard)
	}, redisbus.SubscribeOptions{})
	if err := bus.Publish(context.Background(), "priceChanged", map[string]any{"eur": 9.5}); err != nil {
		fmt.Println(err)
	}
	<-heard
	// Output: {"eur":9.5}
}

// tenantKey is the context key of the tenant that a request is for.
type tenantKey struct{}

// The tenant of the publisher's context travels in the meta of its messages and is
// in the context of the subscriptions' handlers.
func ExampleSubscriptionMiddleware() {
	send := func(next redisbus.PublishFunc) redisbus.PublishFunc {
		return func(ctx context.Context, m redisbus.Outgoing) (int64, error) {
			if tenant, ok := ctx.Value(tenantKey{}).(string); ok {
				m.Meta = map[string]string{"tenant": tenant}
			}
			return next(ctx, m)
		}
	}
	receive := func(next redisbus.Handler) redisbus.Handler {
		return func(ctx context.Context, m redisbus.Message) {
			next(context.WithValue(ctx, tenantKey{}, m.Meta["tenant"]), m)
		}
	}
	bus, stop := exampleBus(send, receive)
	defer stop()
	heard := make(chan struct{})
	bus.Subscribe("priceChanged", func(ctx context.Context, m redisbus.Message) {
		fmt.Println(m.Type, "for", ctx.Value(tenantKey{}))
		close(heard)
	}, redisbus.SubscribeOptions{})
	ctx := context.WithValue(context.Background(), tenantKey{}, "shop-7")
	if err := bus.Publish(ctx, "priceChanged", nil); err != nil {
		fmt.Println(err)
	}
	<-heard
	// Output: priceChanged for shop-7
}
