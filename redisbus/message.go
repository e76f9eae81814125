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
	// ServerID and Incarnation are the sender's.
	ServerID, Incarnation string
	// Seq counts what the sender has sent on this channel, from 1. Zero: a
	// message of another implementation, which has no number.
	Seq uint64
	// SentAt is when it was sent, on Redis's clock.
	SentAt time.Time
	// Body is the JSON given to Publish, nil if that was nil. Of a message of
	// another implementation it is the whole message.
	Body json.RawMessage
	// Directed: it came through this node's inbox, to this node alone.
	Directed bool
	// Sealed: it was published by a transaction (see [Bus.Seal]).
	Sealed bool
}

// Sender is who sent the message.
func (m Message) Sender() Identity { return Identity{ID: m.ServerID, Incarnation: m.Incarnation} }

// Decode stores the body in v, as json.Unmarshal does. Without a body v stays as it is.
func (m Message) Decode(v any) error {
	if m.Body == nil {
		return nil
	}
	return json.Unmarshal(m.Body, v)
}

// envelope is a message as it lies on the wire, in raw JSON.
type envelope struct {
	kind, server, incarnation, seq, sentAt, sealed, body, token []byte
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
	case "body":
		e.body = value
	case "serverToken":
		e.token = value
	}
}

// header is what all messages of one sender have in common.
type header struct{ names string }

func newHeader(self Identity) header {
	names := wire.AppendText([]byte(`,"serverId":`), self.ID)
	names = wire.AppendText(append(names, `,"incarnation":`...), self.Incarnation)
	return header{names: string(append(names, `,"seq":`...))}
}

// overhead is what a message takes beside its header and body: the names of its
// members, numbers and the proof.
const overhead = 160

// appendOpen writes a message into the buffer up to where its proof begins. The proof
// covers the channel as well, so the channel comes first, separated by a zero
// byte that no channel contains.
func (h header) appendOpen(to []byte, channel, kind string, body []byte, stamp stamp) []byte {
	text := slices.Grow(to[:0], len(channel)+len(kind)+len(h.names)+len(body)+overhead)
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
	if body != nil {
		text = append(text, `,"body":`...)
		text = append(text, body...)
	}
	return text
}

type stamp struct {
	seq    uint64
	at     time.Time
	sealed bool
}

// message reads the envelope of a verified message.
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
	m.SentAt = time.UnixMilli(int64(at)) //nolint:gosec // what overflows is not within a minute of now
	if m.Incarnation, ok = peers.intern(wire.Plain(e.incarnation)); !ok {
		return m, false
	}
	m.ServerID = link.NodeOf(m.Incarnation)
	return m, string(wire.Plain(e.server)) == m.ServerID
}

// foreign reads a message of another implementation: no numbers, no times, its
// fields beside the messageType.
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
