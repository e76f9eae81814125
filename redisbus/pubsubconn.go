package redisbus

import (
	"context"
	"errors"
	"sync"
)

// pubsubConn is a connection to Redis that has subscribed. It is used in place of
// redis.PubSub, which reads through 64 KiB of buffers whatever its options say,
// and which reconnects without notice.
type pubsubConn struct {
	*respConn
	// channels are the subscribed ones: a message's channel is looked up here
	// instead of being copied.
	channels map[string]string
	known    sync.Mutex // guards channels
}

// pubsubEvent is a message, or the confirmation of a subscription.
type pubsubEvent struct {
	kind, channel string
	payload       []byte
}

// messageEvent is the kind of an event that is a message.
const messageEvent = "message"

// openPubSub connects to the server that the subscriber's options name.
func (b *Bus) openPubSub(ctx context.Context) (*pubsubConn, error) {
	conn, err := dial(ctx, b.subscriber.Options())
	if err != nil {
		return nil, err
	}
	return &pubsubConn{respConn: conn, channels: map[string]string{}}, nil
}

// subscribe asks for channels; the confirmations come among the messages.
func (p *pubsubConn) subscribe(channels ...string) error {
	p.known.Lock()
	for _, c := range channels {
		p.channels[c] = c
	}
	p.known.Unlock()
	return p.send(append([]string{"subscribe"}, channels...)...)
}

// next waits for the next event. For a reply that is neither a message nor a
// confirmation it returns an event without a kind.
func (p *pubsubConn) next() (pubsubEvent, error) {
	n, err := p.readCount('*')
	if err != nil || n < 3 {
		return pubsubEvent{}, errors.Join(err, p.discardBulks(n))
	}
	var event pubsubEvent
	if event.kind, err = p.readName(internKind); err != nil {
		return pubsubEvent{}, err
	}
	if event.channel, err = p.readName(p.internChannel); err != nil {
		return pubsubEvent{}, err
	}
	if event.kind == messageEvent {
		event.payload, err = p.readBulk()
	} else {
		_, err = p.readCount(':')
	}
	return event, err
}

func internKind(kind []byte) string {
	if string(kind) == messageEvent {
		return messageEvent
	}
	return string(kind)
}

func (p *pubsubConn) internChannel(name []byte) string {
	p.known.Lock()
	defer p.known.Unlock()
	if known, ok := p.channels[string(name)]; ok {
		return known
	}
	return string(name)
}
