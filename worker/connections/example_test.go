package connections_test

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/redisbus/embedded"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/connections"
)

// screen is a client's transport that prints; a real one writes to a web socket.
type screen struct{}

func (screen) Send(_ context.Context, message json.RawMessage) error {
	fmt.Println("client got:", string(message))
	return nil
}

func (screen) Close() error { return nil }

// A client that is connected to one node gets a message from another one.
func ExampleStore_Add() {
	redis := embedded.New()
	defer redis.Close()
	set, err := supervisor.New(supervisor.Config{Workers: 2, Redis: redis.Config()}, worker.NewApp(), zerolog.Nop())
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	served := make(chan error)
	go func() { served <- set.Serve(ctx) }()
	if err := set.AwaitReady(ctx); err != nil {
		fmt.Println(err)
	}
	one, other := set.Nodes()[0].API(), set.Nodes()[1].API()

	client, err := one.Connections.Add(ctx, screen{}, connections.Info{Type: "screen"})
	if err != nil {
		fmt.Println(err)
		return
	}
	hello := map[string]string{"message": "hello"}
	_, err = other.RPC.DoCluster(ctx, "api.connections.send", hello, rpcregistry.Connection(client.ID()))
	fmt.Println(err, client.Close(ctx))
	stop()
	fmt.Println(<-served)
	// Output:
	// client got: "hello"
	// <nil> <nil>
	// <nil>
}
