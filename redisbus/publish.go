package redisbus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/wire"
)

// ErrTooLarge is returned for a message of more than [MaxMessage] bytes.
var ErrTooLarge = fmt.Errorf("message has more than %d bytes", MaxMessage)

// ErrReserved is returned for a message type that has a meaning for the other
// implementations where they accept our messages ([link.ModePlain], [link.ModeBoth]): "do",
// "doResponse", and what begins with "__". It would end their nodes.
var ErrReserved = errors.New(`message type is reserved: "do", "doResponse" and types that begin with "__" ` +
	"mean something to other implementations, which accept messages in this token mode")

// ErrCongested is returned when a few thousand messages already wait to be
// published, because Redis is slow or away.
var ErrCongested = errors.New("too many messages wait to be published")

// PublishOptions are the options of one message. The zero value has the defaults.
type PublishOptions struct {
	// Node is the id of the node whose inbox the message goes to, or the node's incarnation
	// to reach no later life of it. Default: every node of the cluster gets the message.
	Node string
	// Meta is carried beside the body, such as a tenant or a trace, and comes back
	// in [Message.Meta]. [link.ValidMeta] has its bounds. Nodes of versions without
	// meta ignore it. Default none.
	Meta map[string]string
}

// Outgoing is a message that is not numbered and signed yet.
type Outgoing struct {
	// Node is the id or the incarnation of the node whose inbox the message goes to; empty
	// means all nodes.
	Node string
	// Inbox, when set, is the name of the inbox in the place of Node: the incarnation of a
	// receiver that the sender knows already, because it answers it.
	Inbox string
	// Type is the messageType that subscriptions select by.
	Type string
	// Body is one JSON value, or nil.
	Body json.RawMessage
	// Meta is carried beside the body (see [PublishOptions]).
	Meta map[string]string
	// Transaction tells middleware that the message belongs to a transaction, which publishes it later, or
	// never (see [Bus.Prepare]).
	Transaction bool
}

// Publish sends a message to every node of the cluster, this one included, and
// returns when Redis has it. body is anything that encoding/json can encode; a
// json.RawMessage is sent as it is. The error is [ErrTooLarge], [ErrReserved], [ErrCongested],
// [link.ErrUnavailable], or [link.ErrUnknownOutcome] where the message may have
// been sent.
func (b *Bus) Publish(ctx context.Context, messageType string, body any) error {
	_, err := b.PublishWith(ctx, messageType, body, PublishOptions{})
	return err
}

// Send is [Bus.Publish] to the inbox of one node. It returns how many subscribers the
// inbox has: 0 means that there is no such node at present.
func (b *Bus) Send(ctx context.Context, node, messageType string, body any) (receivers int64, err error) {
	if err := checkNode(node); err != nil {
		return 0, err
	}
	return b.PublishWith(ctx, messageType, body, PublishOptions{Node: node})
}

// PublishWith is [Bus.Publish] with options. It returns how many subscribers the channel
// of all nodes has, or the inbox of the node that the options name.
func (b *Bus) PublishWith(ctx context.Context, messageType string, body any, o PublishOptions) (receivers int64, err error) {
	m, err := o.outgoing(messageType, body)
	if err != nil {
		return 0, err
	}
	return b.publish(ctx, m)
}

// Prepare returns a message for [Bus.Seal]. Whatever is wrong with it, Prepare says.
func (b *Bus) Prepare(ctx context.Context, messageType string, body any, o PublishOptions) (Outgoing, error) {
	m, err := o.outgoing(messageType, body)
	if err == nil && len(b.publishMiddleware) > 0 {
		m, err = b.prepareWrapped(ctx, m)
	}
	if err == nil {
		_, err = b.check(m)
	}
	return m, err
}

// Seal returns a message of [Bus.Prepare] as it goes over the wire, and its channel, for a
// PUBLISH that a script makes as part of a transaction. Each request to run the script needs
// a seal of its own: the message is dropped unless it is published within a minute, and is
// meant for the life that its receiver has now. It is delivered once however often it is
// published.
func (b *Bus) Seal(ctx context.Context, m Outgoing) (channel string, message []byte, err error) {
	meta, err := b.check(m)
	if err != nil {
		return "", nil, err
	}
	if m.Node != "" && m.Inbox == "" {
		if m.Inbox, err = b.lookUp(ctx, m.Node); err != nil {
			return "", nil, err
		}
	}
	channel = b.channelOf(m)
	s := stamp{seq: b.sealed.Add(1), at: b.Now(), meta: meta, sealed: true}
	text := b.prover.Load().sign(b.header.appendUnsigned(nil, channel, m.Type, m.Body, s))
	return channel, text[len(channel)+1:], nil
}

