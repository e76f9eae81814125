package rpcregistry

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/wire"
)

// The types of the messages that carry calls and replies. A reply goes to the inbox of the call's sender.
const (
	CallType  = "call"
	ReplyType = "reply"
)

// outerDepth is the number of JSON levels around arguments and responses: the message
// and its body.
const outerDepth = 2

// call is a request as it is sent and received.
type call struct {
	// id is 128 random bits in base64url, empty for [NoReply].
	id         string
	method     string
	connection string
	// deadline is on Redis's clock.
	deadline time.Time
	args     json.RawMessage
	// meta travels in the message, not in its body.
	meta map[string]string
	from redisbus.Identity
}

// message returns the call as a message to a node, or to all.
func (c *call) message(node string) redisbus.Outgoing {
	return redisbus.Outgoing{Node: node, Type: CallType, Body: c.encode(), Meta: c.meta}
}

func (c *call) encode() []byte {
	b := make([]byte, 0, 128+len(c.method)+len(c.connection)+len(c.args))
	b = append(b, `{"deadline":`...)
	b = strconv.AppendInt(b, c.deadline.UnixMilli(), 10)
	b = append(b, `,"method":`...)
	b = wire.AppendText(b, c.method)
	if c.id != "" {
		b = append(b, `,"id":`...)
		b = wire.AppendText(b, c.id)
	}
	if c.connection != "" {
		b = append(b, `,"connectionId":`...)
		b = wire.AppendText(b, c.connection)
	}
	if len(c.args) > 0 {
		b = append(b, `,"args":`...)
		b = append(b, c.args...)
	}
	return append(b, '}')
}

func decodeCall(m redisbus.Message) (c call, ok bool) {
	c.from, c.meta = m.Sender(), m.Meta
	var deadline uint64
	named, timed, idle, connected := false, false, true, true
	err := wire.Again(m.Body, func(key, value []byte) {
		switch string(key) {
		case "deadline":
			deadline, timed = wire.Uint(value)
		case "method":
			c.method, named = wire.Text(value)
		case "id":
			c.id, idle = wire.Text(value)
		case "connectionId":
			c.connection, connected = wire.Text(value)
		case "args":
			c.args = value
		}
	})
	c.deadline = time.UnixMilli(int64(deadline))
	return c, err == nil && named && timed && idle && connected
}

// reply is the answer to one call.
type reply struct {
	value json.RawMessage
	err   *Error
}

func (r *reply) encode(id string) []byte {
	b := make([]byte, 0, 96+len(r.value))
	b = append(b, `{"id":`...)
	b = wire.AppendText(b, id)
	switch {
	case r.err != nil:
		b = append(b, `,"code":`...)
		b = wire.AppendText(b, string(r.err.Code))
		b = append(b, `,"message":`...)
		b = wire.AppendText(b, r.err.Message)
	case len(r.value) > 0:
		b = append(b, `,"value":`...)
		b = append(b, r.value...)
	}
	return append(b, '}')
}

// decodeReply returns the call's id without copying it.
func decodeReply(m redisbus.Message) (id []byte, r reply, ok bool) {
	ok = true
	var failure Error
	failed := false
	err := wire.Again(m.Body, func(key, value []byte) {
		var text string
		switch string(key) {
		case "id":
			id = wire.Plain(value)
		case "code":
			text, failed = wire.Text(value)
			failure.Code, ok = Code(text), ok && failed
		case "message":
			text, _ = wire.Text(value)
			failure.Message = text
		case "value":
			r.value = value
		}
	})
	if failed {
		failure.Node = m.ServerID
		r.err = &failure
	}
	return id, r, ok && err == nil && id != nil
}
