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
	// MessagePassed: a message was given to Redis, or a valid one was received.
	MessagePassed(direction Direction)
	// MessagesMissed: the bus has noticed a [Gap]; subscriptions that want to know of it hear of it separately.
	MessagesMissed(reason GapReason)
	// MessageDropped: a received message was not delivered, or for [DropOverflow] not
	// to one of its subscriptions.
	MessageDropped(reason Drop)
}

// drops counts the dropped messages of a bus.
type drops struct {
	warnings *DropWarnings
	observer Observer

	mu    sync.Mutex
	total map[Drop]uint64
}

// DropWarnings log one line for many dropped messages. The buses of a process share them: a
// message to all nodes that is dropped is dropped by each.
type DropWarnings struct {
	log zerolog.Logger

	mu      sync.Mutex
	waiting map[Drop]uint64 // what has not been logged
	at      time.Time       // of the last log line
}

// NewDropWarnings returns DropWarnings for [BusConfig] that go to that log.
func NewDropWarnings(log zerolog.Logger) *DropWarnings {
	return &DropWarnings{log: log, waiting: map[Drop]uint64{}}
}

func (d *drops) count(reason Drop) {
	if d.observer != nil {
		d.observer.MessageDropped(reason)
	}
	d.mu.Lock()
	d.total[reason]++
	d.mu.Unlock()
	d.warnings.add(reason)
}

// CountDrop counts a message that was received and dropped beside the bus, such as by
// [Announcements], as if the bus had dropped it.
func (b *Bus) CountDrop(reason Drop) { b.drops.count(reason) }

// add counts a dropped message, and logs a line unless there was one a short time ago.
func (w *DropWarnings) add(reason Drop) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting[reason]++
	now := time.Now()
	if !w.at.IsZero() && now.Sub(w.at) < dropLogPause {
		return
	}
	w.at = now
	line, text := w.log.Warn(), "messages dropped"
	if w.waiting[DropProof] > 0 {
		text += ": " + proofRemedy
	}
	for _, r := range Drops() {
		if n := w.waiting[r]; n > 0 {
			line = line.Uint64(string(r), n)
		}
	}
	clear(w.waiting)
	line.Msg(text)
}

func (d *drops) totals() map[Drop]uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.total)
}