// checkNode returns a [link.ErrName] for a text that is neither a node's id nor an incarnation.
func checkNode(node string) error {
	id, life, lives := strings.Cut(node, "#")
	if lives && link.ValidName(id) && link.ValidName(life) {
		return nil
	}
	return link.CheckName("node", node)
}

func (o PublishOptions) outgoing(messageType string, body any) (Outgoing, error) {
	if o.Node != "" {
		if err := checkNode(o.Node); err != nil {
			return Outgoing{}, err
		}
	}
	text, err := encodeBody(body)
	return Outgoing{Node: o.Node, Type: messageType, Body: text, Meta: o.Meta}, err
}

func (b *Bus) postAndWait(ctx context.Context, m Outgoing) (int64, error) {
	if err := link.Cancelled(ctx); err != nil {
		return 0, err
	}
	if err := b.Await(ctx); err != nil {
		return 0, err
	}
	type result struct {
		receivers int64
		err       error
	}
	results := make(chan result, 1)
	err := b.Post(ctx, m, func(receivers int64, err error) { results <- result{receivers, err} })
	if err != nil {
		return 0, err
	}
	select {
	case r := <-results:
		return r.receivers, r.err
	case <-ctx.Done():
		return 0, link.Unanswered(context.Cause(ctx))
	}
}

// Post queues a message and returns at once. The caller has made or checked the
// body itself. done, where not nil, is called when Redis has answered, on a
// goroutine that many messages share: it must not block. The error is [ErrTooLarge], [ErrReserved],
// [ErrCongested], that of an invalid name or meta, or [link.ErrUnavailable] of a lazy bus
// without its token; after an error done is not called.
func (b *Bus) Post(ctx context.Context, m Outgoing, done func(receivers int64, err error)) error {
	lead, err := b.address(ctx, m, done)
	if lead {
		go b.out.flush(context.WithoutCancel(ctx))
	}
	return err
}

// PostNow is [Bus.Post] for a goroutine that has nothing else to do: unless another
// goroutine is already sending, it sends this message and those that are queued
// meanwhile, and returns when Redis has them.
func (b *Bus) PostNow(ctx context.Context, m Outgoing, done func(receivers int64, err error)) error {
	lead, err := b.address(ctx, m, done)
	if lead {
		b.out.flush(context.WithoutCancel(ctx))
	}
	return err
}

// channelOf returns the channel of a message whose inbox is known.
func (b *Bus) channelOf(m Outgoing) string {
	if m.Inbox == "" {
		return b.keys.Channel()
	}
	return b.keys.Inbox(m.Inbox)
}

func (b *Bus) queue(m Outgoing, done func(receivers int64, err error)) (lead bool, err error) {
	meta, err := b.check(m)
	if err != nil {
		return false, err
	}
	channel, now := b.channelOf(m), b.Now()
	return b.out.put(posting{channel: channel, done: done}, b.clock.steady(), func(to []byte, seq uint64) []byte {
		return b.prover.Load().sign(b.header.appendUnsigned(to, channel, m.Type, m.Body, stamp{seq: seq, at: now, meta: meta}))
	})
}

// check returns an error for a message that receivers would drop, and otherwise its meta
// as JSON, nil for none.
func (b *Bus) check(m Outgoing) (meta []byte, err error) {
	if err := link.CheckName("message type", m.Type); err != nil {
		return nil, err
	}
	if len(m.Meta) > 0 {
		if err := link.ValidMeta(m.Meta); err != nil {
			return nil, err
		}
		meta = wire.AppendTexts(nil, m.Meta)
	}
	p := b.prover.Load()
	if p == nil {
		return nil, errNoToken
	}
	if p.mode != link.ModeHMAC && (m.Type == "do" || m.Type == "doResponse" || strings.HasPrefix(m.Type, "__")) {
		return nil, fmt.Errorf("%q: %w", m.Type, ErrReserved)
	}
	if len(m.Body)+len(meta)+len(m.Type)+len(b.header.names)+len(p.plain)+overhead > MaxMessage {
		return nil, ErrTooLarge
	}
	return meta, nil
}

// encodeBody returns the body as JSON, or an error if receivers would drop it.
func encodeBody(body any) ([]byte, error) {
	if body == nil {
		return nil, nil
	}
	text, err := wire.Encode(body)
	if err != nil {
		return nil, fmt.Errorf("message body: %w", err)
	}
	if len(text) > MaxMessage {
		return nil, ErrTooLarge
	}
	if _, raw := body.(json.RawMessage); raw && len(text) == 0 {
		return nil, nil
	}
	if err := wire.Check(text, 1); err != nil {
		return nil, fmt.Errorf("message body: %w", err)
	}
	return text, nil
}
