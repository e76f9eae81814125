package rpcregistry_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/embedded"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/rpcregistry"
)

// Sum is what the method of the examples takes: {"a": 1, "b": 2} or [1, 2].
type Sum struct {
	A int `json:"a"`
	B int `json:"b"`
}

// everybody is a list of members that never changes.
type everybody []redisbus.Identity

func (e everybody) Live(context.Context) ([]redisbus.Identity, error) { return e, nil }

// exampleNodes starts nodes that can add, on an embedded Redis.
func exampleNodes(server *embedded.Server, ids ...string) (nodes []*rpcregistry.Endpoint, stop func()) {
	return exampleNodesWith(server, func(*rpcregistry.Config) {}, ids...)
}

// exampleNodesWith is exampleNodes with another configuration.
func exampleNodesWith(
	server *embedded.Server, change func(*rpcregistry.Config), ids ...string,
) (nodes []*rpcregistry.Endpoint, stop func()) {
	var members everybody
	for _, id := range ids {
		members = append(members, redisbus.Identity{ID: id, Incarnation: id + "#1:example"})
	}
	var stops []func() error
	for _, self := range members {
		conns, err := link.Open(server.Config(), self.ID)
		if err != nil {
			panic(err)
		}
		bus, err := redisbus.NewBus(redisbus.BusConfig{
			Publisher: conns.Client, Subscriber: conns.Subscriber, Keys: server.Config().Keys(),
			Identity: self, Token: link.NewSecret("an example's token"), Log: zerolog.Nop(),
		})
		if err != nil {
			panic(err)
		}
		methods := rpcregistry.NewRegistry()
		rpcregistry.Handle(methods, "math.add", func(_ context.Context, s Sum) (int, error) {
			if s.A < 0 {
				return 0, fmt.Errorf("%w: %d", rpcregistry.Code("negative"), s.A)
			}
			return s.A + s.B, nil
		})
		cfg := rpcregistry.Config{Bus: bus, Registry: methods, Members: members, Log: zerolog.Nop()}
		change(&cfg)
		node, err := rpcregistry.New(cfg)
		if err != nil {
			panic(err)
		}
		stops = append(stops, serve(bus, node), conns.Close)
		<-bus.Ready()
		<-node.Ready()
		nodes = append(nodes, node)
	}
	return nodes, func() {
		for _, stop := range stops {
			_ = stop()
		}
		_ = server.Close()
	}
}

// A typed method, called on one node: its arguments by name or by position.
func ExampleHandle() {
	nodes, stop := exampleNodes(embedded.New(), "one", "two")
	defer stop()
	ctx := context.Background()

	sum, err := rpcregistry.Do[int](ctx, nodes[0], "math.add", Sum{A: 1, B: 2}, rpcregistry.Node("two"))
	fmt.Println(sum, err)
	sum, err = rpcregistry.Do[int](ctx, nodes[0], "math.add", []any{3, 4}, rpcregistry.Node("two"))
	fmt.Println(sum, err)

	_, err = rpcregistry.Do[int](ctx, nodes[0], "math.add", []any{-1}, rpcregistry.Node("two"))
	fmt.Println(err, errors.Is(err, rpcregistry.Code("negative")))
	_, err = rpcregistry.Do[int](ctx, nodes[0], "math.add", nil, rpcregistry.Node("three"))
	fmt.Println(errors.Is(err, rpcregistry.ErrNoSuchTarget))
	// Output:
	// 3 <nil>
	// 7 <nil>
	// call of math.add on two: negative: "-1" true
	// true
}

// A call of all nodes, with the verdict of each.
func ExampleEndpoint_DoAll() {
	nodes, stop := exampleNodes(embedded.New(), "one", "two", "three")
	defer stop()

	verdicts, err := nodes[0].DoAll(context.Background(), "math.add", []any{1, 2})
	if err != nil {
		fmt.Println(err)
	}
	for _, v := range verdicts {
		fmt.Println(v.Node.ID, v.Outcome(), string(v.Value))
	}
	// Output:
	// one value 3
	// three value 3
	// two value 3
}
