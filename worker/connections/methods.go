package connections

import (
	"context"
	"encoding/json"

	"github.com/stellarfw/stellar/rpcregistry"
)

// SendArgs are those of api.connections.send.
type SendArgs struct {
	Message json.RawMessage `json:"message"`
}

// Register adds what can be done with a connection from any node, by calls to
// rpcregistry.Connection(id):
//
//   - api.connections.send {message}: gives the message to the client
//   - api.connections.info: its [Info]
//   - api.connections.close: cuts the client off
//
// and, by calls to a node or to all, api.connections.list: the [Info] of each.
func (s *Store) Register(r rpcregistry.Registrar) {
	rpcregistry.HandleStrict(r, "api.connections.send", func(ctx context.Context, args SendArgs) (struct{}, error) {
		c, err := s.called(ctx)
		if err == nil {
			err = c.Send(ctx, args.Message)
		}
		return struct{}{}, err
	})
	rpcregistry.HandleStrict(r, "api.connections.info", func(ctx context.Context, _ struct{}) (Info, error) {
		c, err := s.called(ctx)
		if err != nil {
			return Info{}, err
		}
		return c.Info(), nil
	})
	rpcregistry.HandleStrict(r, "api.connections.close", func(ctx context.Context, _ struct{}) (struct{}, error) {
		c, err := s.called(ctx)
		if err == nil {
			err = c.Close(ctx)
		}
		return struct{}{}, err
	})
	rpcregistry.HandleStrict(r, "api.connections.list", func(context.Context, struct{}) ([]Info, error) {
		all := []Info{}
		for _, c := range s.All() {
			all = append(all, c.Info())
		}
		return all, nil
	})
}

// called returns the connection that the call is for.
func (s *Store) called(ctx context.Context) (*Connection, error) {
	call, _ := rpcregistry.FromContext(ctx)
	if c, ok := s.Get(call.Connection); ok {
		return c, nil
	}
	return nil, rpcregistry.ErrNoSuchConnection
}
