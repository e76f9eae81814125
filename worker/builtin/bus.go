package builtin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/rpcregistry"
)

// busPublish are the arguments of api.bus.publish.
type busPublish struct {
	MessageType string            `json:"messageType"`
	Body        json.RawMessage   `json:"body,omitempty"`
	Node        string            `json:"node,omitempty"` // the only node that gets it; default all
	Meta        map[string]string `json:"meta,omitempty"`
}

// registerBus adds api.bus.publish: the called node publishes a message, in its own name. The
// response is how many subscribers the channel has.
func registerBus(r rpcregistry.Registrar, b *redisbus.Bus) {
	handle(r, "api.bus.publish", withCodes(busCodes, func(ctx context.Context, in busPublish) (int64, error) {
		o := redisbus.PublishOptions{Node: in.Node, Meta: in.Meta}
		if _, err := b.Prepare(ctx, in.MessageType, in.Body, o); err != nil && !errors.Is(err, redisbus.ErrTooLarge) {
			return 0, fmt.Errorf("%w: %w", rpcregistry.ErrBadArguments, err)
		}
		return b.PublishWith(ctx, in.MessageType, in.Body, o)
	}))
}
