package redisbus

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/wire"
)

// MaxMessage is the most bytes that a message may have on the wire. Publish,
// Send and Seal refuse a larger one; a receiver drops it unread.
const MaxMessage = 256 << 10

// Message is one message of the cluster whose proof has been verified.
type Message struct {
	// Type is the messageType that subscriptions select by.
	Type string
	// ServerID and Incarnation identify the sender.
	ServerID, Incarnation string
	// Seq is the message's number among those that the sender has sent on this
	// channel. 0: a message of another implementation, which has no number.
	Seq uint64
	// SentAt is when the message was sent, on Redis's clock.
	SentAt time.Time
	// Body is the JSON given to Publish, nil if that was nil. For a message of another
	// implementation it is the whole message. All subscriptions of the process share Body and
	// Meta: replace them, never change them in place.
	Body json.RawMessage
	// Meta is what was given as [PublishOptions.Meta], nil if nothing was.
	Meta map[string]string
	// Directed: the message was sent to this node's inbox, not to all nodes.
	Directed bool
	// Sealed: a transaction published the message (see [Bus.Seal]).
	Sealed bool

	// bound: the message came to the inbox of this incarnation, which no other has.
	bound bool
}

// Sender returns the identity of the sender.
func (m Message) Sender() Identity { return Identity{ID: m.ServerID, Incarnation: m.Incarnation} }

// Decode decodes the body into v, as json.Unmarshal does. Without a body it leaves v
// unchanged.
func (m Message) Decode(v any) error {
	if m.Body == nil {
		return nil
	}
	return json.Unmarshal(m.Body, v)
}

// envelope has the members of a message as they came over the wire, in raw JSON.
type envelope struct {
	kind, server, incarnation, seq, sentAt, sealed, meta, body, token []byte
}

func (e *envelope) member(key, value []byte) {
	switch string(key) {
	case "messageType":
		e.kind = value
	case "serverId":
		e.server = value
	case "incarnation":
		e.incarnation = value
	case "seq":
		e.seq = value
	case "sentAt":
		e.sentAt = value
	case "sealed":
		e.sealed = value
	case "meta":
		e.meta = value
	case "body":
		e.body = value
	case "serverToken":
		e.token = value
	}
}

// header has the members that are the same in all messages of one sender, as JSON.
type header struct{ names string }

func newHeader(self Identity) header {
	names := wire.AppendText([]byte(`,"serverId":`), self.ID)
	names = wire.AppendText(append(names, `,"incarnation":`...), self.Incarnation)
	return header{names: string(append(names, `,"seq":`...))}
}

// overhead is the most bytes that a message takes beside its header, type, meta and
// body: the names of its members, numbers and the proof.
const overhead = 160

// appendUnsigned writes a message into the buffer up to where its proof begins. The proof
// covers the channel as well, so the channel comes first, separated by a zero
// byte that no channel contains.
func (h header) appendUnsigned(to []byte, channel, kind string, body []byte, stamp stamp) []byte {
	text := slices.Grow(to[:0], len(channel)+len(kind)+len(h.names)+len(stamp.meta)+len(body)+overhead)
	text = append(text, channel...)
	text = append(text, 0)
	text = append(text, `{"messageType":`...)
	text = wire.AppendText(text, kind)
	text = append(text, h.names...)
	text = strconv.AppendUint(text, stamp.seq, 10)
	text = append(text, `,"sentAt":`...)
	text = strconv.AppendInt(text, stamp.at.UnixMilli(), 10)
	if stamp.sealed {
		text = append(text, `,"sealed":true`...)
	}
	if stamp.meta != nil {
		text = append(text, `,"meta":`...)
		text = append(text, stamp.meta...)
	}
	if body != nil {
		text = append(text, `,"body":`...)
		text = append(text, body...)
	}
	return text
}

// stamp has the members of a message that are neither in its header nor its type and
// body. meta is JSON, nil for none.
type stamp struct {
	seq    uint64
	at     time.Time
	meta   []byte
	sealed bool
}

// message decodes the envelope of a verified message. It returns false for a malformed
// one.
func (e *envelope) message(peers *peers) (Message, bool) {
	var m Message
	var ok bool
	if m.Type, ok = wire.Text(e.kind); !ok {
		return m, false
	}
	m.Body = e.body
	m.Sealed = string(e.sealed) == "true"
	if m.Seq, ok = wire.Uint(e.seq); !ok || m.Seq == 0 {
		return m, false
	}
	at, ok := wire.Uint(e.sentAt)
	if !ok {
		return m, false
	}
	if e.meta != nil {
		if m.Meta, ok = wire.Texts(e.meta); !ok || link.ValidMeta(m.Meta) != nil {
			return m, false
		}
	}
	m.SentAt = time.UnixMilli(int64(at)) //nolint:gosec // a time that overflows is dropped as stale
	if m.Incarnation, ok = peers.intern(wire.Plain(e.incarnation)); !ok {
		return m, false
	}
	m.ServerID = link.NodeOf(m.Incarnation)
	return m, string(wire.Plain(e.server)) == m.ServerID
}

// foreign decodes a message of another implementation, which has no number and no time,
// and whose fields stand beside its messageType. It returns false for a malformed one.
func (e *envelope) foreign(data []byte) (Message, bool) {
	var m Message
	var ok bool
	if m.Type, ok = wire.Text(e.kind); !ok || e.incarnation != nil {
		return m, false
	}
	m.ServerID, _ = wire.Text(e.server)
	m.Body = data
	return m, !strings.ContainsRune(m.ServerID, '#')
}
