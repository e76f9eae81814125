package bench

import (
	"context"
	"errors"
	"strconv"

	"github.com/livekit/psrpc"
	psrpcbus "github.com/livekit/psrpc/pkg/bus/redisbus"
	"github.com/livekit/psrpc/pkg/client"
	"github.com/livekit/psrpc/pkg/info"
	"github.com/livekit/psrpc/pkg/server"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/stellarfw/stellar/redisbus/link"
)

// psrpcCaller starts psrpc servers, each with its own topic and connections, and
// a client: unsigned protobuf, no claims, the fastest way that psrpc offers.
func psrpcCaller(b *scope, cfg link.Config, nodes int) caller {
	b.Helper()
	bus := func(id string) psrpc.MessageBus {
		c, err := link.OpenClient(cfg, id)
		must(b, err)
		b.Cleanup(func() { _ = c.Close() })
		return psrpcbus.New(c)
	}
	define := func(id string) *info.ServiceDefinition {
		sd := &info.ServiceDefinition{Name: "bench" + strconv.Itoa(nodes), ID: id}
		sd.RegisterMethod("echo", false, false, false, false)
		return sd
	}
	for i := range nodes {
		s := server.NewRPCServer(define("s"+strconv.Itoa(i)), bus("psrpc"))
		must(b, server.RegisterHandler(s, "echo", []string{strconv.Itoa(i)},
			func(_ context.Context, in *wrapperspb.StringValue) (*wrapperspb.StringValue, error) { return in, nil }, nil))
		b.Cleanup(func() { s.Close(true) })
	}
	c, err := client.NewRPCClient(define("c"), bus("psrpc-client"))
	must(b, err)
	b.Cleanup(c.Close)
	call := func(_, to int) error {
		got, err := client.RequestSingle[*wrapperspb.StringValue](
			context.Background(), c, "echo", []string{strconv.Itoa(to)}, wrapperspb.String(echoed))
		if err == nil && got.GetValue() != echoed {
			err = errors.New("another echo")
		}
		return err
	}
	for i := range nodes { // psrpc does not say when a server listens
		await(b, "for a server of psrpc", func() bool { return call(0, i) == nil })
	}
	return call
}
