package redisbus

import (
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/redisbus/wire"
)

// Drop is the reason why a received message was not delivered.
type Drop string

// The reasons, in the order in which a message is checked for them.
const (
	DropSize      Drop = "size"      // larger than MaxMessage
	DropProof     Drop = "proof"     // no valid proof: forged, another token, or broken on the way
	DropSyntax    Drop = "syntax"    // not a JSON object
	DropDepth     Drop = "depth"     // nested deeper than wire.MaxDepth
	DropTwins     Drop = "twins"     // the same key twice
	DropMalformed Drop = "malformed" // lacks a field, or has one of the wrong kind
	DropStale     Drop = "stale"     // its time differs by more than a minute from Redis's clock
	DropReplay    Drop = "replay"    // was delivered before, is too far behind a later one, or older than this bus
	DropOverflow  Drop = "overflow"  // a subscription did not keep up
)

// Drops returns all reasons.
func Drops() []Drop {
	return []Drop{
		DropSize, DropProof, DropSyntax, DropDepth, DropTwins, DropMalformed, DropStale, DropReplay, DropOverflow,
	}
}

// isForm reports whether a message was dropped for its form, whoever has sent it.
func isForm(reason Drop) bool {
	return reason == DropSyntax || reason == DropDepth || reason == DropTwins || reason == DropMalformed
}

// dropLogPause is the least time between two log lines about dropped messages:
// somebody who can publish garbage must not be able to fill a disk with log lines.
const dropLogPause = 10 * time.Second

// proofRemedy says what to do about [DropProof].
const proofRemedy = "those for their proof have senders with another token or token mode, or that are no nodes of this cluster: " +
	"give all its processes the same token and token mode, and other programs another namespace"

func dropOf(err error) Drop {
	switch {
	case errors.Is(err, wire.ErrDepth):
		return DropDepth
	case errors.Is(err, wire.ErrTwins):
		return DropTwins
	default:
		return DropSyntax
	}
}

// Observer is notified of messages that the bus received and did not deliver, for
// metrics. Its method is called synchronously, on the goroutine that reads the bus: it
// must not block nor use the bus, and must be safe for concurrent use.
type Observer interface {
	// MessageDropped: a received message was not delivered, or for [DropOverflow] not
	// to one of its subscriptions.
	MessageDropped(reason Drop)
}

// drops counts dropped messages and logs one line for many.
type drops struct {
	log      zerolog.Logger
	observer Observer

	mu     sync.Mutex
	total  map[Drop]uint64
	logged map[Drop]uint64 // the part of total that has been logged
	at     time.Time       // of the last log line
}

func (d *drops) count(reason Drop, now time.Time) {
	if d.observer != nil {
		d.observer.MessageDropped(reason)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.total[reason]++
	if now.Sub(d.at) < dropLogPause {
		return
	}
	d.at = now
	line, text := d.log.Warn(), "messages dropped"
	if d.total[DropProof] > d.logged[DropProof] {
		text += ": " + proofRemedy
	}
	for _, r := range Drops() {
		if n := d.total[r] - d.logged[r]; n > 0 {
			line = line.Uint64(string(r), n)
			d.logged[r] = d.total[r]
		}
	}
	line.Msg(text)
}

func (d *drops) totals() map[Drop]uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.total)
}
