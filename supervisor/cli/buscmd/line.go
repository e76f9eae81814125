package buscmd

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/wire"
	"github.com/stellarfw/stellar/supervisor/cli/cluster"
)

// Message is a message in the JSON output of the command subscribe.
type Message struct {
	MessageType string            `json:"messageType"`
	ServerID    string            `json:"serverId"`
	Incarnation string            `json:"incarnation,omitempty"`
	Seq         uint64            `json:"seq,omitempty"`   // among the sender's messages on this channel
	SentAt      time.Time         `json:"sentAt,omitzero"` // on Redis's clock
	Directed    bool              `json:"directed,omitempty"`
	Meta        map[string]string `json:"meta,omitempty"`
	Body        json.RawMessage   `json:"body,omitempty"`
}

// writeMessage writes a message as one line.
func writeMessage(e *cluster.Env, m redisbus.Message) error {
	if m.Seq == 0 {
		m.Body = foreignBody(m.Body)
	}
	if e.JSON() {
		line := Message{
			MessageType: m.Type, ServerID: m.ServerID, Incarnation: m.Incarnation, Seq: m.Seq, SentAt: m.SentAt.UTC(),
			Directed: m.Directed, Meta: m.Meta, Body: m.Body,
		}
		text, err := wire.Encode(line)
		if err != nil {
			return err
		}
		return e.WriteLine(string(text))
	}
	at := "-"
	if !m.SentAt.IsZero() {
		at = m.SentAt.UTC().Format("2006-01-02T15:04:05.000Z")
	}
	parts := []string{at, orDash(m.ServerID), m.Type}
	if m.Body != nil {
		parts = append(parts, compact(m.Body))
	}
	if m.Meta != nil {
		parts = append(parts, "meta="+string(wire.AppendTexts(nil, m.Meta)))
	}
	return e.WriteLine(strings.Join(parts, " "))
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// compact returns a JSON value without white space.
func compact(value json.RawMessage) string {
	var text bytes.Buffer
	if err := json.Compact(&text, value); err != nil {
		return string(value)
	}
	return text.String()
}

// foreignBody returns what a message of another implementation carries: all of its fields but
// those that every message has. One of these is the cluster's token.
func foreignBody(message json.RawMessage) json.RawMessage {
	body := []byte{'{'}
	err := wire.Members(message, func(key, value []byte) {
		for _, common := range []string{"messageType", "serverId", "serverToken"} {
			if strings.EqualFold(string(key), common) {
				return
			}
		}
		if len(body) > 1 {
			body = append(body, ',')
		}
		body = append(strconv.AppendQuote(body, string(key)), ':')
		body = append(body, value...)
	})
	if err != nil {
		return nil
	}
	return append(body, '}')
}
