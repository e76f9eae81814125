package builtin

import (
	"context"
	"encoding/json"

	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/worker/connections"
)

type sendConnection struct {
	Message json.RawMessage `json:"message"`
}

// registerConnections adds the methods about a client connection, which any node can call
// with the target rpcregistry.Connection(id):
//
//   - api.connections.send {message}: gives the message to the client
//   - api.connections.info: returns the connection's [connections.Info]
//   - api.connections.close: disconnects the client
//
// and api.connections.list, for a call to one node or all: it returns the
// [connections.Info] of each connection that the node holds.
func registerConnections(r rpcregistry.Registrar, s *connections.Store) {
	handle(r, "api.connections.send", func(ctx context.Context, args sendConnection) (none, error) {
		c, err := calledConnection(ctx, s)
		if err == nil {
			err = c.Send(ctx, args.Message)
		}
		return none{}, err
	})
	handle(r, "api.connections.info", func(ctx context.Context, _ none) (connections.Info, error) {
		c, err := calledConnection(ctx, s)
		if err != nil {
			return connections.Info{}, err
		}
		return c.Info(), nil
	})
	handle(r, "api.connections.close", func(ctx context.Context, _ none) (none, error) {
		c, err := calledConnection(ctx, s)
		if err == nil {
			err = c.Close(ctx)
		}
		return none{}, err
	})
	handle(r, "api.connections.list", func(context.Context, none) ([]connections.Info, error) {
		all := []connections.Info{}
		for _, c := range s.All() {
			all = append(all, c.Info())
		}
		return all, nil
	})
}

// calledConnection returns the connection that the call is addressed to.
func calledConnection(ctx context.Context, s *connections.Store) (*connections.Connection, error) {
	call := rpcregistry.FromContext(ctx)
	if c, ok := s.Get(call.Connection); ok {
		return c, nil
	}
	return nil, rpcregistry.ErrNoSuchConnection
}
